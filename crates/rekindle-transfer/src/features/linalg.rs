//! Matrices in double precision, and the decompositions that the methods here are made of.

use faer::prelude::Solve;
use faer::{Mat, MatRef, Side};

use super::table::Features;
use crate::TransferError;
use crate::error::degenerate;

/// Features as a matrix `[n, dim]`.
pub(crate) fn matrix(features: &Features) -> Mat<f64> {
    Mat::from_fn(features.len(), features.dim(), |i, j| {
        f64::from(features.row(i)[j])
    })
}

/// Features minus their mean, as a matrix `[n, dim]`.
pub(crate) fn centered_matrix(features: &Features, mean: &[f64]) -> Mat<f64> {
    Mat::from_fn(features.len(), features.dim(), |i, j| {
        f64::from(features.row(i)[j]) - mean[j]
    })
}

/// Converts a matrix `[n, dim]` to features.
pub(crate) fn features(matrix: MatRef<'_, f64>) -> Result<Features, TransferError> {
    let mut values = Vec::with_capacity(matrix.nrows() * matrix.ncols());
    for i in 0..matrix.nrows() {
        values.extend((0..matrix.ncols()).map(|j| matrix[(i, j)] as f32));
    }
    Features::new(values, matrix.ncols())
}

/// Singular values in falling order with their vectors.
pub(crate) struct ThinSvd {
    /// `[n, rank]`.
    pub left: Mat<f64>,
    /// `[rank]`.
    pub values: Vec<f64>,
    /// `[dim, rank]`.
    pub right: Mat<f64>,
}

/// `A = left diag(values) right'` without the part whose singular values are rounding errors; an empty rank
/// for a matrix of zeros.
pub(crate) fn thin_svd(
    method: &'static str,
    matrix: MatRef<'_, f64>,
) -> Result<ThinSvd, TransferError> {
    let svd = matrix.thin_svd().map_err(|_| TransferError::Degenerate {
        method,
        reason: "the singular value decomposition did not converge; scale the features".into(),
    })?;
    let all: Vec<f64> = svd.S().column_vector().iter().copied().collect();
    let extent = matrix.nrows().max(matrix.ncols()) as f64;
    let floor = all.first().copied().unwrap_or(0.0) * extent * f64::EPSILON;
    let rank = all.iter().filter(|value| **value > floor).count();
    Ok(ThinSvd {
        left: svd.U().subcols(0, rank).to_owned(),
        values: all[..rank].to_vec(),
        right: svd.V().subcols(0, rank).to_owned(),
    })
}

/// Eigenvalues of a symmetric matrix in falling order, and the matrix whose columns are their vectors.
pub(crate) fn symmetric_eigen(
    method: &'static str,
    matrix: MatRef<'_, f64>,
) -> Result<(Vec<f64>, Mat<f64>), TransferError> {
    let eigen = matrix
        .self_adjoint_eigen(Side::Lower)
        .map_err(|_| TransferError::Degenerate {
            method,
            reason: "the eigendecomposition did not converge; scale the features".into(),
        })?;
    let count = matrix.nrows();
    let rising: Vec<f64> = eigen.S().column_vector().iter().copied().collect();
    let vectors = Mat::from_fn(count, count, |i, j| eigen.U()[(i, count - 1 - j)]);
    Ok((rising.into_iter().rev().collect(), vectors))
}

/// Solves `A x = b` for a symmetric positive definite `A`.
pub(crate) fn solve_positive_definite(
    method: &'static str,
    matrix: MatRef<'_, f64>,
    right_side: MatRef<'_, f64>,
) -> Result<Mat<f64>, TransferError> {
    let factor = matrix
        .llt(Side::Lower)
        .map_err(|_| TransferError::Degenerate {
            method,
            reason: "a matrix is singular; raise the regularisation".into(),
        })?;
    Ok(factor.solve(right_side))
}

/// Eigenvalues in falling order and vectors of `A v = value B v` with a symmetric `A` and a symmetric positive
/// definite `B`; the vectors have `v' B v = 1`.
pub(crate) fn generalized_eigen(
    method: &'static str,
    a: MatRef<'_, f64>,
    b: MatRef<'_, f64>,
) -> Result<(Vec<f64>, Mat<f64>), TransferError> {
    let factor = b.llt(Side::Lower).map_err(|_| TransferError::Degenerate {
        method,
        reason: "a matrix is singular; raise the regularisation".into(),
    })?;
    let lower = factor.L();
    // C = L^-1 A L^-T.
    let mut half = a.to_owned();
    lower.solve_lower_triangular_in_place(half.as_mut());
    let mut whole = half.transpose().to_owned();
    lower.solve_lower_triangular_in_place(whole.as_mut());
    let symmetric = Mat::from_fn(a.nrows(), a.nrows(), |i, j| {
        0.5 * (whole[(i, j)] + whole[(j, i)])
    });
    let (values, mut vectors) = symmetric_eigen(method, symmetric.as_ref())?;
    lower
        .transpose()
        .solve_upper_triangular_in_place(vectors.as_mut());
    Ok((values, vectors))
}

/// Principal directions of the rows of a matrix, by the eigenvectors of the smaller of its Gram matrices.
pub(super) struct Principal {
    /// Sums of squares along the directions `[rank]`, the largest first.
    pub variances: Vec<f64>,
    /// Eigenvectors: the directions `[columns, rank]`, or of a wide matrix the rows' shares `[rows, rank]`.
    pub vectors: Mat<f64>,
    /// True if there are more columns than rows.
    pub is_wide: bool,
}

impl Principal {
    /// Finds the directions of `x` along which rows differ by more than rounding; `least` is a sum of squares that counts as
    /// rounding in any case.
    ///
    /// # Errors
    ///
    /// [`TransferError::Degenerate`] where there is none.
    pub fn of(method: &'static str, x: &Mat<f64>, least: f64) -> Result<Self, TransferError> {
        let (rows, columns) = (x.nrows(), x.ncols());
        let is_wide = rows < columns;
        let gram = match is_wide {
            true => x * x.transpose(),
            false => x.transpose() * x,
        };
        let (values, vectors) = symmetric_eigen(method, gram.as_ref())?;
        let rounding = rows.max(columns) as f64 * f64::EPSILON;
        let floor = (values.first().copied().unwrap_or(0.0) * rounding).max(least);
        let rank = values.iter().filter(|value| **value > floor).count();
        if rank == 0 {
            return degenerate(
                method,
                "all features are the same; check the images and weights".into(),
            );
        }
        Ok(Self {
            variances: values[..rank].to_vec(),
            vectors: vectors.as_ref().subcols(0, rank).to_owned(),
            is_wide,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn wave(rows: usize, columns: usize) -> Mat<f64> {
        Mat::from_fn(rows, columns, |i, j| {
            ((i * 37 + j * 101 + i * j * 13 + 5) as f64).sin()
        })
    }

    fn largest_difference(a: MatRef<'_, f64>, b: MatRef<'_, f64>) -> f64 {
        let mut largest = 0.0f64;
        for i in 0..a.nrows() {
            for j in 0..a.ncols() {
                largest = largest.max((a[(i, j)] - b[(i, j)]).abs());
            }
        }
        largest
    }

    #[test]
    fn a_singular_value_decomposition_multiplies_back_and_drops_what_is_nothing() {
        for (rows, columns) in [(12, 5), (5, 12)] {
            let matrix = wave(rows, columns);
            let svd = thin_svd("test", matrix.as_ref()).unwrap();
            let scaled = Mat::from_fn(rows, svd.values.len(), |i, j| {
                svd.left[(i, j)] * svd.values[j]
            });
            let back = &scaled * svd.right.transpose();
            assert!(largest_difference(back.as_ref(), matrix.as_ref()) < 1e-12);
        }
        let rank_one = Mat::from_fn(6, 4, |i, j| ((i + 1) * (j + 1)) as f64);
        assert_eq!(thin_svd("test", rank_one.as_ref()).unwrap().values.len(), 1);
        let zeros: Mat<f64> = Mat::zeros(3, 4);
        assert!(thin_svd("test", zeros.as_ref()).unwrap().values.is_empty());
    }

    #[test]
    fn generalised_eigenvectors_satisfy_their_equation() {
        let half = wave(8, 8);
        let a = &half + half.transpose();
        let b = &half * half.transpose() + Mat::<f64>::identity(8, 8);
        let (values, vectors) = generalized_eigen("test", a.as_ref(), b.as_ref()).unwrap();
        assert!(values.windows(2).all(|pair| pair[0] >= pair[1]));
        let left = &a * &vectors;
        let right = &b * &vectors;
        let right = Mat::from_fn(8, 8, |i, j| right[(i, j)] * values[j]);
        assert!(largest_difference(left.as_ref(), right.as_ref()) < 1e-10);
        let gram = vectors.transpose() * &b * &vectors;
        assert!(largest_difference(gram.as_ref(), Mat::<f64>::identity(8, 8).as_ref()) < 1e-10);
    }

    #[test]
    fn a_solution_solves_and_a_singular_matrix_is_an_error() {
        let half = wave(5, 9);
        let matrix = &half * half.transpose();
        let right_side = wave(5, 2);
        let found = solve_positive_definite("test", matrix.as_ref(), right_side.as_ref()).unwrap();
        let product = &matrix * &found;
        assert!(largest_difference(product.as_ref(), right_side.as_ref()) < 1e-10);
        let zeros: Mat<f64> = Mat::zeros(5, 5);
        assert!(solve_positive_definite("test", zeros.as_ref(), right_side.as_ref()).is_err());
    }
}
