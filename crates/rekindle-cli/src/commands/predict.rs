use std::path::PathBuf;

use rekindle::files::names::{escape, printable};
use rekindle::imagefolder::Task;
use rekindle::trainer::text::figure;
use rekindle::trainer::{Answer, ConformalScores, Interrupt, Model, UnknownCheck, image_files};
use serde_json::{Value, json};

use super::zero_shot;
use crate::arguments::{Output, Predict};
use crate::console::{print, say_left_out};
use crate::failure::{Failure, Outcome};

pub fn run(command: &Predict, output: Output) -> Result<Outcome, Failure> {
    let interrupt = Interrupt::on_ctrl_c()?;
    let device = command.device.open()?;
    let top = command.top.unwrap_or(1);
    let mut answers = Answers {
        output: &output,
        outcome: Outcome::Done,
    };
    if !command.words.zero_shot.is_empty() {
        let model = zero_shot::open(&command.words, &output, &device)?.interrupt(interrupt);
        let images = std::iter::once(&command.model).chain(&command.images);
        let images = image_files(&images.cloned().collect::<Vec<PathBuf>>())?;
        let name = |class: usize| model.classes[class].clone();
        model.predict(&images, |answer| {
            answers.say(&answer, &answer.top(top), &CLASSES, name);
        })?;
        return Ok(answers.outcome);
    }
    let options = command.part.options();
    let model = Model::open_with(&command.model, &options, &device)?;
    crate::weights::note(&model.found, &output);
    let model = command.asked.of(model, &interrupt)?;
    let images = image_files(&command.images)?;
    let name = |class: usize| model.class_name(class);
    if model.task == Task::MultiLabel {
        model.predict(&images, |answer| {
            let labels = match command.top {
                Some(top) => answer.top(top),
                None => model.labels(&answer),
            };
            answers.say(&answer, &labels, &LABELS, name);
        })?;
        return Ok(answers.outcome);
    }
    if model.task == Task::Regression {
        if command.top.is_some() {
            return Err(Failure::Usage(
                "--top names classes, and the model gives each image one number; leave it out"
                    .into(),
            ));
        }
        let half_width = command
            .asked
            .coverage
            .map(|coverage| model.conformal_residuals()?.half_width(coverage));
        let half_width = half_width.transpose()?;
        let name = model.class_name(0);
        model.predict(&images, |answer| {
            answers.say_number(&answer, &name, half_width)
        })?;
        return Ok(answers.outcome);
    }
    let coverage = command.asked.coverage;
    let least = coverage.map(|coverage| model.conformal()?.least_probability(coverage));
    let least = least.transpose()?;
    model.predict(&images, |answer| match (least, &answer.probabilities) {
        (Some(least), Ok(probabilities)) => {
            let set = ConformalScores::reaching(probabilities, least);
            answers.say(&answer, &set, &SET, name);
        }
        _ if answer.unknown.is_some_and(|check| check.is_unknown()) => {
            answers.say(&answer, &[], &UNKNOWN, name);
        }
        _ => answers.say(&answer, &answer.top(top), &CLASSES, name),
    })?;
    Ok(answers.outcome)
}

/// The words around what a picture is taken for.
struct Words {
    /// Key of all in JSON.
    all: &'static str,
    /// Key of the name of one in JSON.
    one: &'static str,
    /// What stands between them.
    between: &'static str,
    /// What is said where there are none.
    none: &'static str,
}

const CLASSES: Words = Words {
    all: "predictions",
    one: "class",
    between: ", ",
    none: "",
};

const UNKNOWN: Words = Words {
    none: "unknown",
    ..CLASSES
};

const LABELS: Words = Words {
    all: "labels",
    one: "label",
    between: ", ",
    none: "no label",
};

const SET: Words = Words {
    all: "set",
    one: "class",
    between: " or ",
    none: "no class is probable enough",
};

/// Answers on their way out.
struct Answers<'a> {
    output: &'a Output,
    outcome: Outcome,
}

impl Answers<'_> {
    /// Says that a file can't be read, where that is so.
    fn is_left_out(&mut self, answer: &Answer) -> bool {
        let Err(reason) = &answer.probabilities else {
            return false;
        };
        self.outcome = Outcome::BadData;
        say_left_out([reason]);
        if self.output.json {
            let path = escape(&answer.path);
            print(&json!({"path": path, "error": reason}).to_string());
        }
        true
    }

    /// Says the number of a picture, with its interval where one is asked for, or why it can't be read.
    fn say_number(&mut self, answer: &Answer, name: &str, half_width: Option<f64>) {
        if self.is_left_out(answer) {
            return;
        }
        let number = answer.number().map_or(f64::NAN, f64::from);
        let ends = half_width.map(|reach| [number - reach, number + reach]);
        let path = escape(&answer.path);
        if self.output.json {
            let mut told = json!({"path": path, "name": name, "number": answer.number()});
            if let Some([low, high]) = ends {
                told["low"] = json!(low as f32);
                told["high"] = json!(high as f32);
            }
            print(&told.to_string());
            return;
        }
        let interval = ends.map_or_else(String::new, |[low, high]| {
            format!(" ({} to {})", figure(low), figure(high))
        });
        print(&format!(
            "{}: {}{interval}",
            printable(&path),
            figure(number)
        ));
    }

    /// Says what a picture is taken for, or why it can't be read.
    fn say(
        &mut self,
        answer: &Answer,
        taken_for: &[(usize, f32)],
        words: &Words,
        name: impl Fn(usize) -> String,
    ) {
        if self.is_left_out(answer) {
            return;
        }
        let path = escape(&answer.path);
        if self.output.json {
            let named: Vec<Value> = taken_for
                .iter()
                .map(|(class, p)| json!({words.one: name(*class), "probability": p}))
                .collect();
            let mut told = json!({"path": path, words.all: named});
            if let Some(check) = answer.unknown {
                told["unknown"] = json!(check.is_unknown());
                told["unknown_score"] = json!(check.score);
                told["threshold"] = json!(check.threshold);
            }
            print(&told.to_string());
            return;
        }
        let named: Vec<String> = taken_for
            .iter()
            .map(|(class, p)| format!("{} {p:.3}", printable(&name(*class))))
            .collect();
        let named = match named.is_empty() {
            true => words.none.to_string(),
            false => named.join(words.between),
        };
        let check = answer.unknown.map_or_else(String::new, |check| {
            let UnknownCheck { score, threshold } = check;
            format!("; score {score:.4}, unknown above {threshold:.4}")
        });
        print(&format!("{}: {named}{check}", printable(&path)));
    }
}
