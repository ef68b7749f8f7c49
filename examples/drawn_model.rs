//! A model to give away: the built-in network, fine-tuned on drawn ants and bees, with a few pictures to try it on.
//!
//! ```text
//! cargo run --release --example drawn_model -- out/drawn
//! ```
//!
//! Leaves `model.safetensors`, which needs nothing else, and `samples/` with pictures that it was not trained on.

use std::error::Error;
use std::path::PathBuf;

use rekindle::device::DeviceName;
use rekindle::drawings::{DrawingTask, SOURCE_WEIGHTS, Split, TargetTask};
use rekindle::models::Pretrained;
use rekindle::trainer::{Progress, ProgressMode, Recipe, Schedule, Trainer, TransferData};
use rekindle::transfer::Strategy;

const SEED: u64 = 0;
const SAMPLES: usize = 4;

fn main() -> Result<(), Box<dyn Error>> {
    let Some(out) = std::env::args_os().nth(1).map(PathBuf::from) else {
        return Err("give the folder to write into".into());
    };
    std::fs::create_dir_all(out.join("samples"))?;
    let work = out.join("drawings");
    TargetTask.write_folder(&work, 60, 100, SEED)?;
    let device = DeviceName::Cpu.open()?;
    let source = Pretrained::from_safetensors("built-in", SOURCE_WEIGHTS.to_vec(), &device)?;
    let data = TransferData::open(&work, &source.preprocess, SEED)?;
    let recipe = Recipe {
        epochs: 15,
        batch_size: 16,
        learning_rate: 0.01,
        schedule: Schedule::cosine(),
        seed: SEED,
        ..Recipe::tutorial()
    };
    let fitted = Trainer::adapt(&source, data, Strategy::fine_tuning(), SEED)
        .recipe(recipe)
        .observer(Progress::new(ProgressMode::Auto))
        .fit()?;
    let model = out.join("model.safetensors");
    fitted.save(&model)?;

    let mut names = Vec::new();
    for (class, class_name) in TargetTask.class_names().iter().enumerate() {
        for index in 0..SAMPLES {
            let name = format!("{class_name}-{index}.png");
            // Beyond the ones that the validation images are.
            let picture = TargetTask.draw(class, Split::Val, 1000 + index, SEED);
            picture.save(out.join("samples").join(&name))?;
            names.push(name);
        }
    }
    std::fs::write(
        out.join("samples/list.json"),
        serde_json::to_string(&names)?,
    )?;
    std::fs::remove_dir_all(&work)?;
    println!(
        "{}: accuracy {:.3} on {} drawings",
        model.display(),
        fitted.best_accuracy(),
        fitted.predictions.labels.len()
    );
    Ok(())
}
