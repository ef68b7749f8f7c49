//! Transposed matrices.

use crate::reference::random;
use rekindle_kernels::{Isa, transpose};

#[test]
fn rows_become_columns() {
    for [rows, columns] in [
        [1, 1],
        [1, 70],
        [70, 1],
        [16, 16],
        [64, 128],
        [65, 63],
        [197, 384],
        [17, 15],
        [1000, 33],
        [0, 5],
        [5, 0],
    ] {
        let values = random(rows * columns, 1);
        for &isa in Isa::available() {
            let found = transpose(isa, &values, [rows, columns]).unwrap();
            assert_eq!(found.len(), values.len());
            for (i, &value) in found.iter().enumerate() {
                let (column, row) = (i / rows, i % rows);
                assert_eq!(value, values[row * columns + column], "{rows} x {columns}");
            }
        }
    }
    assert!(transpose(Isa::detect(), &[0.0; 5], [2, 3]).is_err());
}
