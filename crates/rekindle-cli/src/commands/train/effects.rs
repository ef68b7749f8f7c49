//! What the options of `train` do to each strategy: those without effect are refused, and what one costs is said.

use rekindle::trainer::{Cache, Recipe};
use rekindle::transfer::Strategy;

use crate::arguments::{self, Method};
use crate::console::counted;
use crate::failure::Failure;

/// Options that set the length and the pace of training. Scripts give them to every strategy alike, so where they have
/// no effect, that is said and the work done.
const PACE: [&str; 3] = ["--epochs", "--batch", "--learning-rate"];

impl arguments::Recipe {
    /// Refuses options that have no effect on any of the strategies. Lists those without an effect on some, and what makes features
    /// of frozen stages be computed again in each epoch, for people to read. `stages` are the network's.
    pub fn check_effects(
        &self,
        methods: &[Method],
        stages: &[&str],
    ) -> Result<Vec<String>, Failure> {
        let idle: Vec<(&Method, Vec<&'static str>)> = methods
            .iter()
            .map(|method| Ok((method, self.without_effect(method, stages)?)))
            .collect::<Result<_, Failure>>()?;
        let mut notes = Vec::new();
        for method in methods {
            notes.extend(self.without_kept_features(method, stages)?);
        }
        for option in self.given() {
            let names: Vec<String> = idle
                .iter()
                .filter(|(_, options)| options.contains(&option))
                .map(|(method, _)| method.to_string())
                .collect();
            let text = format!("{option} has no effect on {}", names.join(" and "));
            if names.len() == methods.len() && !PACE.contains(&option) {
                return Err(Failure::Usage(format!("{text}; leave it out")));
            }
            if !names.is_empty() {
                notes.push(text);
            }
        }
        Ok(notes)
    }

    /// Returns the options that say how a network is trained, of those that are given.
    pub(super) fn of_training(&self) -> Vec<&'static str> {
        let mut given = self.given();
        given.retain(|option| *option != "--cache");
        if self.test_views.is_some() {
            given.push("--test-views");
        }
        given
    }

    /// Returns the options that are given and don't act on every strategy.
    fn given(&self) -> Vec<&'static str> {
        let all = [
            ("--recipe", self.recipe.is_some()),
            ("--epochs", self.epochs.is_some()),
            ("--batch", self.batch.is_some()),
            ("--learning-rate", self.learning_rate.is_some()),
            ("--head-rate", self.head_rate.is_some()),
            ("--optimizer", self.optimizer.is_some()),
            ("--weight-decay", self.weight_decay.is_some()),
            ("--schedule", self.schedule.is_some()),
            ("--warm-up", self.warm_up.is_some()),
            ("--clip-norm", self.clip_norm.is_some()),
            ("--accumulate", self.accumulate.is_some()),
            ("--augment", self.augment.is_some()),
            ("--flip", self.flip.is_some()),
            ("--mix-up", self.mix_up.is_some()),
            ("--cut-mix", self.cut_mix.is_some()),
            ("--views", self.views.is_some()),
            ("--cache", self.cache.is_some()),
            ("--loss", self.loss.is_some()),
            ("--label-smoothing", self.label_smoothing.is_some()),
            ("--moving-average", self.moving_average.is_some()),
            ("--quantize", self.quantize),
            ("--monitor", self.monitor.is_some()),
            ("--patience", self.patience.is_some()),
            ("--balance-classes", self.balance_classes),
            ("--class-weights", !self.class_weights.is_empty()),
            ("--balanced-sampler", self.balanced_sampler),
        ];
        let given = all.into_iter().filter(|(_, is_given)| *is_given);
        given.map(|(name, _)| name).collect()
    }

    /// Says what keeps a strategy from keeping the features of its frozen stages, and what that costs; none where they are kept, or
    /// where fresh views were asked for.
    fn without_kept_features(
        &self,
        method: &Method,
        stages: &[&str],
    ) -> Result<Option<String>, Failure> {
        let Method::Strategy(strategy) = method else {
            return Ok(None);
        };
        let recipe = self.of_method(Some(method))?;
        let frozen = strategy.always_frozen(stages, recipe.epochs)?;
        if frozen == 0 || recipe.epochs == 1 || recipe.cache != Cache::Off || self.views == Some(0)
        {
            return Ok(None);
        }
        let options = [
            ("--mix-up", self.mix_up.is_some()),
            ("--cut-mix", self.cut_mix.is_some()),
        ];
        let mixing: Vec<&str> = options
            .into_iter()
            .filter_map(|(option, is_given)| is_given.then_some(option))
            .collect();
        let (cause, advice) = match (mixing.is_empty(), recipe.mix.is_some()) {
            (false, _) => (
                format!(
                    "with {} no features are kept, as pictures are mixed anew",
                    mixing.join(" and ")
                ),
                "without",
            ),
            (true, true) => (
                "the recipe's mix keeps no features, as pictures are mixed anew".into(),
                "without it",
            ),
            (true, false) => ("the recipe's cache is off".into(), "with --views 1"),
        };
        let frozen = counted(frozen, "frozen stage", "frozen stages");
        Ok(Some(format!(
            "{cause}: {method} computes its {frozen} in each of {} epochs, {advice} in the first alone",
            recipe.epochs
        )))
    }

    fn without_effect(
        &self,
        method: &Method,
        stages: &[&str],
    ) -> Result<Vec<&'static str>, Failure> {
        let Method::Strategy(strategy) = method else {
            let acts = ["--cache", "--quantize"];
            let mut given = self.given();
            given.retain(|option| !acts.contains(option));
            return Ok(given);
        };
        let recipe = self.of_method(Some(method))?;
        let mut idle = Vec::new();
        // Of features that are kept there is one plain view, unless more are asked for.
        let frozen = strategy.always_frozen(stages, recipe.epochs)?;
        if frozen > 0 && recipe.cache != Cache::Off && recipe.views == 1 {
            idle.extend(["--augment", "--flip"]);
        }
        // Views of 0 are fresh ones, which trained stages see anyway.
        if frozen == 0 {
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
