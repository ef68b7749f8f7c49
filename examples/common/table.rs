//! Results over seeds, for people or for programs.

use serde_json::{Value, json};

/// Prints one line a result.
#[derive(Clone, Copy)]
pub struct Table {
    /// JSON in place of text.
    pub json: bool,
}

impl Table {
    /// The mean of `values`, one a seed, and their standard deviation, of `method` under the conditions `of`, an object.
    pub fn row(self, method: &str, values: &[f64], of: Value) {
        let (mean, spread) = mean_and_spread(values);
        if self.json {
            let mut row =
                json!({"method": method, "mean": mean, "spread": spread, "seeds": values});
            if let (Value::Object(row), Value::Object(of)) = (&mut row, of) {
                row.extend(of);
            }
            println!("{row}");
            return;
        }
        let conditions: Vec<String> = match &of {
            Value::Object(of) => of
                .iter()
                .map(|(name, value)| match value {
                    Value::String(value) => format!("{name} {value}"),
                    value => format!("{name} {value}"),
                })
                .collect(),
            _ => Vec::new(),
        };
        println!(
            "{mean:.3} ± {spread:.3}  {method}  {}",
            conditions.join(", ")
        );
    }
}

/// Mean and standard deviation (of a sample).
pub fn mean_and_spread(values: &[f64]) -> (f64, f64) {
    let n = values.len().max(1) as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (mean, (squares / (n - 1.0).max(1.0)).sqrt())
}
