//! Running an example and reading what it prints.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::Failure;

/// One method's results, one a seed or a set.
pub struct Row {
    pub name: String,
    pub values: Vec<f64>,
}

impl Row {
    fn mean_and_spread(&self) -> (f64, f64) {
        let n = self.values.len().max(1) as f64;
        let mean = self.values.iter().sum::<f64>() / n;
        let squares: f64 = self.values.iter().map(|value| (value - mean).powi(2)).sum();
        (mean, (squares / (n - 1.0).max(1.0)).sqrt())
    }

    pub fn as_json(&self) -> Value {
        let (mean, spread) = self.mean_and_spread();
        json!({"name": self.name, "mean": mean, "spread": spread, "values": self.values})
    }

    pub fn as_markdown(&self) -> String {
        let (mean, spread) = self.mean_and_spread();
        let spread = match self.values.len() {
            0 | 1 => String::new(),
            _ => format!("{spread:.3}"),
        };
        format!(
            "| {} | {mean:.3} | {spread} | {} |",
            self.name,
            self.values.len()
        )
    }
}

/// Adds results of one more run: values of rows that are there already go to these.
pub fn merge(rows: &mut Vec<Row>, more: Vec<Row>) {
    for row in more {
        match rows.iter_mut().find(|known| known.name == row.name) {
            Some(known) => known.values.extend(row.values),
            None => rows.push(row),
        }
    }
}

/// Command that starts another example.
pub struct Examples {
    /// The folder of their programs; none to leave it to cargo.
    folder: Option<PathBuf>,
}

impl Examples {
    /// By the cargo that runs this program: they are built as far as needed.
    pub fn by_cargo() -> Self {
        Self { folder: None }
    }

    /// As they lie beside this program.
    pub fn beside_this() -> Result<Self, Failure> {
        let this = std::env::current_exe()?;
        Ok(Self {
            folder: this.parent().map(Path::to_path_buf),
        })
    }

    /// Runs an example and returns what it prints.
    pub fn run(&self, name: &str, arguments: &[String]) -> Result<String, Failure> {
        let mut command = match &self.folder {
            Some(folder) => Command::new(folder.join(name)),
            None => {
                let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
                let mut command = Command::new(cargo);
                command.args(["run", "--release", "--quiet", "--example", name, "--"]);
                command
            }
        };
        let output = command.args(arguments).stderr(Stdio::inherit()).output()?;
        match output.status.success() {
            true => Ok(String::from_utf8(output.stdout)?),
            false => Err(format!("the example {name} failed: {}", output.status).into()),
        }
    }
}

/// Lines of `{"method", "seeds", …}` as [`Table`](../common/table.rs) prints them; other entries name the row further.
pub fn seeds(printed: &str) -> Result<Vec<Row>, Failure> {
    lines(printed)?
        .iter()
        .map(|line| {
            let values = line["seeds"].as_array().ok_or("a line without seeds")?;
            let conditions: Vec<String> = line
                .as_object()
                .into_iter()
                .flatten()
                .filter(|(key, _)| !["method", "mean", "spread", "seeds"].contains(&key.as_str()))
                .map(|(key, value)| match value {
                    Value::String(value) => value.clone(),
                    value => format!("{key} {value}"),
                })
                .collect();
            Ok(Row {
                name: std::iter::once(text(&line["method"]))
                    .chain(conditions)
                    .collect::<Vec<_>>()
                    .join(", "),
                values: values.iter().filter_map(Value::as_f64).collect(),
            })
        })
        .collect()
}

/// Lines of `{"method", …}` with a single figure under one of the known names.
pub fn figures(printed: &str) -> Result<Vec<Row>, Failure> {
    const FIGURES: [&str; 3] = ["accuracy", "mean_class_accuracy", "harmonic_mean"];
    let mut rows = Vec::new();
    for line in lines(printed)? {
        let (figure, value) = FIGURES
            .iter()
            .find_map(|figure| Some((figure, line[figure].as_f64()?)))
            .ok_or("a line without a figure")?;
        let ways = line["ways"].as_u64().zip(line["shots"].as_u64());
        let task = ways.map_or(String::new(), |(ways, shots)| {
            format!(", {ways}-way {shots}-shot")
        });
        let figure = if *figure == "harmonic_mean" {
            ", harmonic mean"
        } else {
            ""
        };
        rows.push(Row {
            name: format!("{}{task}{figure}", text(&line["method"])),
            values: vec![value],
        });
    }
    Ok(rows)
}

/// An array of objectives, each with all pairs of domains.
pub fn objectives(printed: &str) -> Result<Vec<Row>, Failure> {
    let all: Value = serde_json::from_str(printed)?;
    let mut rows = Vec::new();
    for objective in all.as_array().ok_or("no list of objectives")? {
        let pairs = objective["pairs"].as_array().ok_or("no pairs")?;
        let name = text(&objective["objective"]);
        if pairs.len() < 12 {
            rows.extend(pairs.iter().map(|pair| Row {
                name: format!(
                    "{name}, {} to {}",
                    text(&pair["source"]),
                    text(&pair["target"])
                ),
                values: numbers(&pair["accuracies"]),
            }));
            continue;
        }
        let of_pairs: Vec<Vec<f64>> = pairs
            .iter()
            .map(|pair| numbers(&pair["accuracies"]))
            .collect();
        let seeds = of_pairs.iter().map(Vec::len).min().unwrap_or(0);
        let of_seed =
            |seed: usize| of_pairs.iter().map(|pair| pair[seed]).sum::<f64>() / pairs.len() as f64;
        rows.push(Row {
            name: format!("{name}, mean of {} pairs", pairs.len()),
            values: (0..seeds).map(of_seed).collect(),
        });
        rows.push(Row {
            name: format!(
                "{name}, mean of {} pairs, seeds' mean probabilities",
                pairs.len()
            ),
            values: objective["mean_of_ensembles"]
                .as_f64()
                .into_iter()
                .collect(),
        });
    }
    Ok(rows)
}

/// An array of ways with a class's and a style's accuracies.
pub fn tasks(printed: &str) -> Result<Vec<Row>, Failure> {
    let all: Value = serde_json::from_str(printed)?;
    let mut rows = Vec::new();
    for way in all.as_array().ok_or("no list of ways")? {
        let seeds = way["seeds"].as_array().ok_or("no seeds")?;
        for (at, task) in ["class", "style"].into_iter().enumerate() {
            rows.push(Row {
                name: format!("{}: {task}", text(&way["tasks"])),
                values: seeds.iter().filter_map(|seed| seed[at].as_f64()).collect(),
            });
        }
    }
    Ok(rows)
}

/// Advice with its checks: how far the choice was from the best, and the estimate from what was found.
pub fn advice(printed: &str) -> Result<Vec<Row>, Failure> {
    let found: Value = serde_json::from_str(printed)?;
    let checks = found["checks"].as_array().ok_or("no checks")?;
    let of = |value: fn(&Value) -> Option<f64>| checks.iter().filter_map(value).collect();
    let row = |name: &str, values| Row {
        name: name.to_string(),
        values,
    };
    Ok(vec![
        row(
            "accuracy of the backbone advised",
            of(|check| check["chosen"].as_f64()),
        ),
        row(
            "accuracy of the best backbone",
            of(|check| check["best"].as_f64()),
        ),
        row(
            "accuracy that was expected",
            of(|check| check["expected"]["accuracy"].as_f64()),
        ),
        row(
            "found within the 95 % interval",
            of(|check| {
                let chosen = check["chosen"].as_f64()?;
                let (low, high) = (
                    check["expected"]["low"].as_f64()?,
                    check["expected"]["high"].as_f64()?,
                );
                Some(f64::from(u8::from(low <= chosen && chosen <= high)))
            }),
        ),
    ])
}

fn lines(printed: &str) -> Result<Vec<Value>, Failure> {
    let lines = printed.lines().filter(|line| !line.trim().is_empty());
    Ok(lines.map(serde_json::from_str).collect::<Result<_, _>>()?)
}

fn numbers(value: &Value) -> Vec<f64> {
    value
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_f64)
        .collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_string()
}
