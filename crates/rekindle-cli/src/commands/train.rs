mod folds;
mod known;
pub(super) mod labels;
pub(super) mod numbers;
mod options;

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use rekindle::files::names::{escape, printable, show};
use rekindle::imagefolder::{Listing, Task};
use rekindle::models::Pretrained;
use rekindle::nn::{Graph, Network};
use rekindle::report::{Report, RunReport};
use rekindle::trainer::events::{EndReason, RunOutcome};
use rekindle::trainer::run_directory::{FIT, ONE_CALL};
use rekindle::trainer::text::figure;
use rekindle::trainer::{
    Cache, Fit, Interrupt, KnownClasses, Model, Predictions, Recipe, RunDirectory, RunRecord,
    SharedFeatures, TensorBoard, Trainer, TrainerError, TransferData, weights_file,
};
use rekindle::transfer::{Classifier, Strategy};
use serde_json::{Value, json};

use super::reject;
use crate::arguments::{self, Method, Output, Train, Weights};
use crate::checks;
use crate::console::{percent, print, say};
use crate::failure::{Failure, Outcome};
use crate::tables::Images;

pub fn run(command: &Train, output: Output) -> Result<Outcome, Failure> {
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

/// A run of this call.
struct Planned {
    method: Method,
    directory: PathBuf,
    /// Record of the run that is resumed, if it is to go on.
    record: Option<RunRecord>,
}

/// Settings that all strategies of one call share.
struct Session<'a> {
    output: Output,
    device: Device,
    options: &'a arguments::Recipe,
    /// The classes of the model that training goes on from, where there is one.
    known: Option<KnownClasses>,
    recipe: Recipe,
    interrupt: Interrupt,
    pretrained: Pretrained,
    data: TransferData,
    folder: PathBuf,
    title: String,
    accept_changed_data: bool,
    tensorboard: bool,
    /// Learns to tell unknown classes as well.
    reject: bool,
    report: Report,
    results: Vec<Value>,
    /// Answers to the validation images, one entry for each result.
    predictions: Vec<Predictions>,
    /// A line on each run that can tell unknown classes.
    unknown: Vec<String>,
    shared: SharedFeatures,
}

/// Result of training one strategy.
struct Left {
    classifier: Classifier<Network>,
    predictions: Predictions,
    in_views: Option<Predictions>,
    outcome: RunOutcome,
    seconds_train: Option<f64>,
    penalty: Option<f64>,
    thresholds: Option<Vec<f64>>,
}

impl Session<'_> {
    /// Trains one run after the other. What was done before one is interrupted or fails is in the report and the results.
    fn all(&mut self, runs: &[Planned]) -> Result<Outcome, Failure> {
        for run in runs {
            if self.interrupt.requested() {
                return Ok(Outcome::Interrupted);
            }
            match self.one(run) {
                Ok(EndReason::Interrupted) => return Ok(Outcome::Interrupted),
                Ok(_) => {}
                Err(failure) if Outcome::from(&failure) == Outcome::Interrupted => {
                    say(&failure.to_string());
                    return Ok(Outcome::Interrupted);
                }
                Err(failure) => return Err(failure),
            }
        }
        Ok(Outcome::Done)
    }

    fn one(&mut self, run: &Planned) -> Result<EndReason, Failure> {
        let name = &run.method.to_string();
        let title = format!("{}, {name}", self.title);
        let left = match &run.method {
            Method::OneCall => self.one_call(run, title)?,
            Method::Strategy(strategy) => self.train(run, strategy, title)?,
        };
        // The lock is given back by now, so that the directory can be read as any other.
        let directory = RunDirectory::open(&run.directory)?;
        // A resumed run's events begin before this process.
        let mut reported = RunReport::from_events(name, &directory.events()?);
        let outcome = &left.outcome;
        if outcome.best_epoch.is_some() {
            let thresholds = left.thresholds.as_deref();
            reported.look_at(&left.classifier, &self.data, thresholds)?;
        }
        if run.method == Method::OneCall {
            reported.description = match self.data.task() {
                Task::Regression => {
                    "The head is a ridge regression on frozen features, with the penalty of the lowest error on training \
                     images left out; nothing else was trained."
                }
                _ => {
                    "The head is the best of several logistic regressions on frozen features, by cross-validation on the \
                     training images; nothing else was trained."
                }
            }
            .into();
        }
        if let Some(found) = &left.in_views {
            let views = self.recipe.test_views;
            let figure = match found.regression() {
                Ok(found) => format!("MAE is {}", figure(found.mae)),
                Err(_) => format!("accuracy is {}", percent(found.accuracy())),
            };
            reported.description = format!(
                "{} With each image in the views of --views {views} its {figure}.",
                reported.description
            )
            .trim_start()
            .into();
        }
        if self.report.facts.is_empty() {
            self.report.describe_record(directory.record());
        }
        let alone = Report {
            runs: vec![reported.clone()],
            ..self.report.clone()
        };
        alone.write(directory.report_path())?;
        self.report.runs.push(reported);
        let weights = directory.best_weights_path();
        let mut result = json!({
            "strategy": name,
            "reason": outcome.reason,
            "epochs": outcome.epochs,
            "best_epoch": outcome.best_epoch,
            "best_accuracy": outcome.best_accuracy,
            "last_accuracy": outcome.last_accuracy,
            "loss": left.predictions.loss,
            "seconds": outcome.seconds,
            "seconds_train": left.seconds_train,
            "seed": directory.record().seed,
            "directory": escape(&run.directory),
            "weights": outcome.best_epoch.map(|_| escape(&weights)),
        });
        if let Some(found) = &left.in_views {
            result["test_views"] = json!(self.recipe.test_views);
            match found.regression() {
                Ok(found) => result["mae_in_views"] = json!(found.mae),
                Err(_) => result["accuracy_in_views"] = json!(found.accuracy()),
            }
        }
        match self.data.task() {
            Task::SingleLabel => {}
            Task::MultiLabel => {
                let found = left.predictions.multi_label(left.thresholds.as_deref());
                labels::add(&mut result, found.ok().as_ref());
            }
            Task::Regression => {
                let found = left.predictions.regression();
                numbers::add(&mut result, found.ok().as_ref());
            }
        }
        if let Some(penalty) = left.penalty {
            result["penalty"] = json!(penalty);
        }
        if let Some(known) = &self.known {
            let (model, interrupt) = (&self.pretrained, &self.interrupt);
            let found = known.forgetting(model, &self.data, &left.predictions, interrupt)?;
            known::add(&mut result, known, found.as_ref());
        }
        let reason = outcome.reason;
        if self.reject && reason != EndReason::Interrupted && outcome.best_epoch.is_some() {
            let model = Model::open(&weights, &self.device)?.interrupt(self.interrupt.clone());
            let seed = directory.record().seed;
            let found = reject::learned(&model, &self.data, seed, self.output, &weights)?;
            result["unknown"] = reject::told(&found);
            self.unknown
                .push(format!("{name}: {}", reject::said(&found)));
        }
        self.results.push(result);
        self.predictions.push(left.predictions);
        Ok(reason)
    }

    /// Returns the recipe of a run: the one it began with or its strategy's, changed by the options that are given.
    fn recipe_of(&self, run: &Planned) -> Result<Recipe, Failure> {
        match &run.record {
            Some(record) => self.options.resumed(record),
            None => {
                let recipe = self.options.of_method(Some(&run.method))?;
                Ok(self.options.for_task(recipe, self.data.task()))
            }
        }
    }

    fn train(&self, run: &Planned, strategy: &Strategy, title: String) -> Result<Left, Failure> {
        let seed = self.recipe.seed;
        let stages = self.pretrained.model.graph().stage_names();
        let recipe = self.recipe_of(run)?;
        let recipe = arguments::Recipe::of_strategy(recipe, strategy, &stages)?;
        // Runs that need the features of the whole frozen network share them.
        let shares = strategy.always_frozen(&stages, recipe.epochs)? == stages.len();
        let (model, data) = (&self.pretrained, self.data.clone());
        let trainer = match self.known {
            Some(_) => Trainer::extend(model, data, strategy.clone(), seed)?,
            None => Trainer::adapt(model, data, strategy.clone(), seed),
        };
        let trainer = trainer
            .title(title)
            .recipe(recipe.clone())
            .observer(self.output.observer())
            .interrupt(self.interrupt.clone())
            .accept_changed_data(self.accept_changed_data);
        let trainer = match self.tensorboard {
            true => trainer.observer(TensorBoard::create(self.board(&run.directory))?),
            false => trainer,
        };
        let trainer = match shares {
            true => trainer.share_features(&self.shared),
            false => trainer,
        };
        let fitted = match &run.record {
            Some(_) => trainer.resume_with(&run.directory, |recorded| *recorded = recipe)?,
            None => trainer.run_directory(&run.directory).fit()?,
        };
        Ok(Left {
            in_views: fitted.in_views.clone(),
            classifier: fitted.classifier.clone(),
            predictions: fitted.predictions.clone(),
            outcome: fitted.outcome.clone(),
            seconds_train: Some(fitted.seconds_train),
            penalty: None,
            thresholds: None,
        })
    }

    /// Returns the folder of a run's figures for TensorBoard. A run's own folder is empty when it begins.
    fn board(&self, run: &Path) -> PathBuf {
        let name = run.file_name().unwrap_or_default();
        self.folder.join("tensorboard").join(name)
    }

    fn one_call(&self, run: &Planned, title: String) -> Result<Left, Failure> {
        let recipe = self.recipe_of(run)?;
        let mut one_call = Fit::new(&self.device)
            .without_training()
            .title(title)
            .seed(recipe.seed)
            .workers(recipe.workers)
            .quantize_frozen(recipe.quantize_frozen)
            .test_views(recipe.test_views)
            .observer(self.output.observer())
            .interrupt(self.interrupt.clone())
            .accept_changed_data(self.accept_changed_data)
            .share_features(&self.shared);
        if let Cache::Disk(folder) = &recipe.cache {
            one_call = one_call.cache(folder);
        }
        let tuned = match &run.record {
            Some(_) => one_call.resume(&run.directory, &self.pretrained, &self.data)?,
            None => {
                let one_call = one_call.run_directory(&run.directory);
                one_call.fit(&self.pretrained, &self.data)?
            }
        };
        Ok(Left {
            in_views: tuned.in_views.clone(),
            classifier: tuned.classifier.clone(),
            predictions: tuned.predictions.clone(),
            outcome: tuned.outcome.clone(),
            seconds_train: None,
            penalty: Some(tuned.probe.chosen().penalty),
            thresholds: tuned.thresholds.clone(),
        })
    }

    fn finish(&self) -> Result<(), Failure> {
        let path = self.folder.join("report.html");
        self.report.write(&path)?;
        if self.output.json {
            print(&json!({"report": escape(&path), "runs": self.results}).to_string());
        } else {
            self.print_table(&path);
        }
        Ok(())
    }

    fn print_table(&self, report: &Path) {
        let are_numbers = self.data.task() == Task::Regression;
        let columns = match are_numbers {
            true => ["MAE", "R2"],
            false => ["best", "last"],
        };
        print(&format!(
            "{:<22} {:>9} {:>9} {:>10}",
            "strategy", columns[0], columns[1], "time"
        ));
        for result in &self.results {
            let share = |key: &str| result[key].as_f64().map_or_else(|| "-".into(), percent);
            let shown = |key: &str| result[key].as_f64().map_or_else(|| "-".into(), figure);
            let figures = match are_numbers {
                true => [shown("mae"), shown("r2")],
                false => [share("best_accuracy"), share("last_accuracy")],
            };
            print(&format!(
                "{:<22} {:>9} {:>9} {:>8.1} s",
                result["strategy"].as_str().unwrap_or_default(),
                figures[0],
                figures[1],
                result["seconds"].as_f64().unwrap_or(0.0)
            ));
        }
        for result in &self.results {
            let accuracy = result["accuracy_in_views"].as_f64().map(percent);
            let mae = result["mae_in_views"].as_f64();
            let mae = mae.map(|mae| format!("MAE {}", figure(mae)));
            if let Some(found) = accuracy.or(mae) {
                let (strategy, views) = (&result["strategy"], &result["test_views"]);
                print(&format!(
                    "{} in the views of --views {}: {found}",
                    strategy.as_str().unwrap_or_default(),
                    views.as_str().unwrap_or_default(),
                ));
            }
        }
        for result in &self.results {
            if let Some(line) = labels::said(result).or_else(|| numbers::said(result)) {
                print(&line);
            }
        }
        for result in &self.results {
            if let Some(line) = known::said(result) {
                print(&line);
            }
        }
        self.unknown.iter().for_each(|line| print(line));
        for result in &self.results {
            if let Some(weights) = result["weights"].as_str() {
                print(&format!("weights: {}", printable(weights)));
            }
        }
        print(&format!("report: {}", show(report)));
    }
}

impl Train {
    /// Returns the weights to begin with: those given, or those of the model to go on from.
    fn start(&self, methods: &[Method]) -> Result<Weights, Failure> {
        let mut weights = self.weights.clone();
        let Some(model) = &self.from else {
            return Ok(weights);
        };
        let fresh = |method: &&Method| {
            matches!(
                method,
                Method::OneCall | Method::Strategy(Strategy::FromScratch)
            )
        };
        if let Some(method) = methods.iter().find(fresh) {
            return Err(Failure::Usage(format!(
                "--from has no effect on {method}, which begins with a fresh head; take another --strategy, or --weights"
            )));
        }
        weights.weights = Some(weights_file(model)?);
        Ok(weights)
    }

    /// Returns the folder of the runs: `folder`, or with `--folds` one inside of it for each fold.
    fn places(&self, folder: &Path) -> Vec<PathBuf> {
        match self.folds {
            Some(count) => (1..=count)
                .map(|fold| folder.join(format!("fold-{fold}")))
                .collect(),
            None => vec![folder.to_path_buf()],
        }
    }

    /// Returns the runs of this call for each place: new ones in folders that are free, or with `--resume` those that are
    /// there.
    fn plans(&self, places: &[PathBuf], folder: &Path) -> Result<Vec<Vec<Planned>>, Failure> {
        let found: Vec<Vec<RunDirectory>> = match self.resume {
            true => places
                .iter()
                .map(|place| recorded(place))
                .collect::<Result<_, _>>()?,
            false => places.iter().map(|_| Vec::new()).collect(),
        };
        let mut methods = self.strategy.clone();
        if methods.is_empty() && self.resume {
            for run in found.iter().flatten() {
                let method = method_of(run)?;
                if !methods.contains(&method) {
                    methods.push(method);
                }
            }
        } else if methods.is_empty() {
            methods.push(Method::Strategy(Strategy::FeatureExtraction));
        }
        let plans = places
            .iter()
            .zip(&found)
            .map(|(place, found)| self.plan(place, found, &methods))
            .collect::<Result<Vec<_>, Failure>>()?;
        if self.resume && plans.iter().flatten().all(|run| run.record.is_none()) {
            let names: Vec<String> = self.strategy.iter().map(ToString::to_string).collect();
            let names = names.join(" or ");
            let held = found.iter().flatten();
            let held: Vec<String> = held.map(|run| show_name(run.path())).collect();
            return Err(Failure::Usage(format!(
                "--resume: {} holds no run{}{}; leave --resume out to begin one",
                show(folder),
                match names.is_empty() {
                    true => String::new(),
                    false => format!(" of {names}"),
                },
                match held.is_empty() {
                    true => String::new(),
                    false => format!(", but {}", held.join(", ")),
                }
            )));
        }
        Ok(plans)
    }

    fn plan(
        &self,
        place: &Path,
        found: &[RunDirectory],
        methods: &[Method],
    ) -> Result<Vec<Planned>, Failure> {
        methods
            .iter()
            .map(|method| {
                let directory = directory(place, method);
                let record = found.iter().find(|run| run.path() == directory);
                if let Some(run) = record {
                    refuse_other_strategy(method, run)?;
                    self.refuse_other_title(method, run)?;
                }
                let record = record.map(|run| run.record().clone());
                if record.is_none() {
                    RunDirectory::check_new(&directory)?;
                }
                Ok(Planned {
                    method: method.clone(),
                    directory,
                    record,
                })
            })
            .collect()
    }

    /// Checks everything about the results' places that can be known before weights and images are read.
    fn check_places(
        &self,
        folder: &Path,
        images: &Images,
        methods: &[Method],
    ) -> Result<(), Failure> {
        let names: Vec<String> = methods.iter().map(ToString::to_string).collect();
        if let Some(twice) = (1..names.len()).find(|at| names[..*at].contains(&names[*at])) {
            return Err(Failure::Usage(format!(
                "--strategy names {} twice; each run needs a name of its own",
                names[twice]
            )));
        }
        images.check()?;
        images.outside("--out", folder)?;
        checks::folder(folder)?;
        if folder.is_dir() {
            checks::file(&folder.join("report.html"))?;
        }
        Ok(())
    }

    fn refuse_other_title(&self, method: &Method, run: &RunDirectory) -> Result<(), Failure> {
        let recorded = &run.record().title;
        let fold = run.path().parent().and_then(Path::file_name);
        let fold = fold.filter(|_| self.folds.is_some());
        let within = |title: &String| match fold {
            Some(fold) => folds::title_of(title, fold),
            None => title.clone(),
        };
        match &self.title {
            Some(title) if *recorded != format!("{}, {method}", within(title)) => {
                Err(TrainerError::OtherRecipe {
                    path: run.path().to_path_buf(),
                    field: "title".into(),
                    recorded: recorded.clone(),
                    found: title.clone(),
                }
                .into())
            }
            _ => Ok(()),
        }
    }
}

/// The folder named, or the first default that isn't taken.
pub(super) fn free_folder(out: Option<&Path>, images: &Images) -> PathBuf {
    if let Some(folder) = out {
        return folder.to_path_buf();
    }
    let first = Path::new("runs").join(images.name());
    let numbered = (2..).map(|number| with_number(&first, number));
    std::iter::once(first.clone())
        .chain(numbered)
        .find(|folder| !folder.exists())
        .unwrap_or(first)
}

/// Returns the runs in a folder, by name; none where it doesn't exist.
fn recorded(folder: &Path) -> Result<Vec<RunDirectory>, Failure> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Ok(Vec::new());
    };
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.join("run.json").is_file())
        .collect();
    paths.sort();
    let runs = paths.into_iter().map(|path| Ok(RunDirectory::open(path)?));
    let runs: Vec<RunDirectory> = runs.collect::<Result<_, Failure>>()?;
    // What `fit` left is no run of a strategy.
    let is_trained = |run: &RunDirectory| run.record().strategy_name() != FIT;
    Ok(runs.into_iter().filter(is_trained).collect())
}

fn method_of(run: &RunDirectory) -> Result<Method, Failure> {
    let record = run.record();
    if record.strategy_name() == ONE_CALL {
        return Ok(Method::OneCall);
    }
    let strategy = serde_json::from_value(record.strategy.clone());
    let strategy = strategy.map_err(|error| TrainerError::DamagedFile {
        path: run.path().join("run.json"),
        reason: error.to_string(),
    })?;
    Ok(Method::Strategy(strategy))
}

fn refuse_other_strategy(method: &Method, run: &RunDirectory) -> Result<(), Failure> {
    let recorded = method_of(run)?;
    if recorded == *method {
        return Ok(());
    }
    Err(TrainerError::OtherRecipe {
        path: run.path().to_path_buf(),
        field: "strategy".into(),
        recorded: recorded.to_string(),
        found: method.to_string(),
    }
    .into())
}

/// Returns the run's folder, which is called as the strategy. Version 0.1 left the strategy's value out of the name.
fn directory(folder: &Path, method: &Method) -> PathBuf {
    let directory = folder.join(method.to_string());
    let Method::Strategy(strategy) = method else {
        return directory;
    };
    let before = folder.join(strategy.name());
    let is_that_run =
        || RunDirectory::open(&before).is_ok_and(|run| run.record().strategy == json!(strategy));
    match !directory.exists() && is_that_run() {
        true => before,
        false => directory,
    }
}

fn show_name(path: &Path) -> String {
    path.file_name()
        .map_or_else(|| show(path), |name| show(Path::new(name)))
}

/// Returns the folder with a number behind its name.
fn with_number(folder: &Path, number: usize) -> PathBuf {
    let mut name = folder.as_os_str().to_os_string();
    name.push(format!("-{number}"));
    name.into()
}
