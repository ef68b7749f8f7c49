//! Two tasks at once on kept features, with labels of either for half of the pictures: what they show, and in which style.
//!
//! ```text
//! cargo run --release --example multi_task -- photo.safetensors art.safetensors cartoon.safetensors sketch.safetensors
//! ```
//!
//! Each file is one style, as `extract_features` wrote it. A few pictures per class and style are learnt from and the others are
//! the test; both tasks together are compared with each alone. `--json` prints the table for a program.

mod common;
#[path = "domain_adaptation_objectives/domain.rs"]
#[allow(dead_code, reason = "shared with another example")]
mod domain;

use std::path::PathBuf;
use std::process::ExitCode;

use burn::tensor::Device;
use clap::Parser;
use rekindle::transfer::features::Features;
use rekindle::transfer::objective::{MultiTask, TaskLabels, Weighting};
use serde_json::json;

use common::Failure;
use domain::Domain;

/// Learns class and style together and alone.
#[derive(Debug, Parser)]
struct Arguments {
    /// Files of features, one a style
    #[arg(required = true, num_args = 2..)]
    styles: Vec<PathBuf>,
    /// Pictures per class and style to learn from; every other one lacks the label of one task
    #[arg(long, default_value_t = 4)]
    shots: usize,
    /// Seeds to average over: 0, 1, ...
    #[arg(long, default_value_t = 3)]
    seeds: u64,
    /// Print JSON in place of a table
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    common::outcome::exit_code(run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result<(), Failure> {
    let device = Device::flex();
    let styles = Domain::open_all(&arguments.styles, None, &device)?;
    let (train, test) = split(&styles, arguments.shots)?;
    let fixed = |weights: [f64; 2]| Weighting::Fixed {
        weights: weights.to_vec(),
    };
    let ways = [
        ("class alone", fixed([1.0, 0.0])),
        ("style alone", fixed([0.0, 1.0])),
        ("both, fixed", fixed([1.0, 1.0])),
        ("both, uncertainty", Weighting::Uncertainty),
        ("both, PCGrad", Weighting::PcGrad),
    ];
    let mut rows = Vec::new();
    for (name, weighting) in ways {
        let mut accuracies = Vec::new();
        for seed in 0..arguments.seeds {
            let settings = MultiTask {
                seed,
                ..MultiTask::new(weighting.clone())
            };
            let heads = settings.fit(&train.features, &train.tasks, &device)?;
            let predictions = heads.predict(&test.features)?;
            accuracies.push([0, 1].map(|task| test.accuracy(task, &predictions[task])));
        }
        let mean = [0, 1].map(|task| {
            accuracies.iter().map(|run| run[task]).sum::<f64>() / accuracies.len().max(1) as f64
        });
        if !arguments.json {
            println!("{name:18} class {:.3}  style {:.3}", mean[0], mean[1]);
        }
        rows.push(json!({"tasks": name, "class": mean[0], "style": mean[1], "seeds": accuracies}));
    }
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&rows)?);
    }
    Ok(())
}

/// Pictures with their class and their style.
struct Pictures {
    features: Features,
    tasks: Vec<TaskLabels>,
}

impl Pictures {
    fn accuracy(&self, task: usize, predictions: &[usize]) -> f64 {
        let pairs = predictions.iter().zip(&self.tasks[task].labels);
        pairs
            .filter(|(found, label)| Some(**found) == **label)
            .count() as f64
            / predictions.len().max(1) as f64
    }
}

/// The first `shots` of each class and style, each with one of its two labels; and all others.
fn split(styles: &[Domain], shots: usize) -> Result<(Pictures, Pictures), Failure> {
    let dim = styles[0].features.dim();
    let classes = styles[0].classes.len();
    let mut values = [Vec::new(), Vec::new()];
    let mut labels: [Vec<(Option<usize>, Option<usize>)>; 2] = Default::default();
    for (style, domain) in styles.iter().enumerate() {
        let mut seen = vec![0_usize; classes];
        for (row, class) in domain.labels.iter().enumerate() {
            let is_test = seen[*class] >= shots;
            let knows_class = is_test || usize::is_multiple_of(seen[*class], 2);
            let knows_style = is_test || !knows_class;
            seen[*class] += 1;
            values[usize::from(is_test)].extend_from_slice(domain.features.row(row));
            labels[usize::from(is_test)]
                .push((knows_class.then_some(*class), knows_style.then_some(style)));
        }
    }
    let [train, test] = values;
    let pictures = |values: Vec<f32>, labels: &[(Option<usize>, Option<usize>)]| {
        let tasks = vec![
            TaskLabels {
                labels: labels.iter().map(|label| label.0).collect(),
                classes,
            },
            TaskLabels {
                labels: labels.iter().map(|label| label.1).collect(),
                classes: styles.len(),
            },
        ];
        Ok::<_, Failure>(Pictures {
            features: Features::new(values, dim)?,
            tasks,
        })
    };
    Ok((pictures(train, &labels[0])?, pictures(test, &labels[1])?))
}
