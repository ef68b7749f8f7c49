//! Cross-validation: the strategies of a call on each fold in turn.

use std::ffi::OsStr;
use std::path::Path;

use rekindle::files::names::{escape, show};
use rekindle::imagefolder::{Listing, Task};
use rekindle::report::{FoldReport, Report, RunReport};
use rekindle::trainer::text::figure;
use rekindle::trainer::{CrossValidation, Predictions};
use serde_json::{Value, json};

use super::{Opened, Planned, Session};
use crate::console::{percent, print};
use crate::failure::{Failure, Outcome};

/// Trains on every fold; `plans` holds the runs of each. What was done before an interruption or a failure is reported.
pub(super) fn run(
    opened: &Opened<'_>,
    listing: &Listing,
    count: usize,
    (folder, title): (&Path, &str),
    plans: &[Vec<Planned>],
) -> Result<Outcome, Failure> {
    let folds = CrossValidation::new(count)
        .seed(opened.recipe.seed)
        .split_copies(opened.command.split_copies)
        .decode_options((&opened.pretrained.preprocess).into())
        .write(listing, folder)?;
    let mut sessions = Vec::new();
    let mut ended = Ok(Outcome::Done);
    for (at, (fold, runs)) in folds.iter().zip(plans).enumerate() {
        let name = format!("fold-{}", at + 1);
        let within = folder.join(&name);
        let mut session = opened.session(fold, &within, title_of(title, OsStr::new(&name)))?;
        ended = session.all(runs);
        if !session.results.is_empty() {
            sessions.push(session);
        }
        if !matches!(ended, Ok(Outcome::Done)) {
            break;
        }
    }
    if !sessions.is_empty() {
        summarise(opened, listing, (folder, title), &sessions)?;
    }
    ended
}

/// Returns the title of a fold's runs.
pub(super) fn title_of(title: &str, fold: &OsStr) -> String {
    format!("{title}, {}", escape(fold).replace('-', " "))
}

/// Results of one strategy over the folds.
struct Summary {
    strategy: String,
    report: RunReport,
    seconds: f64,
}

impl Summary {
    /// Gathers a strategy of the folds that came to it.
    fn new(sessions: &[Session<'_>], strategy: &str) -> Result<Self, Failure> {
        let trained: Vec<(&Session<'_>, usize)> = sessions
            .iter()
            .filter_map(|session| {
                let mut results = session.results.iter();
                let place = results.position(|result| result["strategy"] == strategy)?;
                Some((session, place))
            })
            .collect();
        let folds = trained.iter().map(|(session, place)| FoldReport {
            name: session.folder.file_name().map_or_else(String::new, escape),
            train_images: session.data.train.len(),
            run: session.report.runs[*place].clone(),
        });
        let predictions: Vec<&Predictions> = trained
            .iter()
            .map(|(session, place)| &session.predictions[*place])
            .collect();
        let seconds =
            |(session, place): &(&Session<'_>, usize)| session.results[*place]["seconds"].as_f64();
        Ok(Self {
            report: RunReport::cross_validated(strategy, folds.collect(), &predictions)?,
            strategy: strategy.to_string(),
            seconds: trained.iter().filter_map(seconds).sum(),
        })
    }

    fn to_json(&self) -> Value {
        let spread = self.report.spread();
        json!({
            "strategy": self.strategy,
            "folds": self.report.folds.len(),
            "measure": self.report.folds.first().map(|fold| fold.measure().0),
            "mean": spread.map(|spread| spread.mean),
            "deviation": spread.and_then(|spread| spread.deviation),
            "lowest": spread.map(|spread| spread.lowest),
            "highest": spread.map(|spread| spread.highest),
            "seconds": self.seconds,
        })
    }

    fn to_line(&self, task: Task) -> String {
        let shown = |value: Option<f64>| match (value, task) {
            (None, _) => "-".to_string(),
            (Some(value), Task::SingleLabel) => percent(value),
            (Some(value), Task::MultiLabel) => format!("{value:.3}"),
            (Some(value), Task::Ordinal | Task::Regression) => figure(value),
        };
        let spread = self.report.spread();
        format!(
            "{:<22} {:>5} {:>9} {:>9} {:>9} {:>9} {:>8.1} s",
            self.strategy,
            self.report.folds.len(),
            shown(spread.map(|spread| spread.mean)),
            shown(spread.and_then(|spread| spread.deviation)),
            shown(spread.map(|spread| spread.lowest)),
            shown(spread.map(|spread| spread.highest)),
            self.seconds
        )
    }
}

fn summarise(
    opened: &Opened<'_>,
    listing: &Listing,
    (folder, title): (&Path, &str),
    sessions: &[Session<'_>],
) -> Result<(), Failure> {
    // The first fold came to most of them.
    let strategies = sessions[0].results.iter();
    let summaries: Vec<Summary> = strategies
        .filter_map(|result| result["strategy"].as_str())
        .map(|strategy| Summary::new(sessions, strategy))
        .collect::<Result<_, _>>()?;
    let mut report = Report::new(title);
    report.facts.clone_from(&sessions[0].report.facts);
    report.data = sessions[0].report.data.clone();
    report.data.source = escape(listing.given());
    for session in &sessions[1..] {
        let counts = session.report.data.classes.iter();
        for (class, other) in report.data.classes.iter_mut().zip(counts) {
            class.valid += other.valid;
        }
    }
    report.pictures.clone_from(&sessions[0].report.pictures);
    report.runs = summaries.iter().map(|found| found.report.clone()).collect();
    let path = folder.join("report.html");
    report.write(&path)?;
    if opened.output.json {
        let of = |session: &Session<'_>| json!({ "fold": escape(session.folder.file_name().unwrap_or_default()), "runs": session.results });
        let folds: Vec<Value> = sessions.iter().map(of).collect();
        let summaries: Vec<Value> = summaries.iter().map(Summary::to_json).collect();
        let found = json!({"report": escape(&path), "strategies": summaries, "folds": folds});
        print(&found.to_string());
        return Ok(());
    }
    print(&format!(
        "{:<22} {:>5} {:>9} {:>9} {:>9} {:>9} {:>10}",
        "strategy", "folds", "mean", "deviation", "lowest", "highest", "time"
    ));
    let task = sessions[0].data.task();
    for found in &summaries {
        print(&found.to_line(task));
    }
    print(
        "each fold's weights know nothing of its images; for a model of all, train without --folds",
    );
    print(&format!("report: {}", show(&path)));
    Ok(())
}
