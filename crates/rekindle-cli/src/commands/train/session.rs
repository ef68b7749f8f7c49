//! Trains the runs of one call on the same images, and reports them.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use rekindle::files::names::{escape, printable, show};
use rekindle::imagefolder::Task;
use rekindle::models::Pretrained;
use rekindle::nn::Network;
use rekindle::report::{Report, RunReport};
use rekindle::trainer::events::{EndReason, RunOutcome};
use rekindle::trainer::text::figure;
use rekindle::trainer::{
    Cache, Fit, Interrupt, KnownClasses, LabelThresholds, Model, Predictions, Recipe, RunDirectory,
    SharedFeatures, TensorBoard, Trainer, TransferData,
};
use rekindle::transfer::{Classifier, Strategy};
use serde_json::{Value, json};

use super::plan::{Planned, keeps_architecture};
use super::{known, labels, numbers, ordinal};
use crate::arguments::{self, Method, Output};
use crate::commands::reject;
use crate::console::{percent, print, say};
use crate::failure::{Failure, Outcome};

/// Settings that all strategies of one call share.
pub(super) struct Session<'a> {
    pub(super) output: Output,
    pub(super) device: Device,
    pub(super) options: &'a arguments::Recipe,
    /// The classes of the model that training goes on from, where there is one.
    pub(super) known: Option<KnownClasses>,
    pub(super) recipe: Recipe,
    pub(super) interrupt: Interrupt,
    pub(super) pretrained: Pretrained,
    pub(super) data: TransferData,
    pub(super) folder: PathBuf,
    pub(super) title: String,
    pub(super) accept_changed_data: bool,
    pub(super) keep_architecture: bool,
    pub(super) tensorboard: bool,
    /// Learns to tell unknown classes as well.
    pub(super) reject: bool,
    pub(super) report: Report,
    pub(super) results: Vec<Value>,
    /// Answers to the validation images, one entry for each result.
    pub(super) predictions: Vec<Predictions>,
    /// A line on each run that can tell unknown classes.
    pub(super) unknown: Vec<String>,
    pub(super) shared: SharedFeatures,
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
    /// What thresholds are worth that the validation images chose.
    chosen: Option<LabelThresholds>,
}

impl Left {
    /// Returns the accuracy of answers by the thresholds that the file holds.
    fn accuracy_of(&self, found: &Predictions) -> f64 {
        found.accuracy_at(self.thresholds.as_deref())
    }
}

impl Session<'_> {
    /// Trains one run after the other. What was done before one is interrupted or fails is in the report and the results.
    pub(super) fn all(&mut self, runs: &[Planned]) -> Result<Outcome, Failure> {
        // One call computes features of which those of others are a part, and not the other way round.
        let mut order: Vec<&Planned> = runs.iter().collect();
        order.sort_by_key(|run| run.method != Method::OneCall);
        let ended = self.in_order(&order);
        self.sort_as(runs);
        ended
    }

    fn in_order(&mut self, runs: &[&Planned]) -> Result<Outcome, Failure> {
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

    /// Puts what was done in the order in which it was asked for.
    fn sort_as(&mut self, runs: &[Planned]) {
        let names: Vec<String> = runs.iter().map(|run| run.method.to_string()).collect();
        let place = |name: &str| names.iter().position(|asked| asked == name);
        let predictions = std::mem::take(&mut self.predictions);
        let results = std::mem::take(&mut self.results);
        let mut done: Vec<(Value, Predictions)> = results.into_iter().zip(predictions).collect();
        done.sort_by_key(|(result, _)| place(result["strategy"].as_str().unwrap_or_default()));
        (self.results, self.predictions) = done.into_iter().unzip();
        self.report.runs.sort_by_key(|run| place(&run.name));
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
                Err(_) => format!("accuracy is {}", percent(left.accuracy_of(found))),
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
                Err(_) => result["accuracy_in_views"] = json!(left.accuracy_of(found)),
            }
        }
        match self.data.task() {
            Task::SingleLabel => {}
            Task::Ordinal => ordinal::add(&mut result, left.predictions.ordinal().ok().as_ref()),
            Task::MultiLabel => {
                let found = left.predictions.multi_label(left.thresholds.as_deref());
                labels::add(&mut result, found.ok().as_ref());
                let kept = left.chosen.filter(|chosen| chosen.to_keep().is_some());
                labels::add_cross_fitted(&mut result, kept.as_ref());
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
        let chosen = fitted.predictions.label_thresholds().ok();
        Ok(Left {
            in_views: fitted.in_views.clone(),
            classifier: fitted.classifier.clone(),
            predictions: fitted.predictions.clone(),
            outcome: fitted.outcome.clone(),
            seconds_train: Some(fitted.seconds_train),
            penalty: None,
            thresholds: chosen
                .as_ref()
                .and_then(LabelThresholds::to_keep)
                .map(<[f64]>::to_vec),
            chosen,
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
        let began_so = run.record.as_ref().is_some_and(keeps_architecture);
        if self.keep_architecture || began_so {
            one_call = one_call.keep_architecture();
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
            chosen: None,
        })
    }

    pub(super) fn finish(&self) -> Result<(), Failure> {
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
            if let Some(line) = labels::said(result)
                .or_else(|| numbers::said(result))
                .or_else(|| ordinal::said(result))
            {
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
