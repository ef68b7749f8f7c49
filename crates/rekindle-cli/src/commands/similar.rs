use rekindle::files::names::{escape, printable};
use rekindle::trainer::{FoundSimilar, Interrupt, SimilarAnswer, image_files};
use serde_json::{Value, json};

use crate::arguments::{Output, Similar};
use crate::checks;
use crate::console::{print, say_left_out};
use crate::failure::{Failure, Outcome};
use crate::tables::{Images, Table};

pub fn run(command: &Similar, output: Output) -> Result<Outcome, Failure> {
    let index = Images::of(Some(&command.index), &Table::default())?;
    index.check()?;
    if let Some(kept) = &command.looking.cache {
        index.outside("--cache", kept)?;
        checks::folder(kept)?;
    }
    let images = image_files(&command.images)?;
    let interrupt = Interrupt::on_ctrl_c()?;
    let device = command.looking.device.open()?;
    output.layout(&index.listing()?, "");
    let pretrained = command.weights.open(&output, &device)?;
    let mut similar = rekindle::trainer::Similar::new(&device)
        .count(command.top)
        .workers(command.looking.workers)
        .interrupt(interrupt)
        .observer(output.observer());
    if let Some(folder) = &command.looking.cache {
        similar = similar.cache(folder);
    }
    let found = similar.run(&pretrained, &command.index, &images)?;
    say_left_out(found.skipped.iter().map(|skipped| &skipped.reason));
    for answer in &found.answers {
        match output.json {
            true => print(&as_json(&found, answer).to_string()),
            false => print(&as_text(&found, answer)),
        }
    }
    Ok(match found.skipped.is_empty() {
        true => Outcome::Done,
        false => Outcome::BadData,
    })
}

fn as_json(found: &FoundSimilar, answer: &SimilarAnswer) -> Value {
    let neighbors = answer.neighbors.iter().map(|neighbor| {
        let class = found.labels[neighbor.index].map(|label| &found.classes[label]);
        json!({
            "path": escape(&found.paths[neighbor.index]), "similarity": neighbor.similarity, "class": class,
        })
    });
    json!({"path": escape(&answer.path), "similar": neighbors.collect::<Vec<Value>>()})
}

fn as_text(found: &FoundSimilar, answer: &SimilarAnswer) -> String {
    let neighbors = answer.neighbors.iter().map(|neighbor| {
        let path = escape(&found.paths[neighbor.index]);
        format!("{} {:.3}", printable(&path), neighbor.similarity)
    });
    let neighbors: Vec<String> = neighbors.collect();
    format!(
        "{}: {}",
        printable(&escape(&answer.path)),
        neighbors.join(", ")
    )
}
