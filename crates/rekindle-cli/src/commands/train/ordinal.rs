//! What is said of runs on classes that are in an order.

use rekindle::trainer::OrdinalEvaluation;
use serde_json::{Value, json};

use crate::console::percent;

/// Adds the figures to what is printed as JSON.
pub fn add(result: &mut Value, found: Option<&OrdinalEvaluation>) {
    result["mae"] = json!(found.map(|found| found.mae));
    result["quadratic_weighted_kappa"] =
        json!(found.and_then(|found| found.quadratic_weighted_kappa));
    result["within_one"] = json!(found.map(|found| found.within_one));
}

/// The figures in one line.
pub fn figures(found: &OrdinalEvaluation) -> String {
    line(found.mae, found.quadratic_weighted_kappa, found.within_one)
}

/// The line of a run of `train`; none for another task.
pub fn said(result: &Value) -> Option<String> {
    let figures = line(
        result["mae"].as_f64()?,
        result["quadratic_weighted_kappa"].as_f64(),
        result["within_one"].as_f64()?,
    );
    let strategy = result["strategy"].as_str().unwrap_or_default();
    Some(format!("{strategy}: {figures}"))
}

fn line(mae: f64, kappa: Option<f64>, within_one: f64) -> String {
    let kappa = kappa.map_or_else(String::new, |kappa| {
        format!(", quadratic weighted kappa {kappa:.3}")
    });
    format!(
        "MAE {mae:.3} classes{kappa}, {} at most one class off",
        percent(within_one)
    )
}
