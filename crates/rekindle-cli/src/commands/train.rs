use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use rekindle::files::names::{escape, printable, show};
use rekindle::resnet::Pretrained;
use rekindle::resnet::weights::LoadOptions;
use rekindle::trainer::events::EndReason;
use rekindle::trainer::report::{Report, RunReport};
use rekindle::trainer::{
    Cache, EarlyStopping, Event, FineTune, Interrupt, Recipe, RunDirectory, Trainer, TransferData,
};
use rekindle::transfer::{Backbone, Strategy};
use serde_json::{Value, json};

use crate::arguments::{self, Output, Train, Way};
use crate::checks;
use crate::console::{percent, print, say};
use crate::failure::{Failure, Outcome};

pub fn run(command: &Train, output: Output) -> Result<Outcome, Failure> {
    let device = command.device.open()?;
    let recipe = command.recipe.recipe()?;
    let folder = command.folder();
    command.check_places(&folder, &recipe)?;
    let interrupt = Interrupt::on_ctrl_c()?;
    let pretrained = command.weights.open(&output, &device)?;
    for way in &command.strategy {
        if let Way::Strategy(strategy) = way {
            strategy.plan(pretrained.model.stage_names(), 0)?;
        }
    }
    let data = TransferData::open(&command.data, &pretrained.preprocess, recipe.seed)?;
    output.data(&data);
    let title = command
        .title
        .clone()
        .unwrap_or_else(|| escape(name_of(&command.data)));
    let mut report = Report::new(&title);
    report.describe_data(&data, recipe.seed)?;
    let mut session = Session {
        output,
        device,
        recipe,
        interrupt,
        pretrained,
        options: command.weights.part.options(),
        data,
        folder,
        title,
        resume: command.resume,
        accept_changed_data: command.accept_changed_data,
        report,
        results: Vec::new(),
    };
    for way in &command.strategy {
        if session.interrupt.requested() {
            break;
        }
        match way {
            Way::OneCall => session.one_call(&command.data)?,
            Way::Strategy(strategy) => session.train(strategy)?,
        }
    }
    session.finish()
}

/// Things that all strategies of one call share.
struct Session {
    output: Output,
    device: Device,
    recipe: Recipe,
    interrupt: Interrupt,
    pretrained: Pretrained,
    options: LoadOptions,
    data: TransferData,
    folder: PathBuf,
    title: String,
    resume: bool,
    accept_changed_data: bool,
    report: Report,
    results: Vec<Value>,
}

impl Session {
    fn train(&mut self, strategy: &Strategy) -> Result<(), Failure> {
        let name = &strategy.to_string();
        let directory = directory(&self.folder, &Way::Strategy(strategy.clone()));
        let mut events: Vec<Event> = Vec::new();
        let seed = self.recipe.seed;
        let trainer = Trainer::adapt(&self.pretrained, self.data.clone(), strategy.clone(), seed)
            .title(format!("{}, {name}", self.title))
            .recipe(self.recipe.clone())
            .accept_changed_data(self.accept_changed_data)
            .observer(self.output.observer())
            .observer(&mut events)
            .interrupt(self.interrupt.clone());
        let fitted = if self.resume && directory.join("run.json").exists() {
            trainer.resume(&directory)?
        } else {
            trainer.run_directory(&directory).fit()?
        };
        let outcome = fitted.outcome.clone();
        let classifier = fitted.classifier.clone();
        let (train_seconds, loss) = (fitted.seconds_train, fitted.predictions.loss);
        // Gives the lock back, so that the directory can be read as any other.
        drop(fitted);
        let run_directory = RunDirectory::open(&directory)?;
        // A resumed run's events begin before this process.
        let mut run = RunReport::from_events(name, &run_directory.events()?);
        if outcome.best_epoch.is_some() {
            run.look(&classifier, &self.data)?;
        }
        if self.report.facts.is_empty() {
            self.report.describe_record(run_directory.record());
        }
        let alone = Report {
            runs: vec![run.clone()],
            ..self.report.clone()
        };
        alone.write(run_directory.report_path())?;
        self.report.runs.push(run);
        self.results.push(json!({
            "strategy": name,
            "reason": outcome.reason,
            "epochs": outcome.epochs,
            "best_epoch": outcome.best_epoch,
            "best_accuracy": outcome.best_accuracy,
            "last_accuracy": outcome.last_accuracy,
            "loss": loss,
            "seconds": outcome.seconds,
            "seconds_train": train_seconds,
            "seed": seed,
            "directory": escape(&directory),
            "weights": escape(run_directory.best_weights_path()),
        }));
        if outcome.reason == EndReason::Interrupted {
            let folder = show(&self.folder);
            say(&format!(
                "interrupted; the same command with --out {folder} --resume goes on"
            ));
        }
        Ok(())
    }

    fn one_call(&mut self, data: &Path) -> Result<(), Failure> {
        let directory = self.folder.join("one-call");
        let mut events: Vec<Event> = Vec::new();
        let mut recipe = FineTune::new(&self.device)
            .seed(self.recipe.seed)
            .workers(self.recipe.workers)
            .quantize_frozen(self.recipe.quantize_frozen)
            .observer(self.output.observer())
            .observer(&mut events);
        if let Cache::Disk(folder) = &self.recipe.cache {
            recipe = recipe.cache(folder);
        }
        let recipe = recipe.load_options(self.options.clone());
        let tuned = recipe.run(data, &self.pretrained.path)?;
        std::fs::create_dir_all(&directory).map_err(|error| Failure::Unwritable {
            path: show(&directory),
            reason: error.to_string(),
        })?;
        let weights = directory.join("best.safetensors");
        tuned.save(&weights)?;
        let mut run = RunReport::from_events("one-call", &events);
        run.look(&tuned.classifier, &self.data)?;
        run.description = format!(
            "The head is mixed from the source classifier's rows and a cross-validated logistic regression on cached \
             features; nothing else was trained. In {} views of each validation image its accuracy is {}.",
            if tuned.plain == tuned.predictions {
                "one"
            } else {
                "four"
            },
            percent(tuned.accuracy())
        );
        self.report.runs.push(run);
        self.results.push(json!({
            "strategy": "one-call",
            "best_accuracy": tuned.plain.accuracy(),
            "accuracy_in_views": tuned.accuracy(),
            "penalty": tuned.probe.penalty,
            "seconds": tuned.seconds,
            "seed": self.recipe.seed,
            "weights": escape(&weights),
        }));
        Ok(())
    }

    fn finish(self) -> Result<Outcome, Failure> {
        let path = self.folder.join("report.html");
        self.report.write(&path)?;
        let json = json!({"report": escape(&path), "runs": self.results});
        if self.output.json {
            print(&json.to_string());
        } else {
            self.print_table(&path);
        }
        Ok(if self.interrupt.requested() {
            Outcome::Interrupted
        } else {
            Outcome::Done
        })
    }

    fn print_table(&self, report: &Path) {
        print(&format!(
            "{:<22} {:>9} {:>9} {:>10}",
            "strategy", "best", "last", "time"
        ));
        for result in &self.results {
            let share = |key: &str| result[key].as_f64().map_or_else(|| "-".into(), percent);
            print(&format!(
                "{:<22} {:>9} {:>9} {:>8.1} s",
                result["strategy"].as_str().unwrap_or_default(),
                share("best_accuracy"),
                share("last_accuracy"),
                result["seconds"].as_f64().unwrap_or(0.0)
            ));
        }
        for result in &self.results {
            print(&format!(
                "weights: {}",
                printable(result["weights"].as_str().unwrap_or_default())
            ));
        }
        print(&format!("report: {}", show(report)));
    }
}

impl Train {
    /// Checks everything about the results' places that can be known before weights and images are read.
    fn check_places(&self, folder: &Path, recipe: &Recipe) -> Result<(), Failure> {
        let names: Vec<String> = self.strategy.iter().map(ToString::to_string).collect();
        if let Some(twice) = (1..names.len()).find(|at| names[..*at].contains(&names[*at])) {
            return Err(Failure::Usage(format!(
                "--strategy names {} twice; each run needs a name of its own",
                names[twice]
            )));
        }
        checks::images(&self.data)?;
        checks::outside("--out", folder, &self.data)?;
        checks::folder(folder)?;
        if folder.is_dir() {
            checks::file(&folder.join("report.html"))?;
        }
        if let Cache::Disk(kept) = &recipe.cache {
            checks::outside("--cache", kept, &self.data)?;
            checks::folder(kept)?;
        }
        let directories: Vec<PathBuf> = self
            .strategy
            .iter()
            .map(|way| directory(folder, way))
            .collect();
        let is_run = |directory: &PathBuf| directory.join("run.json").exists();
        if self.resume && !directories.iter().any(is_run) {
            return Err(Failure::Usage(format!(
                "there is no run of {} in {} to resume; leave --resume out to begin one",
                names.join(" or "),
                show(folder)
            )));
        }
        for directory in &directories {
            if !(self.resume && is_run(directory)) {
                RunDirectory::check_new(directory)?;
            }
        }
        Ok(())
    }

    /// The folder named, or the first default that isn't taken.
    fn folder(&self) -> PathBuf {
        if let Some(folder) = &self.out {
            return folder.clone();
        }
        let first = Path::new("runs").join(name_of(&self.data));
        let numbered = (2..).map(|number| with_number(&first, number));
        std::iter::once(first.clone())
            .chain(numbered)
            .find(|folder| !folder.exists())
            .unwrap_or(first)
    }
}

impl arguments::Recipe {
    /// The recipe of the file, or the tutorial's with kept features, changed by the options that are given.
    fn recipe(&self) -> Result<Recipe, Failure> {
        let mut recipe = match &self.recipe {
            Some(path) => Recipe::open(path)?,
            None => Recipe {
                cache: Cache::Memory,
                ..Recipe::tutorial()
            },
        };
        let Self { epochs, batch, .. } = self;
        recipe.epochs = epochs.unwrap_or(recipe.epochs);
        recipe.batch_size = batch.unwrap_or(recipe.batch_size);
        recipe.learning_rate = self.learning_rate.unwrap_or(recipe.learning_rate);
        recipe.seed = self.seed.unwrap_or(recipe.seed);
        recipe.label_smoothing = self.label_smoothing.unwrap_or(recipe.label_smoothing);
        recipe.moving_average = self.moving_average.or(recipe.moving_average);
        recipe.workers = self.workers.unwrap_or(recipe.workers);
        recipe.quantize_frozen |= self.quantize;
        recipe.balance_classes |= self.balance_classes;
        match self.views {
            Some(0) => recipe.cache = Cache::Off,
            Some(views) => recipe.views = views,
            None => {}
        }
        if let Some(folder) = &self.cache {
            recipe.cache = Cache::Disk(folder.clone());
        }
        if let Some(patience) = self.patience {
            recipe.early_stopping = Some(EarlyStopping::new(patience));
        }
        recipe.validate()?;
        Ok(recipe)
    }
}

/// The folder with a number behind its name.
fn with_number(folder: &Path, number: usize) -> PathBuf {
    let mut name = folder.as_os_str().to_os_string();
    name.push(format!("-{number}"));
    name.into()
}

/// The run's folder, which is called as the strategy. Version 0.1 left the strategy's value out of the name.
fn directory(folder: &Path, way: &Way) -> PathBuf {
    let directory = folder.join(way.to_string());
    let Way::Strategy(strategy) = way else {
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

fn name_of(folder: &Path) -> OsString {
    let absolute = folder
        .canonicalize()
        .unwrap_or_else(|_| folder.to_path_buf());
    let name = absolute.file_name();
    name.map_or_else(|| "data".into(), OsStr::to_os_string)
}
