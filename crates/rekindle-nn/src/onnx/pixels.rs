//! From pixels to probabilities: what pictures go through before a network sees them, and what its logits go through, as
//! nodes around it.
//!
//! ONNX's own `Resize` is not used: with antialiasing, onnxruntime's result is up to 14 grey levels from Pillow's. A resize is a product
//! with a matrix from either side, and those matrices are computed from the picture's size ([`super::resize`]).

use rekindle_preprocess::{Interpolation, Preprocess, ResizeMode};
use thiserror::Error;

use super::nodes::Writer;
use super::parts::{branch, fixed, int, ints, named, node, typed, value};
use super::proto::{
    DOUBLE, FLOAT, GraphProto, INT64, ModelProto, NodeProto, UINT8, ValueInfoProto,
};
use super::resize::{Direction, Extents};
use crate::error::GraphError;
use crate::graph::Graph;

/// Name of the graph's input where it takes pixels.
pub const PIXELS: &str = "pixels";

/// Name of the output of classifiers that take pixels, beside `logits`.
pub const PROBABILITIES: &str = "probabilities";

/// Name of the output of networks that take pixels and give numbers, beside `logits`.
pub const NUMBERS: &str = "numbers";

/// Name of what the network itself takes there.
const IMAGES: &str = "preprocess:images";

/// Pixels of what lies between the two passes, up to which a picture that is higher than wide is resized down first.
const DOWN_FIRST: i64 = 1 << 16;

/// Longest side of a resized picture.
const LONGEST: i64 = 1 << 20;

/// What a file of a network that takes pixels can't be written for.
#[derive(Clone, Debug, Error, PartialEq)]
#[non_exhaustive]
pub enum ExportError {
    /// A network of other images than of red, green and blue.
    #[error(
        "its network takes images of {found} channels; preprocessing is written for 3: red, green and blue"
    )]
    Channels {
        /// Channels of its images.
        found: usize,
    },
    /// Pictures that are read at the depth of their files.
    #[error(
        "its pictures are read at the depth of their files (--channels); preprocessing is written for pixels of 8 bits"
    )]
    Depth,
    /// A crop that doesn't lie inside of the resized picture.
    #[error(
        "its preprocessing crops {crop} pixels out of a shorter side of {resize}; it is written for crops from 1 up to that side"
    )]
    Crop {
        /// Side of the crop in pixels.
        crop: usize,
        /// Shorter side after resizing in pixels.
        resize: usize,
    },
    /// A deviation that can't be divided by, or a mean that is no number.
    #[error(
        "its preprocessing has mean {mean:?} and standard deviation {std:?}; they have to be numbers, the deviations above 0"
    )]
    Normalisation {
        /// Means of the channels.
        mean: [f32; 3],
        /// Standard deviations of the channels.
        std: [f32; 3],
    },
    /// A temperature for a network without a classifier or of numbers, or one that can't be divided by.
    #[error(
        "a temperature of {found} is nothing to divide the network's output by; it has to be above 0, and there has to be a classifier, which gives no numbers"
    )]
    Temperature {
        /// The temperature.
        found: f64,
    },
    /// A network in eight bits with tokens, whose images had another size when ranges were measured.
    #[error(
        "its preprocessing crops {crop} x {crop} pixels, and the ranges of its activations were measured on images of {height} x {width}; measure them on images as it makes them"
    )]
    Size {
        /// Side of the crop in pixels.
        crop: usize,
        /// Height of the calibration images.
        height: usize,
        /// Width of the calibration images.
        width: usize,
    },
    /// The crop is too small for the network.
    #[error(transparent)]
    Graph(#[from] GraphError),
}

/// What pictures and logits go through.
pub struct Around<'a> {
    preprocess: &'a Preprocess,
    temperature: Option<f64>,
    answers: Answers,
}

/// What logits become.
#[derive(Clone, Copy, Default, PartialEq)]
pub enum Answers {
    /// Probabilities of classes, of which one is right.
    #[default]
    Classes,
    /// The probability of each label by itself.
    Labels,
    /// Nothing else: they are numbers.
    Numbers,
}

impl Answers {
    /// Returns the output's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Classes | Self::Labels => PROBABILITIES,
            Self::Numbers => NUMBERS,
        }
    }
}

impl<'a> Around<'a> {
    /// Checks that it can be written around a network.
    pub fn new(
        graph: &Graph,
        preprocess: &'a Preprocess,
        temperature: Option<f64>,
    ) -> Result<Self, ExportError> {
        let Preprocess {
            resize,
            crop,
            mean,
            std,
            ..
        } = *preprocess;
        if graph.in_channels() != 3 {
            let found = graph.in_channels();
            return Err(ExportError::Channels { found });
        }
        if preprocess.channels.is_some() {
            return Err(ExportError::Depth);
        }
        if crop == 0 || crop > resize {
            return Err(ExportError::Crop { crop, resize });
        }
        let is_usable = |std: &f32| std.is_finite() && *std > 0.0;
        if !std.iter().all(is_usable) || !mean.iter().all(|mean| mean.is_finite()) {
            return Err(ExportError::Normalisation { mean, std });
        }
        if let Some(found) = temperature
            && !(graph.head().classes > 0 && found.is_finite() && found > 0.0)
        {
            return Err(ExportError::Temperature { found });
        }
        graph.shapes(crop, crop)?;
        Ok(Self {
            preprocess,
            temperature,
            answers: Answers::default(),
        })
    }

    /// Answers as models of another task do; numbers have no temperature.
    pub fn answering(self, answers: Answers) -> Result<Self, ExportError> {
        match (answers, self.temperature) {
            (Answers::Numbers, Some(found)) => Err(ExportError::Temperature { found }),
            _ => Ok(Self { answers, ..self }),
        }
    }

    /// Returns the name of what [`after`](Self::after) gives.
    pub fn output(&self) -> &'static str {
        self.answers.name()
    }

    /// Returns the graph's input.
    pub fn input(&self) -> ValueInfoProto {
        let dimensions = vec![named("batch"), named("height"), named("width"), fixed(3)];
        typed(PIXELS, UINT8, dimensions)
    }

    /// Writes what comes in front, and returns the name of what the network takes.
    pub fn before(&self, writer: &mut Writer<'_>) -> String {
        let Preprocess {
            crop,
            mean,
            std,
            interpolation,
            mode,
            ..
        } = *self.preprocess;
        writer.resize_constants(crop);
        let [rows, columns] = self.extents(writer);
        let name = "preprocess";
        let planes = "preprocess:planes";
        let order = vec![ints("perm", [0, 3, 1, 2])];
        writer.add("Transpose", planes, &[PIXELS], planes, order);
        let pixels = match interpolation {
            Interpolation::Nearest => {
                let nearest = [
                    (Direction::Rows, &rows, 2),
                    (Direction::Columns, &columns, 3),
                ];
                let mut pixels = planes.to_string();
                for (direction, extents, axis) in nearest {
                    let indices = writer.nearest(direction, extents);
                    let taken = format!("{}:taken", direction.name());
                    let axis = vec![int("axis", axis)];
                    writer.add("Gather", &taken, &[&pixels, &indices], &taken, axis);
                    pixels = taken;
                }
                writer.cast(name, "cropped", &pixels, FLOAT)
            }
            _ => self.filtered(writer, planes, &rows, &columns),
        };
        let pixels = match mode {
            ResizeMode::Letterbox => self.filled(writer, &pixels),
            ResizeMode::Crop | ResizeMode::Squash => pixels,
        };
        let most = writer.number("preprocess:white".into(), 255.0);
        let [mean, std] = [("mean", mean), ("std", std)].map(|(part, values)| {
            let bytes = values.iter().flat_map(|value| value.to_le_bytes());
            let shape = vec![1, 3, 1, 1];
            writer.constant(format!("preprocess:{part}"), FLOAT, shape, bytes.collect())
        });
        let shares = writer.step("Div", name, "shares", &[&pixels, &most]);
        let centred = writer.step("Sub", name, "centred", &[&shares, &mean]);
        writer.step("Div", name, "images", &[&centred, &std])
    }

    /// Writes the size of the picture, and what it is resized to: the shorter side to `resize`, the longer one in
    /// proportion, cut off to whole pixels; or both sides to `resize`; or the longer one, the shorter in proportion.
    fn extents(&self, writer: &mut Writer<'_>) -> [Extents; 2] {
        let name = "preprocess";
        let whole = |writer: &mut Writer<'_>, part: &str, value: i64| {
            let bytes = value.to_le_bytes().to_vec();
            writer.constant(format!("preprocess:{part}"), INT64, Vec::new(), bytes)
        };
        let shape = writer.step("Shape", name, "shape", &[PIXELS]);
        let resize = whole(writer, "resize", self.preprocess.resize as i64);
        let sides = [(Direction::Rows, 1), (Direction::Columns, 2)].map(|(direction, axis)| {
            let axis = whole(writer, &format!("axis{axis}"), axis);
            writer.step("Gather", direction.name(), "extent", &[&shape, &axis])
        });
        let resized = match self.preprocess.mode {
            ResizeMode::Crop => {
                let longest = whole(writer, "longest", LONGEST);
                let short = writer.step("Min", name, "short", &[&sides[0], &sides[1]]);
                [
                    (Direction::Rows, &sides[0]),
                    (Direction::Columns, &sides[1]),
                ]
                .map(|(direction, picture)| {
                    let name = direction.name();
                    let product = writer.step("Mul", name, "product", &[picture, &resize]);
                    let scaled = writer.step("Div", name, "in_proportion", &[&product, &short]);
                    writer.step("Min", name, "resized_extent", &[&scaled, &longest])
                })
            }
            ResizeMode::Squash => [resize.clone(), resize],
            ResizeMode::Letterbox => {
                let long = writer.step("Max", name, "long", &[&sides[0], &sides[1]]);
                let long = writer.cast(name, "long_side", &long, DOUBLE);
                let most = writer.cast(name, "most", &resize, DOUBLE);
                [
                    (Direction::Rows, &sides[0]),
                    (Direction::Columns, &sides[1]),
                ]
                .map(|(direction, picture)| {
                    let name = direction.name();
                    let side = writer.cast(name, "side", picture, DOUBLE);
                    let share = writer.step("Div", name, "share", &[&side, &long]);
                    let scaled = writer.step("Mul", name, "in_proportion", &[&share, &most]);
                    // To even, as Python rounds.
                    let near = writer.step("Round", name, "rounded_extent", &[&scaled]);
                    let near = writer.step("Max", name, "some", &[&near, "preprocess:one"]);
                    writer.cast(name, "resized_extent", &near, INT64)
                })
            }
        };
        let is_padded = self.preprocess.mode == ResizeMode::Letterbox;
        let [rows, columns] = sides;
        let [resized_rows, resized_columns] = resized;
        [(rows, resized_rows), (columns, resized_columns)].map(|(picture, resized)| Extents {
            picture,
            resized,
            is_padded,
        })
    }

    /// Writes the mean colour to where no picture is.
    fn filled(&self, writer: &mut Writer<'_>, pixels: &str) -> String {
        let name = "preprocess";
        let last = writer.integers("preprocess:last_axis".into(), &[1]);
        let [rows, columns] = [Direction::Rows, Direction::Columns]
            .map(|direction| format!("{}:is_inside", direction.name()));
        let rows = writer.step("Unsqueeze", name, "rows_inside", &[&rows, &last]);
        let inside = writer.step("And", name, "inside", &[&rows, &columns]);
        let colour = self.preprocess.mean.map(|mean| (255.0 * mean).round());
        let bytes = colour
            .iter()
            .flat_map(|level| level.to_le_bytes())
            .collect();
        let colour = writer.constant("preprocess:fill".into(), FLOAT, vec![1, 3, 1, 1], bytes);
        writer.step("Where", name, "filled", &[&inside, pixels, &colour])
    }

    /// Writes the resize by a filter, rounded to whole grey levels after each direction.
    fn filtered(
        &self,
        writer: &mut Writer<'_>,
        planes: &str,
        rows: &Extents,
        columns: &Extents,
    ) -> String {
        let Preprocess {
            crop,
            interpolation,
            ..
        } = *self.preprocess;
        let name = "preprocess";
        let down = writer.filter(Direction::Rows, rows, interpolation);
        let across = writer.filter(Direction::Columns, columns, interpolation);
        let [starts, ends] = [
            ("starts", [&down.first, &across.first]),
            ("ends", [&down.end, &across.end]),
        ]
        .map(|(part, places)| {
            let output = format!("preprocess:{part}");
            let inputs = places.map(String::as_str);
            writer.add("Concat", &output, &inputs, &output, vec![int("axis", 0)]);
            output
        });
        let axes = writer.integers("preprocess:axes".into(), &[2, 3]);
        let needed = writer.step("Slice", name, "needed", &[planes, &starts, &ends, &axes]);
        let needed = writer.cast(name, "levels", &needed, FLOAT);
        for (part, value) in [
            ("half_level", 0.5),
            ("black_level", 0.0),
            ("white_level", 255.0),
        ] {
            writer.number(format!("preprocess:{part}"), value);
        }
        let condition = down_first(writer, rows, columns);
        let passes = |order: [Direction; 2], label: &str| {
            let mut graph = GraphProto {
                name: Some(label.to_string()),
                ..GraphProto::default()
            };
            let mut levels = needed.clone();
            for direction in order {
                let inputs = match direction {
                    Direction::Rows => [down.weights.as_str(), levels.as_str()],
                    Direction::Columns => [levels.as_str(), across.weights.as_str()],
                };
                let base = format!("{}:{label}", direction.name());
                let mut step = |operation: &str, part: &str, inputs: &[&str]| {
                    let output = format!("{base}_{part}");
                    let step = node(operation, &output, inputs, &output, Vec::new());
                    graph.node.push(step);
                    output
                };
                let sums = step("MatMul", "sums", &inputs);
                let above = step("Add", "above", &[&sums, "preprocess:half_level"]);
                let whole = step("Floor", "whole", &[&above]);
                let range = [
                    whole.as_str(),
                    "preprocess:black_level",
                    "preprocess:white_level",
                ];
                levels = step("Clip", "levels", &range);
            }
            let dimensions = vec![named("batch"), fixed(3), fixed(crop), fixed(crop)];
            graph.output = vec![value(&levels, dimensions)];
            graph
        };
        let (rows, columns) = (Direction::Rows, Direction::Columns);
        let attributes = vec![
            branch("then_branch", passes([rows, columns], "down_first")),
            branch("else_branch", passes([columns, rows], "across_first")),
        ];
        let cropped = "preprocess:cropped";
        writer.add("If", cropped, &[&condition], cropped, attributes);
        cropped.to_string()
    }

    /// Writes what comes behind logits.
    pub fn after(&self, writer: &mut Writer<'_>, logits: &str) {
        let scaled = match self.temperature {
            Some(temperature) => {
                let divisor = writer.number("answer:temperature".into(), temperature as f32);
                writer.step("Div", "answer", "scaled", &[logits, &divisor])
            }
            None => logits.to_string(),
        };
        let (operator, name, attributes) = match self.answers {
            Answers::Classes => ("Softmax", "answer:shares", vec![int("axis", 1)]),
            Answers::Labels => ("Sigmoid", "answer:shares", Vec::new()),
            Answers::Numbers => ("Identity", "answer:numbers", Vec::new()),
        };
        writer.add(operator, name, &[&scaled], self.output(), attributes);
    }
}

/// Writes whether a picture is resized down before across: small ones that are higher than wide and lose rows, as Pillow
/// does since its version 13.
fn down_first(writer: &mut Writer<'_>, rows: &Extents, columns: &Extents) -> String {
    let name = "preprocess";
    let bytes = DOWN_FIRST.to_le_bytes().to_vec();
    let most = writer.constant("preprocess:most_between".into(), INT64, Vec::new(), bytes);
    let is_high = writer.step(
        "Greater",
        name,
        "is_high",
        &[&rows.picture, &columns.picture],
    );
    let is_less = writer.step("Greater", name, "is_less", &[&rows.picture, &rows.resized]);
    let between = writer.step("Mul", name, "between", &[&columns.picture, &rows.resized]);
    let is_small = writer.step("LessOrEqual", name, "is_small", &[&between, &most]);
    let both = writer.step("And", name, "is_high_and_less", &[&is_high, &is_less]);
    writer.step("And", name, "is_down_first", &[&both, &is_small])
}

/// Takes away what [`Around`] wrote, and leaves the network between.
pub fn strip(model: &mut ModelProto) {
    let is_ours = model.producer_name.as_deref() == Some("rekindle");
    let Some(graph) = model.graph.as_mut().filter(|_| is_ours) else {
        return;
    };
    let takes_pixels = |input: &ValueInfoProto| input.name.as_deref() == Some(PIXELS);
    if !graph.input.iter().any(takes_pixels) {
        return;
    }
    let is_around = |name: &Option<String>| {
        let name = name.as_deref().unwrap_or_default();
        name.starts_with("preprocess") || name.starts_with("answer:")
    };
    let gives_images = |node: &NodeProto| node.output.iter().any(|name| name == IMAGES);
    let steps = graph
        .initializer
        .iter()
        .find(|tensor| tensor.name.as_deref() == Some("preprocess:steps"));
    let side = steps.and_then(|steps| usize::try_from(*steps.dims.first()?).ok());
    let Some(side) = side.filter(|_| graph.node.iter().any(gives_images)) else {
        return;
    };
    graph.node.retain(|node| !is_around(&node.name));
    graph.initializer.retain(|tensor| !is_around(&tensor.name));
    let answers = [Some(PROBABILITIES), Some(NUMBERS)];
    graph
        .output
        .retain(|output| !answers.contains(&output.name.as_deref()));
    let dimensions = vec![named("batch"), fixed(3), fixed(side), fixed(side)];
    graph.input = vec![value(IMAGES, dimensions)];
}
