//! Operations of vision transformers and ConvNeXt as nodes of ONNX.

use super::nodes::Writer;
use super::parts::{float, int, ints};
use super::proto::{FLOAT, INT64};
use crate::op::{Attention, GroupNorm, LayerNorm, Tokens};

impl Writer<'_> {
    /// Writes a linear layer on the channels of each pixel as a convolution of one pixel.
    pub(super) fn multiply_pixels(&mut self, name: &str, all: &[&str], output: &str) {
        let axes = self.integers(format!("{name}:pixel"), &[2, 3]);
        let kernel = self.step("Unsqueeze", name, "kernel", &[all[1], &axes]);
        let mut inputs = vec![all[0], &kernel];
        inputs.extend(&all[2..]);
        let sizes = vec![ints("kernel_shape", [1, 1])];
        self.add("Conv", name, &inputs, output, sizes);
    }

    /// Writes a normalisation of the channels, which ONNX wants last.
    pub(super) fn layer_norm(
        &mut self,
        norm: &LayerNorm,
        name: &str,
        all: &[&str],
        output: &str,
        is_rows: bool,
    ) {
        let attributes = vec![int("axis", 1), float("epsilon", norm.epsilon as f32)];
        if is_rows {
            self.add("LayerNormalization", name, all, output, attributes);
            return;
        }
        let last = self.transpose(name, "channels_last", all[0], [0, 2, 3, 1]);
        let attributes = vec![int("axis", 3), float("epsilon", norm.epsilon as f32)];
        let normalised = format!("{name}:normalised");
        let inputs = [&last, all[1], all[2]];
        self.add(
            "LayerNormalization",
            &normalised,
            &inputs,
            &normalised,
            attributes,
        );
        let order = vec![ints("perm", [0, 3, 1, 2])];
        self.add("Transpose", name, &[&normalised], output, order);
    }

    /// Writes a product with a number per channel, whatever shape that has.
    pub(super) fn layer_scale(&mut self, name: &str, all: &[&str], output: &str) {
        let shape = self.signed(format!("{name}:shape"), &[1, -1, 1, 1]);
        let gamma = self.step("Reshape", name, "gamma", &[all[1], &shape]);
        self.add("Mul", name, &[all[0], &gamma], output, Vec::new());
    }

    /// Writes a normalisation of groups of channels as that of single channels, which the groups become for a moment.
    pub(super) fn group_norm(&mut self, norm: &GroupNorm, name: &str, all: &[&str], output: &str) {
        let epsilon = || vec![float("epsilon", norm.epsilon as f32)];
        if norm.groups == norm.channels {
            self.add("InstanceNormalization", name, all, output, epsilon());
            return;
        }
        let shape = self.step("Shape", name, "shape", &[all[0]]);
        let target = self.signed(format!("{name}:groups"), &[0, norm.groups as i64, -1]);
        let grouped = self.step("Reshape", name, "grouped", &[all[0], &target]);
        let [ones, zeros] = [("ones", 1.0f32), ("zeros", 0.0)].map(|(part, value)| {
            let bytes = value.to_le_bytes().repeat(norm.groups);
            let dims = vec![norm.groups as i64];
            self.constant(format!("{name}:{part}"), FLOAT, dims, bytes)
        });
        let normalised = format!("{name}:normalised");
        let inputs = [grouped.as_str(), &ones, &zeros];
        self.add(
            "InstanceNormalization",
            &normalised,
            &inputs,
            &normalised,
            epsilon(),
        );
        let maps = self.step("Reshape", name, "maps", &[&normalised, &shape]);
        let extents = self.signed(format!("{name}:extents"), &[1, -1, 1, 1]);
        let weight = self.step("Reshape", name, "weight", &[all[1], &extents]);
        let bias = self.step("Reshape", name, "bias", &[all[2], &extents]);
        let scaled = self.step("Mul", name, "scaled", &[&maps, &weight]);
        self.add("Add", name, &[&scaled, &bias], output, Vec::new());
    }

    /// Writes `x + bias + weight * x * n`.
    pub(super) fn respond(&mut self, norm: &LayerNorm, name: &str, all: &[&str], output: &str) {
        let norms = format!("{name}:norms");
        let over_pixels = vec![ints("axes", [2, 3]), int("keepdims", 1)];
        self.add("ReduceL2", &norms, &[all[0]], &norms, over_pixels);
        let mean = format!("{name}:mean");
        let over_channels = vec![ints("axes", [1]), int("keepdims", 1)];
        self.add("ReduceMean", &mean, &[&norms], &mean, over_channels);
        let epsilon = self.number(format!("{name}:epsilon"), norm.epsilon as f32);
        let above = self.step("Add", name, "above", &[&mean, &epsilon]);
        let share = self.step("Div", name, "share", &[&norms, &above]);
        let shape = self.signed(format!("{name}:shape"), &[1, -1, 1, 1]);
        let weight = self.step("Reshape", name, "weight", &[all[1], &shape]);
        let bias = self.step("Reshape", name, "bias", &[all[2], &shape]);
        let factor = self.step("Mul", name, "factor", &[&share, &weight]);
        let scaled = self.step("Mul", name, "scaled", &[all[0], &factor]);
        let moved = self.step("Add", name, "moved", &[all[0], &bias]);
        self.add("Add", name, &[&moved, &scaled], output, Vec::new());
    }

    /// Writes the turn of patches into tokens, for the grid that the positions are of.
    pub(super) fn tokenise(
        &mut self,
        tokens: &Tokens,
        name: &str,
        all: &[&str],
        ranks: &[usize],
        output: &str,
    ) {
        let flat = self.signed(format!("{name}:flat"), &[0, 0, -1]);
        let patches = self.step("Reshape", name, "patches", &[all[0], &flat]);
        let tables = all[1..].iter().zip(ranks).enumerate();
        let tables = tables.map(|(number, (table, rank))| {
            let part = format!("table{number}");
            if *rank == 3 {
                return self.transpose(name, &part, table, [0, 2, 1]);
            }
            let extents = [1, -1, tokens.channels as i64];
            let extents = self.signed(format!("{name}:{part}_extents"), &extents);
            let table = self.step("Reshape", name, &format!("{part}_rows"), &[table, &extents]);
            self.transpose(name, &part, &table, [0, 2, 1])
        });
        let mut tables: Vec<String> = tables.collect();
        let positions = tables.pop().unwrap_or_default();
        let axes = self.integers(format!("{name}:axes"), &[2]);
        if tables.is_empty() {
            let row = self.step("Add", name, "placed", &[&patches, &positions]);
            self.add("Unsqueeze", name, &[&row, &axes], output, Vec::new());
            return;
        }
        // As many copies of the tokens in front as there are images.
        let prefix = match tables.as_slice() {
            [only] => only.clone(),
            several => {
                let parts: Vec<&str> = several.iter().map(String::as_str).collect();
                self.joined(name, "prefix", &parts)
            }
        };
        let shape = self.step("Shape", name, "shape", &[&patches]);
        let start = self.integers(format!("{name}:first"), &[0]);
        let end = self.integers(format!("{name}:second"), &[1]);
        let batch = self.step("Slice", name, "batch", &[&shape, &start, &end]);
        let extents = [tokens.channels, tokens.prefix()];
        let extents = self.integers(format!("{name}:extents"), &extents);
        let target = format!("{name}:target");
        self.add(
            "Concat",
            &target,
            &[&batch, &extents],
            &target,
            vec![int("axis", 0)],
        );
        let prefix = self.step("Expand", name, "copies", &[&prefix, &target]);
        let row = match tokens.has_class_position && tokens.registers == 0 {
            true => {
                let row = self.joined(name, "tokens", &[&prefix, &patches]);
                self.step("Add", name, "placed", &[&row, &positions])
            }
            false => self.placed_apart(tokens, name, &prefix, &patches, &positions),
        };
        self.add("Unsqueeze", name, &[&row, &axes], output, Vec::new());
    }

    /// Adds positions where not every token has one: in front of the patches lie zeros.
    fn placed_apart(
        &mut self,
        tokens: &Tokens,
        name: &str,
        prefix: &str,
        patches: &str,
        positions: &str,
    ) -> String {
        let own = usize::from(tokens.has_class_position);
        let of_patches = format!("{name}:of_patches");
        self.slice(
            &of_patches,
            positions,
            2,
            own..tokens.positions(),
            &of_patches,
        );
        let patches = self.step("Add", name, "placed_patches", &[patches, &of_patches]);
        let prefix = match tokens.has_class_position {
            false => prefix.to_string(),
            true => {
                let of_class = format!("{name}:of_class");
                self.slice(&of_class, positions, 2, 0..1, &of_class);
                let [class, registers] = [0..1, 1..tokens.prefix()].map(|range| {
                    let part = format!("{name}:prefix{}", range.start);
                    self.slice(&part, prefix, 2, range, &part);
                    part
                });
                let class = self.step("Add", name, "placed_class", &[&class, &of_class]);
                self.joined(name, "placed_prefix", &[&class, &registers])
            }
        };
        self.joined(name, "tokens", &[&prefix, &patches])
    }

    /// Writes `softmax(q kᵀ / sqrt(d)) v` for each head.
    pub(super) fn attend(&mut self, attention: &Attention, name: &str, x: &str, output: &str) {
        let Attention {
            channels,
            heads,
            is_causal,
        } = *attention;
        let dim = channels / heads;
        let shape = [0, heads as i64, dim as i64, -1];
        let shape = self.signed(format!("{name}:heads"), &shape);
        let [query, key, value] = ["query", "key", "value"].map(|part| part.to_string());
        let parts = [(0, query), (1, key), (2, value)].map(|(number, part)| {
            let whole = format!("{name}:{part}");
            let range = number * channels..(number + 1) * channels;
            self.slice(&whole, x, 1, range, &whole);
            self.step("Reshape", name, &format!("{part}_heads"), &[&whole, &shape])
        });
        let [query, key, value] = parts;
        let query = self.transpose(name, "query_rows", &query, [0, 1, 3, 2]);
        let root = self.number(format!("{name}:root"), (dim as f32).sqrt());
        let products = self.step("MatMul", name, "products", &[&query, &key]);
        let scores = self.step("Div", name, "scores", &[&products, &root]);
        let scores = match is_causal {
            true => self.without_those_ahead(name, &scores),
            false => scores,
        };
        let shares = format!("{name}:shares");
        self.add(
            "Softmax",
            &shares,
            &[&scores],
            &shares,
            vec![int("axis", 3)],
        );
        let shares = self.transpose(name, "shares_turned", &shares, [0, 1, 3, 2]);
        let seen = self.step("MatMul", name, "seen", &[&value, &shares]);
        let shape = self.signed(format!("{name}:row"), &[0, channels as i64, 1, -1]);
        self.add("Reshape", name, &[&seen, &shape], output, Vec::new());
    }

    /// Puts a number that leaves no share where a token would look at one behind it.
    fn without_those_ahead(&mut self, name: &str, scores: &str) -> String {
        let shape = self.step("Shape", name, "scores_shape", &[scores]);
        let lowest = self.number(format!("{name}:lowest"), f32::MIN);
        let lowest = self.step("Expand", name, "lowest_everywhere", &[&lowest, &shape]);
        let first = format!("{name}:first_ahead");
        let first = self.constant(first, INT64, Vec::new(), 1i64.to_le_bytes().to_vec());
        let ahead = format!("{name}:ahead");
        let inputs = [lowest.as_str(), &first];
        self.add("Trilu", &ahead, &inputs, &ahead, vec![int("upper", 1)]);
        self.step("Add", name, "scores_behind", &[scores, &ahead])
    }

    /// Writes the choice of a token.
    pub(super) fn token(&mut self, index: usize, name: &str, x: &str, output: &str) {
        let one = format!("{name}:one");
        self.slice(&one, x, 3, index..index + 1, &one);
        self.add("Flatten", name, &[&one], output, vec![int("axis", 1)]);
    }

    /// Writes the mean of the tokens from one on.
    pub(super) fn token_mean(&mut self, start: usize, name: &str, x: &str, output: &str) {
        let part = format!("{name}:part");
        self.slice(&part, x, 3, start..i32::MAX as usize, &part);
        let over_tokens = vec![ints("axes", [2, 3]), int("keepdims", 0)];
        self.add("ReduceMean", name, &[&part], output, over_tokens);
    }

    fn transpose<const N: usize>(
        &mut self,
        name: &str,
        part: &str,
        x: &str,
        order: [usize; N],
    ) -> String {
        let output = format!("{name}:{part}");
        self.add(
            "Transpose",
            &output,
            &[x],
            &output,
            vec![ints("perm", order)],
        );
        output
    }

    /// Puts rows of tokens `[batch, channels, tokens]` one behind the other.
    fn joined(&mut self, name: &str, part: &str, parts: &[&str]) -> String {
        let output = format!("{name}:{part}");
        self.add("Concat", &output, parts, &output, vec![int("axis", 2)]);
        output
    }
}
