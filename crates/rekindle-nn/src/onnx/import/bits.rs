//! Matrices of a few bits a number.

use super::attributes::Operator;
use super::constant::Constant;
use super::draft::Weight;
use super::error::Outcome;
use super::reader::Reader;
use super::view::View;

impl Reader<'_> {
    /// Reads `MatMulNBits`: a linear layer whose matrix `[outputs, inputs]` has a scale, and a zero point, for each block of a
    /// row. Zero points are in the middle of the range where there are none.
    pub(super) fn product_of_bits(
        &mut self,
        operator: Operator<'_>,
        view: &View,
        constants: &[Option<&Constant>],
    ) -> Outcome<View> {
        let given = |index: usize| constants.get(index).copied().flatten();
        let is_given = |index: usize| !operator.input(index).is_empty();
        let size = |name: &str| operator.count(name, 0);
        let (inputs, outputs, bits) = (size("K")?, size("N")?, operator.count("bits", 4)?);
        let block = size("block_size")?;
        if inputs == 0 || outputs == 0 || block == 0 || ![2, 4, 8].contains(&bits) {
            return Err(format!(
                "{inputs} by {outputs} numbers of {bits} bits in blocks of {block}"
            )
            .into());
        }
        if is_given(4) {
            return Err("it takes its inputs in another order".into());
        }
        let unknown = "its weights are not known before the network runs";
        let bytes = given(1).ok_or(unknown)?;
        let bytes = bytes.as_ints().ok_or("its weights are no bytes")?;
        let scales = given(2).ok_or(unknown)?;
        let scales = scales.as_floats().ok_or("its scales are whole numbers")?;
        let blocks = inputs.div_ceil(block);
        let in_byte = 8 / bits;
        let row = blocks.checked_mul(block.div_ceil(in_byte));
        let row = row.ok_or("its rows are larger than any file")?;
        // Zero points are packed like the numbers, each row to whole bytes.
        let zero_row = blocks.div_ceil(in_byte);
        let zeros = match (given(3), is_given(3)) {
            (Some(zeros), _) => Some(zeros),
            (None, true) => return Err(unknown.into()),
            (None, false) => None,
        };
        let packed_zeros = zeros.and_then(Constant::as_ints);
        let real_zeros = zeros.and_then(Constant::as_floats);
        let is = |found: usize, row: usize| outputs.checked_mul(row) == Some(found);
        let fits = is(bytes.len(), row)
            && is(scales.len(), blocks)
            && packed_zeros.is_none_or(|zeros| is(zeros.len(), zero_row))
            && real_zeros.is_none_or(|zeros| is(zeros.len(), blocks));
        if !fits {
            return Err("its bytes, scales and zero points don't fit together".into());
        }
        let mask = (1i64 << bits) - 1;
        let number = |bytes: &[i64], at: usize| {
            let shift = at % in_byte * bits;
            (bytes[at / in_byte] >> shift) & mask
        };
        let mut values = Vec::with_capacity(inputs * outputs);
        for output in 0..outputs {
            let own = &bytes[output * row..(output + 1) * row];
            for input in 0..inputs {
                let (at, inside) = (input / block, input % block);
                let zero = match (packed_zeros, real_zeros) {
                    (Some(zeros), _) => {
                        number(&zeros[output * zero_row..(output + 1) * zero_row], at) as f32
                    }
                    (_, Some(zeros)) => zeros[output * blocks + at],
                    _ => (1i64 << (bits - 1)) as f32,
                };
                let start = at * block.div_ceil(in_byte);
                let whole = number(&own[start..], inside) as f32;
                values.push((whole - zero) * scales[output * blocks + at]);
            }
        }
        let matrix = Constant::floats(vec![outputs, inputs], values);
        let bias = match (given(5), is_given(5)) {
            (Some(bias), _) => Some(Weight::of(bias).ok_or("its bias are whole numbers")?),
            (None, true) => return Err("its bias is not known before the network runs".into()),
            (None, false) => None,
        };
        let turned = super::fold::transposed(&matrix, &[1, 0])?;
        self.linear(operator, view, &turned, bias)
    }
}
