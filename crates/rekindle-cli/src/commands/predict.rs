use std::path::PathBuf;

use rekindle::files::names::{escape, printable};
use rekindle::imagefolder::Task;
use rekindle::trainer::{Answer, Interrupt, Model, image_files};
use serde_json::{Value, json};

use super::zero_shot;
use crate::arguments::{Output, Predict};
use crate::console::{print, say_left_out};
use crate::failure::{Failure, Outcome};

pub fn run(command: &Predict, output: Output) -> Result<Outcome, Failure> {
    let interrupt = Interrupt::on_ctrl_c()?;
    let device = command.device.open()?;
    let mut answers = Answers {
        top: command.top.unwrap_or(1),
        output: &output,
        outcome: Outcome::Done,
    };
    if !command.words.zero_shot.is_empty() {
        let model = zero_shot::open(&command.words, &output, &device)?.interrupt(interrupt);
        let images = std::iter::once(&command.model).chain(&command.images);
        let images = image_files(&images.cloned().collect::<Vec<PathBuf>>())?;
        let name = |class: usize| model.classes[class].clone();
        model.predict(&images, |answer| answers.say(&answer, name))?;
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
            let top = match command.top {
                Some(top) => answer.top(top),
                None => model.labels(&answer),
            };
            answers.say_labels(&answer, &top, name);
        })?;
        return Ok(answers.outcome);
    }
    let Some(coverage) = command.asked.coverage else {
        model.predict(&images, |answer| answers.say(&answer, name))?;
        return Ok(answers.outcome);
    };
    let least = model.conformal()?.least_probability(coverage)?;
    model.predict(&images, |answer| {
        let set = set(&answer, least);
        answers.say_set(&answer, &set, name);
    })?;
    Ok(answers.outcome)
}

/// Returns the classes that reach the least probability.
fn set(answer: &Answer, least: f64) -> Vec<(usize, f32)> {
    let mut all = answer.top(usize::MAX);
    let size = all.partition_point(|(_, p)| f64::from(*p) >= least);
    all.truncate(size);
    all
}

/// Answers on their way out.
struct Answers<'a> {
    top: usize,
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

    /// Says the labels of a picture, which may have none.
    fn say_labels(
        &mut self,
        answer: &Answer,
        labels: &[(usize, f32)],
        name: impl Fn(usize) -> String,
    ) {
        if self.is_left_out(answer) {
            return;
        }
        let path = escape(&answer.path);
        if self.output.json {
            let named: Vec<Value> = labels
                .iter()
                .map(|(label, p)| json!({"label": name(*label), "probability": p}))
                .collect();
            print(&json!({"path": path, "labels": named}).to_string());
            return;
        }
        let named: Vec<String> = labels
            .iter()
            .map(|(label, p)| format!("{} {p:.3}", printable(&name(*label))))
            .collect();
        let named = match named.is_empty() {
            true => "no label".to_string(),
            false => named.join(", "),
        };
        print(&format!("{}: {named}", printable(&path)));
    }

    /// Says a set of classes, the most probable first.
    fn say_set(&mut self, answer: &Answer, set: &[(usize, f32)], name: impl Fn(usize) -> String) {
        if self.is_left_out(answer) {
            return;
        }
        let path = escape(&answer.path);
        if self.output.json {
            let named: Vec<Value> = set
                .iter()
                .map(|(class, p)| json!({"class": name(*class), "probability": p}))
                .collect();
            print(&json!({"path": path, "set": named}).to_string());
            return;
        }
        let named: Vec<String> = set
            .iter()
            .map(|(class, p)| format!("{} {p:.3}", printable(&name(*class))))
            .collect();
        let named = match named.is_empty() {
            true => "no class is probable enough".to_string(),
            false => named.join(" or "),
        };
        print(&format!("{}: {named}", printable(&path)));
    }

    fn say(&mut self, answer: &Answer, name: impl Fn(usize) -> String) {
        let path = escape(&answer.path);
        if self.is_left_out(answer) {
            return;
        }
        let top = answer.top(self.top);
        if self.output.json {
            let named: Vec<Value> = top
                .iter()
                .map(|(class, p)| json!({"class": name(*class), "probability": p}))
                .collect();
            print(&json!({"path": path, "predictions": named}).to_string());
        } else {
            let named: Vec<String> = top
                .iter()
                .map(|(class, p)| format!("{} {p:.3}", printable(&name(*class))))
                .collect();
            print(&format!("{}: {}", printable(&path), named.join(", ")));
        }
    }
}
