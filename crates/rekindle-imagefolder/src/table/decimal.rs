//! Numbers in cells, with a point or a comma before their fraction.

use std::path::Path;

use super::read::{Cell, Record, Records, fault};
use crate::error::Error;

/// What stands before the fraction in the numbers of a column.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Decimal {
    Point,
    Comma,
}

impl Decimal {
    /// Tells by the cells of a column: a comma where one has it and `;` separates the cells, as spreadsheets write tables in
    /// languages whose fractions have a comma. Between other separators a comma may be one of thousands.
    pub fn of(records: &Records, at: usize) -> Self {
        let has_comma = |cell: &Cell| matches!(cell, Cell::Text(said) if said.contains(','));
        let cells = records.rows.iter().map(|record| &record.cells[at]);
        match records.has_semicolons && cells.into_iter().any(has_comma) {
            true => Self::Comma,
            false => Self::Point,
        }
    }

    /// Reads a finite number. A point among commas is none: it might be one of thousands.
    pub fn number<T: std::str::FromStr + Into<f64> + Copy>(self, said: &str) -> Option<T> {
        let number = match self {
            Self::Point => said.parse(),
            Self::Comma if said.contains('.') => return None,
            Self::Comma => said.replacen(',', ".", 1).parse(),
        };
        number
            .ok()
            .filter(|number: &T| (*number).into().is_finite())
    }

    /// The end of a sentence about a cell that is no number: what to do where it is one otherwise written.
    pub fn advice(self, said: &str) -> &'static str {
        let (other, advice) = match self {
            Self::Point => (
                ',',
                "; write fractions behind a point and nothing between thousands, or save the table with ; between cells, where \
                 commas before fractions are read",
            ),
            Self::Comma => (
                '.',
                "; other numbers of the column have a comma before their fraction: write all alike, and nothing between thousands",
            ),
        };
        let is_otherwise =
            said.contains(other) && self.number::<f32>(&said.replace(other, "")).is_some();
        match is_otherwise {
            true => advice,
            false => "",
        }
    }
}

/// The error of a cell that holds no number.
pub(super) fn no_number(
    path: &Path,
    record: &Record,
    column: &str,
    cell: &Cell,
    decimal: Decimal,
) -> Error {
    let (found, advice) = match cell {
        Cell::Text(said) => (format!("{said:?}"), decimal.advice(said)),
        Cell::Several(_) => ("a list".into(), ""),
    };
    let reason = format!("{found} stands in {column}; expected a number{advice}");
    fault(path, record.line, reason)
}
