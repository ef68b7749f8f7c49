//! The runs of a call: where they go, and which of them go on.

use std::path::{Path, PathBuf};

use rekindle::files::names::show;
use rekindle::trainer::run_directory::{FIT, ONE_CALL};
use rekindle::trainer::{RunDirectory, RunRecord, TrainerError, weights_file};
use rekindle::transfer::Strategy;
use rekindle::transfer::features::ProbeKind;
use serde_json::json;

use super::folds;
use crate::arguments::{Fit, Method, Train, Weights};
use crate::checks;
use crate::failure::Failure;
use crate::tables::Images;

/// A run of this call.
pub(super) struct Planned {
    pub(super) method: Method,
    pub(super) directory: PathBuf,
    /// Record of the run that is resumed, if it is to go on.
    pub(super) record: Option<RunRecord>,
}

impl Train {
    /// Returns the search of `fit`, where nothing is said about how to train.
    ///
    /// # Errors
    ///
    /// [`Failure::Usage`] for minutes beside options of training.
    pub(super) fn search(&self) -> Result<Option<Fit>, Failure> {
        let options = self.recipe.of_training();
        if let (Some(option), Some(_)) = (options.first(), self.minutes) {
            return Err(Failure::Usage(format!(
                "--minutes is the time of a search that finds {option} itself; leave one of them out"
            )));
        }
        let resume = self.resume && self.is_of_search();
        let is_told = self.folds.is_some()
            || (self.resume && !resume)
            || self.from.is_some()
            || self.tensorboard;
        if is_told || !self.strategy.is_empty() || !options.is_empty() {
            return Ok(None);
        }
        Ok(Some(Fit {
            data: self.data.clone(),
            table: self.table.clone(),
            minutes: self.minutes,
            resume,
            accept_changed_data: self.accept_changed_data,
            weights: self.weights.clone().into(),
            view: self.view,
            depth: self.weights.depth,
            keep_architecture: self.keep_architecture,
            cache: self.recipe.cache.clone(),
            seed: self.recipe.seed.unwrap_or(0),
            workers: self.recipe.workers.unwrap_or(2),
            device: self.device,
            reject: self.reject,
            out: self.out.clone(),
            title: self.title.clone(),
        }))
    }

    /// Tells whether the run in --out is one of a search, and not a folder of runs.
    fn is_of_search(&self) -> bool {
        let run = self.out.as_deref().map(RunDirectory::open);
        matches!(run, Some(Ok(run)) if run.record().strategy_name() == FIT)
    }

    /// Returns the strategy of a new run for which none is given.
    fn default_method(&self) -> Method {
        match self.folds.is_some() && self.recipe.of_training().is_empty() && self.from.is_none() {
            true => Method::OneCall,
            false => Method::Strategy(Strategy::FeatureExtraction),
        }
    }

    /// Returns the weights to begin with: those given, or those of the model to go on from.
    pub(super) fn start(&self, methods: &[Method]) -> Result<Weights, Failure> {
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
    pub(super) fn places(&self, folder: &Path) -> Vec<PathBuf> {
        match self.folds {
            Some(count) => (1..=count)
                .map(|fold| folder.join(format!("fold-{fold}")))
                .collect(),
            None => vec![folder.to_path_buf()],
        }
    }

    /// Returns the runs of this call for each place: new ones in folders that are free, or with `--resume` those that are
    /// there.
    pub(super) fn plans(
        &self,
        places: &[PathBuf],
        folder: &Path,
    ) -> Result<Vec<Vec<Planned>>, Failure> {
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
            methods.push(self.default_method());
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
    pub(super) fn check_places(
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
pub(in crate::commands) fn free_folder(out: Option<&Path>, images: &Images) -> PathBuf {
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

/// Tells whether a run began without features of two levels, and so goes on without them.
pub(in crate::commands) fn keeps_architecture(record: &RunRecord) -> bool {
    let kinds = record.recipe["kinds"].as_array();
    kinds.is_some_and(|kinds| !kinds.contains(&json!(ProbeKind::Multilevel)))
}
