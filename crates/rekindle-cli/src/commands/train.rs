mod effects;
mod folds;
mod known;
pub(super) mod labels;
pub(super) mod numbers;
mod options;
pub(super) mod ordinal;
mod plan;
mod session;

use std::path::Path;

use burn::tensor::Device;
use rekindle::files::names::{escape, show};
use rekindle::imagefolder::Listing;
use rekindle::models::Pretrained;
use rekindle::nn::Graph;
use rekindle::report::Report;
use rekindle::trainer::run_directory::FIT;
use rekindle::trainer::{Cache, Interrupt, KnownClasses, Recipe, SharedFeatures, TransferData};
use serde_json::{Value, json};

use super::{fit, reject};
use crate::arguments::{Method, Output, Train};
use crate::checks;
use crate::console::say;
use crate::failure::{Failure, Outcome};
use crate::tables::Images;
use plan::Planned;
pub(super) use plan::free_folder;
pub(super) use plan::keeps_architecture;
use session::Session;

pub fn run(command: &Train, output: Output) -> Result<Outcome, Failure> {
    if let Some(search) = command.search()? {
        return fit::search(&search, output, as_runs);
    }
    let device = command.device.open()?;
    let images = Images::of(command.data.as_deref(), &command.table)?;
    let folder = free_folder(command.out.as_deref(), &images);
    let places = command.places(&folder);
    let plans = command.plans(&places, &folder)?;
    let methods: Vec<Method> = plans[0].iter().map(|run| run.method.clone()).collect();
    // All runs of one call share the images, and so their seed.
    let began = plans.iter().flatten().find(|run| run.record.is_some());
    let recipe = match began.and_then(|run| run.record.as_ref()) {
        Some(record) => command.recipe.resumed(record)?,
        None => command.recipe.of_method(methods.first())?,
    };
    if command.tensorboard && methods.iter().all(|method| *method == Method::OneCall) {
        return Err(Failure::Usage(
            "--tensorboard has no effect on one-call, which has no epochs; leave it out".into(),
        ));
    }
    if command.keep_architecture && !methods.contains(&Method::OneCall) {
        let names: Vec<String> = methods.iter().map(Method::to_string).collect();
        return Err(Failure::Usage(format!(
            "--keep-architecture has no effect on {}; leave it out",
            names.join(" and ")
        )));
    }
    command.check_places(&folder, &images, &methods)?;
    let weights = command.start(&methods)?;
    if let Cache::Disk(kept) = &recipe.cache {
        images.outside("--cache", kept)?;
        checks::folder(kept)?;
    }
    let interrupt = Interrupt::on_ctrl_c()?;
    let listing = images.listing()?;
    let check = |graph: &Graph| {
        let stages = graph.stage_names();
        command.recipe.check_effects(&methods, &stages)
    };
    // Nothing is downloaded for a command that can't be followed.
    let notes = weights.described()?.as_ref().map(check);
    let notes = notes.transpose()?;
    let pretrained = weights.open(&output, &device)?;
    let seen = match began {
        Some(run) => command
            .view
            .resumed(&run.directory, &pretrained.preprocess)?,
        None => command.view.of(&pretrained.preprocess),
    };
    let pretrained = pretrained.with_preprocess(seen)?;
    let notes = match notes {
        Some(notes) => notes,
        None => check(pretrained.model.graph())?,
    };
    for note in notes {
        say(&format!("note: {note}"));
    }
    let title = command.title.clone();
    let title = title.unwrap_or_else(|| escape(images.name()));
    let opened = Opened {
        command,
        output,
        device,
        recipe,
        interrupt,
        pretrained,
    };
    let ended = match command.folds {
        Some(count) => folds::run(&opened, &listing, count, (&folder, &title), &plans),
        None => {
            let mut session = opened.session(&listing, &folder, title)?;
            let ended = session.all(&plans[0]);
            if !session.results.is_empty() || ended.is_ok() {
                session.finish()?;
            }
            ended
        }
    };
    if matches!(ended, Ok(Outcome::Interrupted)) {
        let folder = show(&folder);
        say(&format!(
            "interrupted; the same command with --out {folder} --resume goes on"
        ));
    }
    ended
}

/// Returns what a search tells as the one run of a call.
fn as_runs(mut told: Value) -> Value {
    let mut report = Value::Null;
    if let Some(run) = told.as_object_mut() {
        report = run.remove("report").unwrap_or_default();
        let accuracy = run.remove("accuracy").unwrap_or_default();
        run.insert("strategy".into(), json!(FIT));
        run.insert("best_accuracy".into(), accuracy.clone());
        run.insert("last_accuracy".into(), accuracy);
    }
    json!({"report": report, "runs": [told]})
}

/// What is read once for all runs of a call.
struct Opened<'a> {
    command: &'a Train,
    output: Output,
    device: Device,
    recipe: Recipe,
    interrupt: Interrupt,
    pretrained: Pretrained,
}

impl<'a> Opened<'a> {
    /// Prepares runs on the images of `listing` in `folder`.
    fn session(
        &self,
        listing: &Listing,
        folder: &Path,
        title: String,
    ) -> Result<Session<'a>, Failure> {
        let recipe = self.recipe.clone();
        let data = TransferData::from_listing(listing, &self.pretrained.preprocess, recipe.seed)?;
        self.output.data(&data);
        recipe.check_classes(&data.classes)?;
        if self.command.reject {
            reject::check(&data)?;
        }
        let mut report = Report::new(&title);
        match &recipe.augment {
            Some(augmentation) => {
                report.describe_data(&data.augmented(augmentation)?, recipe.seed)?;
            }
            None => report.describe_data(&data, recipe.seed)?,
        }
        let known = match self.command.from {
            Some(_) => Some(KnownClasses::of(&self.pretrained, &data)?),
            None => None,
        };
        if let Some(known) = &known {
            known::announce(known);
        }
        Ok(Session {
            known,
            output: self.output,
            device: self.device.clone(),
            options: &self.command.recipe,
            recipe,
            interrupt: self.interrupt.clone(),
            pretrained: self.pretrained.clone(),
            data,
            folder: folder.to_path_buf(),
            title,
            accept_changed_data: self.command.accept_changed_data,
            keep_architecture: self.command.keep_architecture,
            tensorboard: self.command.tensorboard,
            reject: self.command.reject,
            report,
            results: Vec::new(),
            predictions: Vec::new(),
            unknown: Vec::new(),
            shared: SharedFeatures::default(),
        })
    }
}
