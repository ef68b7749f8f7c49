//! What the options of `train` come to: a recipe, for one strategy after the other, and nothing given in vain.

use rekindle::imagefolder::Task;
use rekindle::trainer::{Cache, EarlyStopping, Monitor, Recipe, RunRecord};
use rekindle::transfer::Strategy;
use serde_json::json;

use crate::arguments::{self, Figure, Way};
use crate::failure::Failure;

/// Options that set the length and the pace of training. Scripts give them to every strategy alike, so where they have
/// no effect, that is said and the work done.
const PACE: [&str; 3] = ["--epochs", "--batch", "--learning-rate"];

impl arguments::Recipe {
    /// The recipe of the file, or the tutorial's with kept features, changed by the options that are given.
    pub fn recipe(&self) -> Result<Recipe, Failure> {
        self.change(match &self.recipe {
            Some(path) => Recipe::open(path)?,
            None => Recipe {
                cache: Cache::Memory,
                ..Recipe::tutorial()
            },
        })
    }

    /// The recipe of a run that is resumed, changed by the options that are given.
    pub fn resumed(&self, record: &RunRecord) -> Result<Recipe, Failure> {
        if self.recipe.is_some() {
            return self.recipe();
        }
        // One call records choices of its own beside those that every recipe has.
        let (mut known, recorded) = (json!(Recipe::tutorial()), &record.recipe);
        for (field, value) in known.as_object_mut().into_iter().flatten() {
            if let Some(recorded) = recorded.get(field) {
                *value = recorded.clone();
            }
        }
        let recipe = serde_json::from_value(known);
        self.change(recipe.map_err(|error| {
            Failure::Usage(format!(
                "the record of the run \"{}\" holds a recipe that can't be read: {error}",
                record.title
            ))
        })?)
    }

    /// `recipe` changed by the options that are given.
    pub fn change(&self, mut recipe: Recipe) -> Result<Recipe, Failure> {
        recipe.epochs = self.epochs.unwrap_or(recipe.epochs);
        recipe.batch_size = self.batch.unwrap_or(recipe.batch_size);
        recipe.learning_rate = self.learning_rate.unwrap_or(recipe.learning_rate);
        recipe.seed = self.seed.unwrap_or(recipe.seed);
        recipe.loss = self.loss.or(recipe.loss);
        recipe.label_smoothing = self.label_smoothing.unwrap_or(recipe.label_smoothing);
        recipe.moving_average = self.moving_average.or(recipe.moving_average);
        recipe.workers = self.workers.unwrap_or(recipe.workers);
        recipe.quantize_frozen |= self.quantize;
        recipe.balance_classes |= self.balance_classes;
        recipe.monitor = self.monitor.map_or(recipe.monitor, Monitor::from);
        recipe.test_views = self.test_views.map_or(recipe.test_views, Into::into);
        match self.views {
            Some(0) if self.cache.is_some() => {
                return Err(Failure::Usage(
                    "--views 0 keeps no features, so --cache has nothing to keep; leave one of them out".into(),
                ));
            }
            Some(0) => {
                recipe.cache = Cache::Off;
                recipe.views = 1;
            }
            Some(views) => {
                recipe.views = views;
                if recipe.cache == Cache::Off {
                    recipe.cache = Cache::Memory;
                }
            }
            None => {}
        }
        if let Some(folder) = &self.cache {
            recipe.cache = Cache::Disk(folder.clone());
        }
        if let Some(patience) = self.patience {
            recipe.early_stopping = Some(EarlyStopping::of(recipe.monitor, patience));
        }
        recipe.validate()?;
        Ok(recipe)
    }

    /// The recipe for data of this task: of several labels, the mean average precision is looked at unless another figure
    /// is asked for.
    pub fn for_task(&self, mut recipe: Recipe, task: Task) -> Recipe {
        if task == Task::MultiLabel && self.monitor.is_none() && self.recipe.is_none() {
            recipe.monitor = Monitor::MeanAveragePrecision;
            if let Some(stopping) = &mut recipe.early_stopping {
                stopping.monitor = recipe.monitor;
            }
        }
        recipe
    }

    /// Refuses options that have no effect on any of the strategies, and lists those without an effect on some, for
    /// people to read. `stages` are the network's.
    pub fn check_effects(
        &self,
        ways: &[Way],
        recipe: &Recipe,
        stages: &[&str],
    ) -> Result<Vec<String>, Failure> {
        let idle: Vec<(&Way, Vec<&'static str>)> = ways
            .iter()
            .map(|way| Ok((way, self.without_effect(way, recipe, stages)?)))
            .collect::<Result<_, Failure>>()?;
        let mut notes = Vec::new();
        for option in self.given() {
            let names: Vec<String> = idle
                .iter()
                .filter(|(_, options)| options.contains(&option))
                .map(|(way, _)| way.to_string())
                .collect();
            let text = format!("{option} has no effect on {}", names.join(" and "));
            if names.len() == ways.len() && !PACE.contains(&option) {
                return Err(Failure::Usage(format!("{text}; leave it out")));
            }
            if !names.is_empty() {
                notes.push(text);
            }
        }
        Ok(notes)
    }

    /// The options that are given and don't act on every strategy.
    fn given(&self) -> Vec<&'static str> {
        let all = [
            ("--recipe", self.recipe.is_some()),
            ("--epochs", self.epochs.is_some()),
            ("--batch", self.batch.is_some()),
            ("--learning-rate", self.learning_rate.is_some()),
            ("--views", self.views.is_some()),
            ("--cache", self.cache.is_some()),
            ("--loss", self.loss.is_some()),
            ("--label-smoothing", self.label_smoothing.is_some()),
            ("--moving-average", self.moving_average.is_some()),
            ("--quantize", self.quantize),
            ("--monitor", self.monitor.is_some()),
            ("--patience", self.patience.is_some()),
            ("--balance-classes", self.balance_classes),
        ];
        let given = all.into_iter().filter(|(_, is_given)| *is_given);
        given.map(|(name, _)| name).collect()
    }

    fn without_effect(
        &self,
        way: &Way,
        recipe: &Recipe,
        stages: &[&str],
    ) -> Result<Vec<&'static str>, Failure> {
        let Way::Strategy(strategy) = way else {
            let acts = ["--cache", "--quantize"];
            let mut given = self.given();
            given.retain(|option| !acts.contains(option));
            return Ok(given);
        };
        let mut idle = Vec::new();
        // Views of 0 are fresh ones, which trained stages see anyway.
        if strategy.always_frozen(stages, recipe.epochs)? == 0 {
            if self.views != Some(0) {
                idle.push("--views");
            }
            idle.push("--cache");
        }
        if !begins_frozen(strategy, stages)? {
            idle.push("--quantize");
        }
        Ok(idle)
    }

    /// Leaves out of a recipe what has no effect on one strategy of several: that has been said, and the work is done.
    pub fn of_strategy(
        recipe: Recipe,
        strategy: &Strategy,
        stages: &[&str],
    ) -> Result<Recipe, Failure> {
        Ok(Recipe {
            quantize_frozen: recipe.quantize_frozen && begins_frozen(strategy, stages)?,
            ..recipe
        })
    }
}

/// Returns true where the first epoch leaves a stage alone.
fn begins_frozen(strategy: &Strategy, stages: &[&str]) -> Result<bool, Failure> {
    Ok(strategy.plan(stages, 0)?.frozen_stages > 0)
}

impl From<Figure> for Monitor {
    fn from(figure: Figure) -> Self {
        match figure {
            Figure::Accuracy => Monitor::Accuracy,
            Figure::Loss => Monitor::Loss,
            Figure::MacroF1 => Monitor::MacroF1,
            Figure::MeanAveragePrecision => Monitor::MeanAveragePrecision,
        }
    }
}
