//! What is said of runs on pictures with several labels.

use rekindle::trainer::{LabelThresholds, MultiLabelEvaluation};
use serde_json::{Value, json};

/// Adds the figures to what is printed as JSON.
pub fn add(result: &mut Value, found: Option<&MultiLabelEvaluation>) {
    result["mean_average_precision"] = json!(found.map(|found| found.mean_average_precision));
    result["micro_f1"] = json!(found.map(|found| found.micro_f1));
    result["macro_f1"] = json!(found.map(|found| found.macro_f1));
}

/// Puts the F1 to expect of other pictures in the place of that on the pictures which chose the thresholds.
pub fn add_cross_fitted(result: &mut Value, chosen: Option<&LabelThresholds>) {
    if let Some(chosen) = chosen {
        result["micro_f1"] = json!(chosen.micro_f1);
        result["macro_f1"] = json!(chosen.macro_f1);
        result["micro_f1_at_half"] = json!(chosen.micro_f1_at_half);
        result["macro_f1_at_half"] = json!(chosen.macro_f1_at_half);
    }
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
    let at_half = (figure("micro_f1_at_half")).zip(figure("macro_f1_at_half"));
    let at_half = at_half.map_or_else(String::new, |(micro, macro_f1)| {
        format!(" by cross-fitted thresholds (at 0.5 for all labels {micro:.3} and {macro_f1:.3})")
    });
    Some(format!("{strategy}: {figures}{at_half}"))
}

fn line(mean: f64, micro: f64, macro_f1: f64) -> String {
    format!("mean average precision {mean:.3}, micro F1 {micro:.3}, macro F1 {macro_f1:.3}")
}
