//! Classifies images with a trained network: the model from a run directory or a file of weights, and nothing else.
//!
//! ```text
//! cargo run --release --example classify -- out/ants_bees/features photo.jpg holiday
//! ```
//!
//! The program `rekindle predict` does the same with more to choose.

use std::error::Error;
use std::path::PathBuf;

use rekindle::device::DeviceName;
use rekindle::trainer::{Model, image_files};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [model, images @ ..] = arguments.as_slice() else {
        return Err(
            "give a run directory or a file of weights, and images or folders of them".into(),
        );
    };
    let model = Model::open(model, &DeviceName::Cpu.open()?)?;
    model.predict(&image_files(images)?, |answer| {
        match (&answer.probabilities, answer.top(1).first()) {
            (Ok(_), Some((class, probability))) => println!(
                "{}: {} {probability:.3}",
                answer.path.display(),
                model.class_name(*class)
            ),
            (Err(reason), _) => eprintln!("left out: {reason}"),
            (Ok(_), None) => {}
        }
    })?;
    Ok(())
}
