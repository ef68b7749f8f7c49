//! Ways to train against each other and the probe, on held-out parts of the training images.

use super::methods::{Method, Scale};
use super::probing::Probed;
use super::reduced::Probes;
use super::run::Run;
use super::training::Steps;
use super::trial::{Contender, SHARES};
use super::tuning::{LAST_RATE, LEAST_EPOCHS, most_steps};
use crate::TrainerError;
use crate::events::{self, Event};

/// Passes that fit from which on there are two trials, and three: the others still have enough time then.
const FOR_TRIALS: [f64; 2] = [24.0, 48.0];

/// The time of all trials and the final training, in seconds on the clock.
#[derive(Clone, Copy)]
pub(super) struct Span {
    begun: f64,
    end: f64,
    /// Trials at most.
    trials: usize,
    /// The time when trials have to be over, whatever their share.
    latest: f64,
}

impl Span {
    pub fn new([begun, latest, end]: [f64; 3], passes: f64) -> Self {
        let more = FOR_TRIALS.iter().filter(|least| passes >= **least).count();
        Self {
            begun,
            end,
            trials: 1 + more,
            latest,
        }
    }

    /// Returns the time when a trial, counted from 0, has to be over: all of them and the final training take
    /// equal times.
    fn end_of(&self, trial: usize) -> f64 {
        let equal = self.begun + (trial + 1) as f64 * self.share() * (self.end - self.begun);
        equal.min(self.latest)
    }

    /// Returns the share of the time that one training takes.
    pub fn share(&self) -> f64 {
        1.0 / (self.trials + 1) as f64
    }
}

impl<'a, 'b> Run<'a, 'b> {
    /// Tries one way after the other, or one on other parts of the images, as the time allows, and returns what is best on
    /// the images that were held out.
    pub(super) fn contest(
        &mut self,
        probes: &Probes<'_, 'b>,
        parts: &[Vec<usize>],
        methods: &[Method],
        span: Span,
        per_image: f64,
    ) -> Result<Option<Contender>, TrainerError> {
        let probed = probes.whole;
        let images = probed.seen.labels.len();
        let mut untried = methods.iter();
        let mut contenders: Vec<Contender> = Vec::new();
        let mut begun = self.take_up(probes, &parts[0], per_image, methods[0])?;
        for number in 0..span.trials {
            let until = span.end_of(number);
            let (taken_up, begun) = begun.take().unzip();
            contenders.extend(taken_up);
            let at = match begun.is_some() {
                true => 0,
                false => match next_trial(&contenders, number, span.trials, parts.len()) {
                    Next::Again(at) => at,
                    Next::Another => {
                        let Some(method) = untried.next() else { break };
                        contenders.push(Contender {
                            method: *method,
                            per_image: per_image * method.cost(methods[0]),
                            trials: Vec::new(),
                        });
                        contenders.len() - 1
                    }
                },
            };
            let (method, fold) = (contenders[at].method, contenders[at].trials.len());
            let per_image = contenders[at].per_image;
            let now = self.clock().seconds();
            if number > 0 && until - now < LEAST_EPOCHS * per_image * images as f64 {
                break;
            }
            let best = contenders.iter().filter(|one| !one.trials.is_empty());
            let best = best.map(|one| one.lead().bound()).fold(0.0, f64::max);
            let steps = Steps {
                end: until,
                per_image,
                most: most_steps(images),
            };
            let (name, trained_at) = match begun {
                Some(_) => (
                    format!("{}, taken up again", named(probed, method, fold)),
                    method.at(LAST_RATE),
                ),
                None => (named(probed, method, fold), method),
            };
            let from = begun.as_ref();
            let tried = self.trial(probes, &parts[fold], (trained_at, steps), from, &name);
            if let (Err(TrainerError::Interrupted { .. }), Some(partial), true) = (
                &tried,
                self.partial.take(),
                fold == 0 && contenders.iter().all(|one| one.trials.is_empty()),
            ) {
                self.keep_trial(probes.at(method.scale), method, &parts[0], &partial)?;
            }
            let Some(trial) = tried? else {
                let message = format!("{name} is not kept: its loss became no number");
                self.tell(&Event::Note { message })?;
                contenders.retain(|one| !one.trials.is_empty());
                continue;
            };
            let probe = trial.probe.clone();
            contenders[at].trials.push(trial);
            if leader(&contenders) == Some(at) {
                let weights = &contenders[at].trials[0].weights;
                self.keep_trial(probes.at(method.scale), method, &parts[0], weights)?;
            }
            let (lead, scored) = (contenders[at].lead(), contenders[at].scored(fold));
            let why = match fold {
                0 => method.why,
                _ => "other images say whether it was luck",
            };
            self.tell(&Event::Tried(events::Trial {
                what: name,
                why: why.into(),
                images: probe.right.len(),
                accuracy: scored.accuracy(),
                loss: Some(probed.standardized(scored.loss())),
                mae: scored.mae(),
                gain: (scored.accuracy()).map(|_| scored.lead_over(&probe).accuracy.0),
                kept: contenders[at].is_ahead() && (fold > 0 || lead.bound() > best),
                seconds: self.clock().seconds() - now,
            }))?;
        }
        Ok(leader(&contenders).map(|at| contenders.swap_remove(at)))
    }

    /// Trains the network of a single trial on with the time that the final training would have had: what is behind the probe
    /// may only be too short a training. It is measured on the same images, so it never learns from them.
    pub(super) fn give_more_time(
        &mut self,
        probes: &Probes<'_, 'b>,
        held_out: &[usize],
        contender: &mut Contender,
        end: f64,
    ) -> Result<(), TrainerError> {
        let probed = probes.whole;
        let [before] = &contender.trials[..] else {
            return Ok(());
        };
        let now = self.clock().seconds();
        let looks = SHARES.len() * held_out.len();
        let steps = Steps {
            end: end - looks as f64 * probed.seconds_per_image,
            per_image: contender.per_image,
            most: most_steps(probed.seen.labels.len()),
        };
        let method = contender.method.at(LAST_RATE);
        let name = format!("{}, longer", named(probed, contender.method, 0));
        let from = Some(&before.weights);
        let Some(trial) = self.trial(probes, held_out, (method, steps), from, &name)? else {
            return Ok(());
        };
        let before = contender.lead();
        let former = std::mem::replace(&mut contender.trials, vec![trial]);
        let (lead, scored) = (contender.lead(), contender.scored(0));
        let kept = contender.is_ahead();
        let told = Event::Tried(events::Trial {
            what: name,
            why: "it may only have been too short".into(),
            images: held_out.len(),
            accuracy: scored.accuracy(),
            loss: Some(probed.standardized(scored.loss())),
            mae: scored.mae(),
            gain: scored.accuracy().map(|_| lead.accuracy.0),
            kept,
            seconds: self.clock().seconds() - now,
        });
        if lead.bound() < before.bound() {
            contender.trials = former;
        }
        self.tell(&told)
    }
}

/// The next trial.
enum Next {
    /// A way that was tried before, on other images.
    Again(usize),
    /// A way that was not tried before.
    Another,
}

/// Chooses the next trial. Where a way is not far behind the probe, other images tell more than another way
/// does; where there are three trials or more, two ways are tried before.
fn next_trial(contenders: &[Contender], number: usize, trials: usize, parts: usize) -> Next {
    let Some(at) = leader(contenders) else {
        return Next::Another;
    };
    let is_first_round = number + 1 < trials && contenders.len() < 2;
    let has_parts = contenders[at].trials.len() < parts;
    match contenders[at].lead().is_far_behind() || is_first_round || !has_parts {
        true => Next::Another,
        false => Next::Again(at),
    }
}

/// Returns the one with the lowest loss beside the probe's, as far as the images can tell.
fn leader(contenders: &[Contender]) -> Option<usize> {
    let lead = |at: &usize| contenders[*at].lead().bound();
    let measured = (0..contenders.len()).filter(|at| !contenders[*at].trials.is_empty());
    measured.max_by(|a, b| lead(a).total_cmp(&lead(b)))
}

fn named(probed: &Probed<'_>, method: Method, fold: usize) -> String {
    let architecture = &probed.candidate.plain.architecture;
    let size = match method.scale {
        Scale::Whole if method.size == probed.data.preprocess.crop => String::new(),
        Scale::Whole => format!(" on pictures of {}", method.size),
        Scale::Reduced => format!(" for pictures of {}", method.size),
    };
    let again = if fold > 0 { ", again" } else { "" };
    format!(
        "fine-tuning of {architecture} at {}{size}{again}",
        method.rate
    )
}
