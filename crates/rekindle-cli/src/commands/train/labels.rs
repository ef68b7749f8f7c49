//! What is said of runs on pictures with several labels.

use rekindle::trainer::MultiLabelEvaluation;
use serde_json::{Value, json};

/// Adds the figures to what is printed as JSON.
pub fn add(result: &mut Value, found: Option<&MultiLabelEvaluation>) {
    result["mean_average_precision"] = json!(found.map(|found| found.mean_average_precision));
    result["micro_f1"] = json!(found.map(|found| found.micro_f1));
    result["macro_f1"] = json!(found.map(|found| found.macro_f1));
}

/// The figures in one line.
pub fn figures(found: &MultiLabelEvaluation) -> String {
    line(found.mean_average_precision, found.micro_f1, found.macro_f1)
}

/// The line of a run of `train`; none for one class a picture.
pub fn said(result: &Value) -> Option<String> {
    let figure = |name: &str| result[name].as_f64();
    let figures = line(
        figure("mean_average_precision")?,
        figure("micro_f1")?,
        figure("macro_f1")?,
    );
    let strategy = result["strategy"].as_str().unwrap_or_default();
    Some(format!("{strategy}: {figures}"))
}

fn line(mean: f64, micro: f64, macro_f1: f64) -> String {
    format!("mean average precision {mean:.3}, micro F1 {micro:.3}, macro F1 {macro_f1:.3}")
}
