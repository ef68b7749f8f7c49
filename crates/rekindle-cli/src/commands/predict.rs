use std::path::PathBuf;

use rekindle::files::names::{escape, printable};
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
        top: command.top,
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
    model.predict(&images, |answer| answers.say(&answer, name))?;
    Ok(answers.outcome)
}

/// Answers on their way out.
struct Answers<'a> {
    top: usize,
    output: &'a Output,
    outcome: Outcome,
}

impl Answers<'_> {
    fn say(&mut self, answer: &Answer, name: impl Fn(usize) -> String) {
        let path = escape(&answer.path);
        if let Err(reason) = &answer.probabilities {
            self.outcome = Outcome::BadData;
            say_left_out([reason]);
            if self.output.json {
                print(&json!({"path": path, "error": reason}).to_string());
            }
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
