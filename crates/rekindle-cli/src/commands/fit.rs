use std::path::{Path, PathBuf};
use std::time::Duration;

use rekindle::files::names::{escape, printable, show};
use rekindle::imagefolder::Task;
use rekindle::models::Pretrained;
use rekindle::report::{Report, RunReport};
use rekindle::trainer::events::EndReason;
use rekindle::trainer::run_directory::FIT;
use rekindle::trainer::{
    FineTuned, FittedUnknown, Interrupt, Model, MultiLabelEvaluation, RunDirectory, TransferData,
};
use serde_json::{Value, json};

use super::{reject, train};
use crate::arguments::{Fit, MINUTES, Output};
use crate::checks;
use crate::console::{percent, print, say};
use crate::failure::{Failure, Outcome};
use crate::tables::Images;

/// Time that a search goes on for, where no other is given.
const LEAST_LEFT: Duration = Duration::from_secs(1);

pub fn run(command: &Fit, output: Output) -> Result<Outcome, Failure> {
    search(command, output, |told| told)
}

/// Runs a search, whose JSON is printed as `form` has it.
pub(super) fn search(
    command: &Fit,
    output: Output,
    form: fn(Value) -> Value,
) -> Result<Outcome, Failure> {
    let device = command.device.open()?;
    // The time counts from here.
    let fit = rekindle::trainer::Fit::new(&device)
        .budget(budget(command)?)
        .seed(command.seed)
        .workers(command.workers);
    let images = Images::of(command.data.as_deref(), &command.table)?;
    let folder = train::free_folder(command.out.as_deref(), &images);
    images.check()?;
    images.outside("--out", &folder)?;
    checks::folder(&folder)?;
    if !command.resume {
        RunDirectory::check_new(&folder)?;
    }
    let mut fit = match command.view.image_size {
        Some(_) => fit.keep_size(),
        None => fit,
    };
    let began_so = match command.resume {
        true => train::keeps_architecture(RunDirectory::open(&folder)?.record()),
        false => false,
    };
    if command.keep_architecture || began_so {
        fit = fit.keep_architecture();
    }
    if let Some(kept) = &command.cache {
        images.outside("--cache", kept)?;
        checks::folder(kept)?;
        fit = fit.cache(kept);
    }
    let interrupt = Interrupt::on_ctrl_c()?;
    let listing = images.listing()?;
    let options = command.weights.part.options();
    let paths = command.weights.paths(&output)?;
    let networks: Vec<Pretrained> = paths
        .iter()
        .map(|path| {
            let pretrained = Pretrained::open_with(path, &options, &device)?;
            let pretrained = command.depth.of(pretrained)?;
            let seen = command.view.of(&pretrained.preprocess);
            Ok(pretrained.with_preprocess(seen)?)
        })
        .collect::<Result<_, Failure>>()?;
    let Some(first) = networks.first() else {
        return Err(Failure::Usage(
            "give a network with --weights or --arch".into(),
        ));
    };
    let data = TransferData::from_listing(&listing, &first.preprocess, command.seed)?;
    output.data(&data);
    if command.reject {
        reject::check(&data)?;
    }
    let title = command
        .title
        .clone()
        .unwrap_or_else(|| escape(images.name()));
    let fit = fit
        .title(&title)
        .observer(output.observer())
        .accept_changed_data(command.accept_changed_data)
        .interrupt(interrupt.clone());
    let tuned = match command.resume {
        true => fit.resume_best_of(&folder, &networks, &data)?,
        false => fit.run_directory(&folder).fit_best_of(&networks, &data)?,
    };
    if tuned.outcome.reason == EndReason::Interrupted {
        let folder = show(&folder);
        say(&format!(
            "interrupted; the best so far is in {folder}, not measured on the validation images; the same command with --out {folder} \
             --resume goes on"
        ));
        return Ok(Outcome::Interrupted);
    }
    let report = reported(&title, &tuned, &data, command.seed, &folder)?;
    let unknown = match (command.reject, &tuned.outcome.best_weights) {
        (true, Some(path)) => {
            let model = Model::open(path, &device)?.interrupt(interrupt);
            Some(reject::learned(&model, &data, command.seed, output, path)?)
        }
        _ => None,
    };
    match output.json {
        true => print(&form(told(&tuned, unknown.as_ref(), &folder, &report)).to_string()),
        false => tell(&tuned, unknown.as_ref(), &report),
    }
    Ok(Outcome::Done)
}

/// Returns the time of a search: what is given, or what an interrupted one left.
fn budget(command: &Fit) -> Result<Duration, Failure> {
    let given = command
        .minutes
        .map(|minutes| Duration::from_secs_f64(60.0 * minutes));
    let (true, Some(folder)) = (command.resume, &command.out) else {
        return Ok(given.unwrap_or(Duration::from_secs_f64(60.0 * MINUTES)));
    };
    let left = rekindle::trainer::Fit::time_left(folder)?;
    match given.or(left) {
        Some(time) if time >= LEAST_LEFT => Ok(time),
        Some(_) => Err(Failure::Usage(format!(
            "the search in {} has used up its time; --minutes gives it more",
            show(folder)
        ))),
        None => Err(Failure::Usage(format!(
            "the run in {} is no search within a budget; `rekindle train --resume` goes on with others",
            show(folder)
        ))),
    }
}

/// Writes the report of the run.
fn reported(
    title: &str,
    tuned: &FineTuned,
    data: &TransferData,
    seed: u64,
    folder: &Path,
) -> Result<PathBuf, Failure> {
    let data = data.seen_by(&tuned.preprocess)?;
    let directory = RunDirectory::open(folder)?;
    let mut report = Report::new(title);
    report.describe_data(&data, seed)?;
    report.describe_record(directory.record());
    let mut run = RunReport::from_events(FIT, &directory.events()?);
    let (seen, thresholds) = (&tuned.inspection, tuned.thresholds.as_deref());
    run.look_at_inspected(&tuned.classifier, &data, seen, thresholds)?;
    report.runs.push(run);
    let path = directory.report_path();
    report.write(&path)?;
    Ok(path)
}

/// Returns what was found as JSON.
fn told(tuned: &FineTuned, unknown: Option<&FittedUnknown>, folder: &Path, report: &Path) -> Value {
    let weights = tuned.outcome.best_weights.as_deref();
    let mut told = json!({
        "accuracy": tuned.accuracy(),
        "loss": tuned.predictions.loss,
        "forecast": tuned.forecast,
        "trials": tuned.trials,
        "seconds": tuned.seconds,
        "directory": escape(folder),
        "weights": weights.map(escape),
        "report": escape(report),
    });
    match tuned.predictions.task {
        Task::SingleLabel => {}
        Task::Ordinal => {
            train::ordinal::add(&mut told, tuned.predictions.ordinal().ok().as_ref());
        }
        Task::MultiLabel => train::labels::add(&mut told, of_labels(tuned).as_ref()),
        Task::Regression => {
            train::numbers::add(&mut told, tuned.predictions.regression().ok().as_ref());
        }
    }
    if let Some(found) = unknown {
        told["unknown"] = reject::told(found);
    }
    told
}

fn of_labels(tuned: &FineTuned) -> Option<MultiLabelEvaluation> {
    let several = tuned.predictions.task == Task::MultiLabel;
    let found = several.then(|| tuned.predictions.multi_label(tuned.thresholds.as_deref()));
    found.and_then(Result::ok)
}

fn tell(tuned: &FineTuned, unknown: Option<&FittedUnknown>, report: &Path) {
    let weights = tuned.outcome.best_weights.as_deref();
    let several = tuned.predictions.task == Task::MultiLabel;
    let of_labels = of_labels(tuned);
    let of_numbers = tuned.predictions.regression().ok();
    let forecast = tuned.forecast.map_or_else(String::new, |forecast| {
        format!(
            " (forecast {} to {})",
            percent(forecast.low),
            percent(forecast.high)
        )
    });
    if let Some(found) = &of_labels {
        print(&train::labels::figures(found));
    }
    if let Ok(found) = tuned.predictions.ordinal() {
        print(&train::ordinal::figures(&found));
    }
    let measured = match (&of_numbers, several) {
        (Some(found), _) => train::numbers::figures(found),
        (None, true) => format!("right answers {}", percent(tuned.accuracy())),
        (None, false) => format!("accuracy {}", percent(tuned.accuracy())),
    };
    print(&format!("{measured}{forecast} in {:.1} s", tuned.seconds));
    if let Some(found) = unknown {
        print(&reject::said(found));
    }
    if let Some(weights) = weights {
        print(&format!("weights: {}", printable(&escape(weights))));
    }
    print(&format!("report: {}", show(report)));
}
