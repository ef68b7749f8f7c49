use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::{Duration, Instant};

use burn::tensor::{Device, Distribution, Tensor};
use rekindle::models::{self, Model, Options, Weights, models as all};
use rekindle::nn::{Graph, Network};
use rekindle::trainer::Interrupt;
use serde_json::{Value, json};

use crate::arguments::{Models, Output};
use crate::console::print;
use crate::failure::{Failure, Outcome};

/// Images that go through a network together where its speed is measured.
const BATCH: usize = 8;

pub fn run(command: &Models, output: Output) -> Result<Outcome, Failure> {
    let word = command.search.clone().unwrap_or_default().to_lowercase();
    let found: Vec<&Model> = all().iter().filter(|m| m.name.contains(&word)).collect();
    if found.is_empty() {
        return Err(Failure::Usage(format!(
            "no model's name contains {word:?}; without --search all {} are listed",
            all().len()
        )));
    }
    let device = command.device.open()?;
    let interrupt = Interrupt::on_ctrl_c()?;
    let mut listed = Vec::with_capacity(found.len());
    for model in found {
        let graph = (model.describe)(&Options::default()).map_err(models::Error::from)?;
        let mut rates = BTreeMap::new();
        let sides = model.weights.iter().map(|weights| weights.preprocess.crop);
        for side in sides.filter(|_| command.measure) {
            if let Entry::Vacant(rate) = rates.entry(side) {
                rate.insert(images_per_second(&graph, side, &device, &interrupt)?);
            }
        }
        listed.push(describe(model, &graph, &rates)?);
    }
    if output.json {
        print(&Value::from(listed).to_string());
    } else {
        table(&listed);
    }
    Ok(Outcome::Done)
}

fn describe(model: &Model, graph: &Graph, rates: &BTreeMap<usize, f64>) -> Result<Value, Failure> {
    let multiply_adds = |side| {
        let counted = graph.multiply_adds(side, side);
        counted.map_err(models::Error::from)
    };
    let weights = model.weights.iter().map(|weights| {
        let mut described = json!({
            "name": weights.name,
            "input": weights.preprocess.crop,
            "multiply_adds": multiply_adds(weights.preprocess.crop)?,
            "top1": weights.top1,
            "top5": weights.top5,
            "size_mib": size_mib(weights, graph),
            "licence": weights.licence,
            "classes": weights.classes,
        });
        if let Some(rate) = rates.get(&weights.preprocess.crop) {
            described["images_per_second"] = json!((rate * 10.0).round() / 10.0);
        }
        Ok(described)
    });
    Ok(json!({
        "model": model.name,
        "parameters": graph.num_params(),
        "features": graph.head().features,
        "stages": graph.stage_names(),
        "weights": weights.collect::<Result<Vec<_>, Failure>>()?,
    }))
}

/// Returns the published size in MiB, or the size of the parameters alone where none is published.
fn size_mib(weights: &Weights, graph: &Graph) -> f64 {
    let parameters = (4 * graph.num_params()) as f64 / f64::from(1 << 20);
    weights
        .size_mib
        .unwrap_or((10.0 * parameters).round() / 10.0)
}

/// Measures the median of some forward passes after a first one.
fn images_per_second(
    graph: &Graph,
    side: usize,
    device: &Device,
    interrupt: &Interrupt,
) -> Result<f64, Failure> {
    let network = Network::new(graph.clone(), 0, device);
    let shape = [BATCH, 3, side, side];
    let images = Tensor::<4>::random(shape, Distribution::Normal(0.0, 1.0), device);
    // Reading a value back waits until the device has finished.
    let pass = || drop(network.forward(images.clone()).into_data());
    pass();
    let begun = Instant::now();
    let mut seconds = Vec::new();
    while seconds.len() < 3 || begun.elapsed() < Duration::from_secs(1) {
        interrupt.check()?;
        let before = Instant::now();
        pass();
        seconds.push(before.elapsed().as_secs_f64());
    }
    seconds.sort_by(f64::total_cmp);
    Ok(BATCH as f64 / seconds[seconds.len() / 2])
}

fn table(listed: &[Value]) {
    let mut all = listed.iter().flat_map(|model| model["weights"].as_array());
    let has_rate = all.any(|all| all.iter().any(|w| !w["images_per_second"].is_null()));
    let rate_title = if has_rate { "  images/s" } else { "" };
    print(&format!(
        "{:<44} {:>7} {:>7} {:>5} {:>6} {:>6}  {:<10}{rate_title}",
        "name for --arch", "params", "MACs", "input", "top-1", "MiB", "licence"
    ));
    for model in listed {
        for weights in model["weights"].as_array().into_iter().flatten() {
            let number = |value: &Value, scale: f64, digits: usize| {
                let number = value.as_f64();
                number.map_or_else(|| "-".into(), |n| format!("{:.digits$}", n / scale))
            };
            let name = [&model["model"], &weights["name"]];
            let name = name.map(|text| text.as_str().unwrap_or_default()).join(".");
            let rate = match has_rate {
                true => format!("  {:>8}", number(&weights["images_per_second"], 1.0, 1)),
                false => String::new(),
            };
            print(&format!(
                "{name:<44} {:>6}M {:>6}G {:>5} {:>6} {:>6}  {:<10}{rate}",
                number(&model["parameters"], 1e6, 1),
                number(&weights["multiply_adds"], 1e9, 2),
                weights["input"],
                number(&weights["top1"], 1.0, 2),
                number(&weights["size_mib"], 1.0, 1),
                weights["licence"].as_str().unwrap_or("-"),
            ));
        }
    }
}
