use rekindle::files::names::{escape, show};
use rekindle::report::{self, run_directories};
use serde_json::json;

use crate::arguments::{Output, Report};
use crate::checks;
use crate::failure::{Failure, Outcome};

pub fn run(command: &Report, output: Output) -> Result<Outcome, Failure> {
    checks::file(&command.out)?;
    if let Some(folder) = &command.images {
        checks::folder(folder)?;
    }
    let device = command.device.open()?;
    let runs = run_directories(&command.runs)?;
    let data = command.data.as_deref();
    let report = report::Report::from_runs(&runs, data, &device, |text| output.note(text))?;
    report.write(&command.out)?;
    let images = match &command.images {
        Some(folder) => report.write_images(folder)?,
        None => Vec::new(),
    };
    let summaries: Vec<_> = report
        .runs
        .iter()
        .zip(&runs)
        .map(|(run, path)| {
            let mut told = json!({
                "name": run.name, "directory": escape(path), "best_accuracy": run.best_accuracy(),
                "epochs": run.epochs.len(), "seconds": run.seconds(),
                "ece": run.evaluation.as_ref().map(|found| found.calibration.ece),
            });
            if let Some(mae) = run.best_mae().or_else(|| run.mae_of_order()) {
                told["mae"] = json!(mae);
            }
            if let Some(kappa) = run.weighted_kappa() {
                told["quadratic_weighted_kappa"] = json!(kappa);
            }
            told
        })
        .collect();
    let images: Vec<String> = images.iter().map(escape).collect();
    let json = json!({"report": escape(&command.out), "images": images, "runs": summaries});
    output.result(&json, || format!("report: {}", show(&command.out)));
    Ok(Outcome::Done)
}
