//! Checks of shapes, so that a loss gives an error where a tensor operation would panic.

use burn::prelude::*;

use crate::TransferError;

/// Both of shape `[n, width]` with the same `width`, and at least `least` rows each.
pub(super) fn same_width(
    method: &'static str,
    a: &Tensor<2>,
    b: &Tensor<2>,
    least: usize,
) -> Result<(), TransferError> {
    let ([_, found], [_, expected]) = (a.dims(), b.dims());
    if found != expected {
        return Err(TransferError::WrongLength {
            what: "width of two batches that are compared",
            found,
            expected,
        });
    }
    rows(method, a, least)?;
    rows(method, b, least)
}

/// Both of the same shape, and at least `least` rows.
pub(super) fn same_shape(
    method: &'static str,
    a: &Tensor<2>,
    b: &Tensor<2>,
    least: usize,
) -> Result<(), TransferError> {
    same_width(method, a, b, least)?;
    length(
        "rows of two batches that are compared",
        b.dims()[0],
        a.dims()[0],
    )
}

/// Checks that there are at least `least` rows and one column.
pub(super) fn rows(method: &'static str, x: &Tensor<2>, least: usize) -> Result<(), TransferError> {
    let [count, width] = x.dims();
    if count >= least && width > 0 {
        return Ok(());
    }
    Err(TransferError::Degenerate {
        method,
        reason: format!("a batch of shape [{count}, {width}]; at least {least} row(s) are needed"),
    })
}

pub(super) fn length(
    what: &'static str,
    found: usize,
    expected: usize,
) -> Result<(), TransferError> {
    if found == expected {
        return Ok(());
    }
    Err(TransferError::WrongLength {
        what,
        found,
        expected,
    })
}

/// A finite number above 0.
pub(super) fn positive(
    method: &'static str,
    parameter: &'static str,
    value: f64,
) -> Result<(), TransferError> {
    if value.is_finite() && value > 0.0 {
        return Ok(());
    }
    Err(TransferError::InvalidStrategy {
        strategy: method,
        parameter: parameter.to_string(),
        found: value.to_string(),
        expected: "a finite number above 0",
    })
}
