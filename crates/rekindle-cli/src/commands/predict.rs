use rekindle::files::names::{escape, printable};
use rekindle::trainer::{Interrupt, Model, image_files};
use serde_json::{Value, json};

use crate::arguments::{Output, Predict};
use crate::console::{print, say_left_out};
use crate::failure::{Failure, Outcome};

pub fn run(command: &Predict, output: Output) -> Result<Outcome, Failure> {
    let interrupt = Interrupt::on_ctrl_c()?;
    let options = command.part.options();
    let model = Model::open_with(&command.model, &options, &command.device.open()?)?;
    crate::weights::note(&model.found, &output);
    let model = command.asked.of(model, &interrupt)?;
    let images = image_files(&command.images)?;
    let mut outcome = Outcome::Done;
    model.predict(&images, |answer| {
        let path = escape(&answer.path);
        if let Err(reason) = &answer.probabilities {
            outcome = Outcome::BadData;
            say_left_out([reason]);
            if output.json {
                print(&json!({"path": path, "error": reason}).to_string());
            }
            return;
        }
        let top = answer.top(command.top);
        if output.json {
            let named: Vec<Value> = top
                .iter()
                .map(|(class, p)| json!({"class": model.class_name(*class), "probability": p}))
                .collect();
            print(&json!({"path": path, "predictions": named}).to_string());
        } else {
            let named: Vec<String> = top
                .iter()
                .map(|(class, p)| format!("{} {p:.3}", printable(&model.class_name(*class))))
                .collect();
            print(&format!("{}: {}", printable(&path), named.join(", ")));
        }
    })?;
    Ok(outcome)
}
