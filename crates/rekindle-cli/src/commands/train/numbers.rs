//! What is said of runs that learn a number of each picture.

use rekindle::trainer::RegressionEvaluation;
use rekindle::trainer::text::figure;
use serde_json::{Value, json};

/// Adds the figures to what is printed as JSON.
pub fn add(result: &mut Value, found: Option<&RegressionEvaluation>) {
    result["mae"] = json!(found.map(|found| found.mae));
    result["rmse"] = json!(found.map(|found| found.rmse));
    result["r2"] = json!(found.and_then(|found| found.r2));
}

/// The figures in one line.
pub fn figures(found: &RegressionEvaluation) -> String {
    line(found.mae, found.rmse, found.r2)
}

/// The line of a run of `train`; none for another task.
pub fn said(result: &Value) -> Option<String> {
    let figures = line(
        result["mae"].as_f64()?,
        result["rmse"].as_f64()?,
        result["r2"].as_f64(),
    );
    let strategy = result["strategy"].as_str().unwrap_or_default();
    Some(format!("{strategy}: {figures}"))
}

fn line(mae: f64, rmse: f64, r2: Option<f64>) -> String {
    let explained = r2.map_or_else(String::new, |r2| format!(", R2 {r2:.3}"));
    format!("MAE {}, RMSE {}{explained}", figure(mae), figure(rmse))
}
