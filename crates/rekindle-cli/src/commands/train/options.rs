//! Turns the options of `train` into a recipe, for one strategy after the other.

use rekindle::imagefolder::{AugmentPolicy, Augmentation, Mix, Task};
use rekindle::trainer::{Cache, EarlyStopping, Monitor, Optimizer, Recipe, RunRecord, Schedule};
use serde_json::json;

use crate::arguments::{self, Augment, Figure, Method, ScheduleName};
use crate::failure::Failure;

/// The recipe of PyTorch's transfer-learning tutorial, as `--recipe` takes it.
const TUTORIAL: &str = "tutorial";

impl arguments::Recipe {
    /// Returns the recipe that `--recipe` names, or the default of what is done, with kept features, changed by the options
    /// that are given.
    pub fn of_method(&self, method: Option<&Method>) -> Result<Recipe, Failure> {
        let kept = |recipe| Recipe {
            cache: Cache::Memory,
            ..recipe
        };
        self.change(match (&self.recipe, method) {
            (Some(name), _) if name.as_os_str() == TUTORIAL => kept(Recipe::tutorial()),
            (Some(path), _) => Recipe::open(path)?,
            (None, Some(Method::Strategy(strategy))) => kept(Recipe::of(strategy)),
            (None, _) => kept(Recipe::modern()),
        })
    }

    /// Returns the recipe of a run that is resumed, changed by the options that are given.
    pub fn resumed(&self, record: &RunRecord) -> Result<Recipe, Failure> {
        if self.recipe.is_some() {
            return self.of_method(None);
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
        self.set_optimizer(&mut recipe)?;
        recipe.learning_rate = self.learning_rate.unwrap_or(recipe.learning_rate);
        recipe.head_rate = self.head_rate.unwrap_or(recipe.head_rate);
        recipe.clip_norm = self.clip_norm.or(recipe.clip_norm);
        recipe.accumulate = self.accumulate.unwrap_or(recipe.accumulate);
        self.set_images(&mut recipe);
        recipe.seed = self.seed.unwrap_or(recipe.seed);
        recipe.loss = self.loss.or(recipe.loss);
        recipe.label_smoothing = self.label_smoothing.unwrap_or(recipe.label_smoothing);
        recipe.moving_average = self.moving_average.or(recipe.moving_average);
        recipe.workers = self.workers.unwrap_or(recipe.workers);
        recipe.quantize_frozen |= self.quantize;
        recipe.balance_classes |= self.balance_classes;
        if !self.class_weights.is_empty() {
            recipe.class_weights = self.class_weights.iter().cloned().collect();
        }
        recipe.balanced_sampler |= self.balanced_sampler;
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

    /// Sets the optimiser and the rate's course.
    fn set_optimizer(&self, recipe: &mut Recipe) -> Result<(), Failure> {
        if let Some(given) = self.optimizer {
            set_kind(recipe, given.into());
        }
        if let Some(given) = self.weight_decay {
            recipe.optimizer = recipe.optimizer.clone().with_weight_decay(given);
        }
        if let Some(name) = self.schedule {
            recipe.schedule = match name {
                ScheduleName::Constant => Schedule::Constant,
                ScheduleName::Step => Schedule::tutorial(),
                ScheduleName::Cosine => Schedule::cosine(),
                ScheduleName::OneCycle => Schedule::one_cycle(),
            };
        }
        if let Some(epochs) = self.warm_up {
            let then = match &recipe.schedule {
                Schedule::Warmup { then, .. } => (**then).clone(),
                schedule => schedule.clone(),
            };
            if matches!(then, Schedule::OneCycle { .. }) {
                return Err(Failure::Usage(
                    "--warm-up goes before a schedule without a rise of its own; add --schedule cosine, step or constant"
                        .into(),
                ));
            }
            recipe.schedule = match epochs > 0.0 {
                true => then.with_warmup(epochs),
                false => then,
            };
        }
        Ok(())
    }

    /// Sets what happens to training images.
    fn set_images(&self, recipe: &mut Recipe) {
        if self.augment.is_some() || self.flip.is_some() {
            let mut augmentation = recipe.augment.unwrap_or(Augmentation::IMAGENET);
            augmentation.policy = self
                .augment
                .map_or(augmentation.policy, AugmentPolicy::from);
            augmentation.flip = self.flip.unwrap_or(augmentation.flip);
            recipe.augment = Some(augmentation);
        }
        recipe.mix = match (self.mix_up, self.cut_mix) {
            (None, None) => recipe.mix,
            (Some(alpha), None) => Some(Mix::MixUp { alpha }),
            (None, Some(alpha)) => Some(Mix::CutMix { alpha }),
            (Some(mixup_alpha), Some(cutmix_alpha)) => Some(Mix::Either {
                mixup_alpha,
                cutmix_alpha,
            }),
        };
        // Kept activations can't be mixed.
        if recipe.mix.is_some() && self.views.is_none() && self.cache.is_none() {
            recipe.cache = Cache::Off;
        }
    }

    /// The recipe for data of this task, where nothing else is asked for: of several labels the mean average precision is looked
    /// at, of numbers the mean absolute error, and these have no label smoothing.
    pub fn for_task(&self, recipe: Recipe, task: Task) -> Recipe {
        let is_tutorial = (self.recipe.as_ref()).is_some_and(|name| name.as_os_str() == TUTORIAL);
        let is_own = self.recipe.is_some() && !(is_tutorial && task == Task::Regression);
        if is_own {
            return recipe;
        }
        let suited = recipe.clone().for_task(task);
        let mut suited = match self.monitor {
            None => suited,
            Some(_) => Recipe {
                monitor: recipe.monitor,
                early_stopping: recipe.early_stopping,
                ..suited
            },
        };
        if self.label_smoothing.is_some() {
            suited.label_smoothing = recipe.label_smoothing;
        }
        suited
    }
}

/// Base rate of SGD, and the head's over it.
const SGD_RATES: (f64, f64) = (3e-3, 1.0);
/// Lion's rate over AdamW's: its steps don't get shorter where gradients are uncertain.
const LION_RATE: f64 = 0.1;

/// Sets the optimiser and rates that suit it, unless the recipe has one of its kind.
fn set_kind(recipe: &mut Recipe, optimizer: Optimizer) {
    let kind = std::mem::discriminant::<Optimizer>;
    if kind(&recipe.optimizer) == kind(&optimizer) {
        return;
    }
    let before = std::mem::replace(&mut recipe.optimizer, optimizer);
    // A rate of the others is no rate of SGD: their steps don't go by the gradient's length.
    if let Optimizer::Sgd { .. } = recipe.optimizer {
        (recipe.learning_rate, recipe.head_rate) = SGD_RATES;
        return;
    }
    if let Optimizer::Sgd { .. } = before {
        let modern = Recipe::modern();
        (recipe.learning_rate, recipe.head_rate) = (modern.learning_rate, modern.head_rate);
    }
    let share = |optimizer: &Optimizer| match optimizer {
        Optimizer::Lion { .. } => LION_RATE,
        _ => 1.0,
    };
    recipe.learning_rate *= share(&recipe.optimizer) / share(&before);
}

impl From<arguments::Optimizer> for Optimizer {
    fn from(name: arguments::Optimizer) -> Self {
        match name {
            arguments::Optimizer::AdamW => Recipe::modern().optimizer,
            arguments::Optimizer::Sgd => Recipe::tutorial().optimizer,
            arguments::Optimizer::Adam => Optimizer::Adam { weight_decay: 0.0 },
            arguments::Optimizer::RmsProp => Optimizer::RmsProp {
                momentum: 0.0,
                weight_decay: 0.0,
            },
            arguments::Optimizer::Lion => Optimizer::Lion { weight_decay: 0.1 },
        }
    }
}

impl From<Figure> for Monitor {
    fn from(figure: Figure) -> Self {
        match figure {
            Figure::Accuracy => Monitor::Accuracy,
            Figure::Loss => Monitor::Loss,
            Figure::MacroF1 => Monitor::MacroF1,
            Figure::BalancedAccuracy => Monitor::BalancedAccuracy,
            Figure::MeanAveragePrecision => Monitor::MeanAveragePrecision,
            Figure::Kappa => Monitor::QuadraticWeightedKappa,
            Figure::Mae => Monitor::Mae,
            Figure::Rmse => Monitor::Rmse,
        }
    }
}

impl From<Augment> for AugmentPolicy {
    fn from(augment: Augment) -> Self {
        match augment {
            Augment::None => AugmentPolicy::None,
            Augment::Light => AugmentPolicy::Light,
            Augment::Imagenet => AugmentPolicy::Imagenet,
            Augment::Trivial => AugmentPolicy::Trivial,
            Augment::Rand => AugmentPolicy::Rand,
        }
    }
}
