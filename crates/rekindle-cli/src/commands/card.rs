//! The page that stands beside an exported model: `README.md` with the head that the Hugging Face hub reads.

use std::fmt::Write;
use std::path::Path;

use rekindle::files::names::{escape, printable, show};
use rekindle::imagefolder::{Channels, Preprocess, ResizeMode, Task};
use rekindle::models::Pretrained;
use rekindle::models::registry::Model;
use rekindle::report::RunReport;
use rekindle::trainer::{RunDirectory, TrainerError};
use serde_json::{Value, json};

use crate::arguments::{Export, Format};
use crate::console::counted;

/// Most classes that are listed by name; all of them are in the file.
const MOST_LISTED: usize = 100;

/// What a run says about the weights that it left.
pub struct Facts {
    title: String,
    /// Name of the folder of images, without the way to it.
    data: Option<String>,
    strategy: String,
    source: Option<String>,
    report: RunReport,
}

impl Facts {
    /// Reads them, where `model` is a run directory.
    pub fn of(model: &Path) -> Result<Option<Self>, TrainerError> {
        if !model.is_dir() {
            return Ok(None);
        }
        let run = RunDirectory::open(model)?;
        let record = run.record();
        let folder = record.data.get("folder").and_then(Value::as_str);
        Ok(Some(Self {
            title: record.title.clone(),
            data: folder.and_then(last).map(str::to_string),
            strategy: record.strategy_name(),
            source: record
                .weights
                .as_ref()
                .map(|weights| weights.source.clone()),
            report: RunReport::from_events(record.title.clone(), &run.events()?),
        }))
    }

    /// Lists figures on the validation images: the hub's name, a name for people, the value.
    fn figures(&self) -> Vec<(&'static str, &'static str, f64)> {
        let accuracy = self.report.best_accuracy();
        let is_ordinal = self.report.is_ordinal();
        let loss = self.report.best_loss();
        let loss = loss.filter(|_| accuracy.is_some() && !is_ordinal);
        let figure = |name: &str| self.report.best_epoch()?.figures.get(name).copied();
        let all = [
            accuracy.map(|value| ("accuracy", "Accuracy", value)),
            loss.map(|value| ("loss", "Cross-entropy", value)),
            figure("mae").map(|value| ("mae", "Mean absolute error", value)),
            figure("quadratic_weighted_kappa").map(|value| {
                let name = "quadratic_weighted_kappa";
                (name, "Quadratic weighted kappa", value)
            }),
            figure("rmse").map(|value| ("rmse", "Root of the mean squared error", value)),
            figure("r2").map(|value| ("r_squared", "R2", value)),
        ];
        all.into_iter()
            .flatten()
            .filter(|figure| figure.2.is_finite())
            .collect()
    }
}

/// Writes the page of a model in a format.
pub fn card(
    command: &Export,
    format: Format,
    pretrained: &Pretrained,
    facts: Option<&Facts>,
) -> String {
    let name = command
        .out
        .file_stem()
        .map_or_else(|| "model".into(), escape);
    let title = facts.map_or_else(|| printable(&name), |facts| printable(&facts.title));
    let mut page = head(command, &name, pretrained, facts);
    let is_classifier = pretrained.model.num_classes() > 0;
    let what = match (gives_numbers(pretrained), is_classifier) {
        (true, _) => "regression model",
        (false, true) => "classifier",
        (false, false) => "encoder",
    };
    let _ = write!(
        page,
        "\n# {}\n\nAn image {what}: {} at {} pixels",
        unmarked(&title),
        unmarked(&pretrained.architecture),
        pretrained.preprocess.crop
    );
    if let Some(facts) = facts {
        if let Some(data) = &facts.data {
            let _ = write!(page, ", trained on `{}`", code(data));
        }
        let _ = write!(page, " with the strategy `{}`", code(&facts.strategy));
        if let Some(source) = facts.source.as_deref().map(public) {
            let _ = write!(page, ", beginning with `{}`", code(source));
        }
    }
    page += ".\n";
    if command.quantize {
        page += "\nWeights and activations are rounded to eight bits; figures here are of the model before that.\n";
    }
    figures(&mut page, facts);
    classes(&mut page, pretrained);
    page += "\n## How to use it\n\n";
    page += &usage(command, format, pretrained);
    let _ = writeln!(
        page,
        "\n## Preprocessing\n\n{}{}",
        preprocessing(&pretrained.preprocess),
        match command.with_preprocessing {
            true => " The file does all of that itself.",
            false => "",
        }
    );
    page
}

/// How a picture becomes the network's input, in sentences.
fn preprocessing(preprocess: &Preprocess) -> String {
    let (resize, crop) = (preprocess.resize, preprocess.crop);
    let filter = json!(preprocess.interpolation);
    let filter = filter.as_str().unwrap_or_default();
    let square = match preprocess.mode {
        ResizeMode::Crop => format!(
            "The shorter side is resized to {resize} pixels ({filter}), the central {crop} x {crop} pixels are taken"
        ),
        ResizeMode::Squash => {
            format!(
                "The picture is resized to {crop} x {crop} pixels ({filter}), whatever its shape"
            )
        }
        ResizeMode::Letterbox => format!(
            "The longer side is resized to {crop} pixels ({filter}), the rest of {crop} x {crop} pixels is filled with the mean colour"
        ),
    };
    let of_each =
        |rgb: [f32; 3]| (preprocess.channels).map_or(Vec::from(rgb), |own| own.values(rgb));
    let scaled = match preprocess.channels {
        None => "values are scaled to 0..1".to_string(),
        Some(Channels { count, white }) => format!(
            "the picture's own {} {} divided by {}",
            counted(count, "channel", "channels"),
            if count == 1 { "is" } else { "are" },
            match white {
                Some(white) => white.to_string(),
                None =>
                    "the largest number of their type (255, 65535, or 1 for floating point)".into(),
            }
        ),
    };
    format!(
        "{square}; {scaled}, and have mean {:?} taken away and are divided by {:?}.",
        of_each(preprocess.mean),
        of_each(preprocess.std)
    )
}

/// Whether the model gives numbers, and no probabilities.
fn gives_numbers(pretrained: &Pretrained) -> bool {
    pretrained.task.as_deref() == Some(Task::Regression.name())
}

/// The head, as YAML; texts are written as JSON, which is a part of it.
fn head(command: &Export, name: &str, pretrained: &Pretrained, facts: Option<&Facts>) -> String {
    let is_classifier = pretrained.model.num_classes() > 0;
    let task = match (gives_numbers(pretrained), is_classifier) {
        (true, _) => "image-regression",
        (false, true) => "image-classification",
        (false, false) => "image-feature-extraction",
    };
    let license = command.license.as_deref().unwrap_or("unknown");
    // The hub has no pipeline for numbers.
    let pipeline = match gives_numbers(pretrained) {
        true => String::new(),
        false => format!("pipeline_tag: {task}\n"),
    };
    let mut head = format!(
        "---\nlicense: {}\nlibrary_name: rekindle\n{pipeline}tags:\n- {task}\n- transfer-learning\n- {}\n",
        json!(license),
        json!(pretrained.architecture)
    );
    let Some(facts) = facts else {
        return head + "---\n";
    };
    let hub = facts
        .source
        .as_deref()
        .and_then(|source| source.strip_prefix("hf:"));
    if let Some(base) = hub.and_then(|base| base.split(['@', ':']).next()) {
        let _ = writeln!(head, "base_model: {}", json!(base));
    }
    let figures = facts.figures();
    if !figures.is_empty() {
        head += "metrics:\n";
        for (kind, ..) in &figures {
            let _ = writeln!(head, "- {kind}");
        }
        let data = facts.data.as_deref().unwrap_or("images");
        let _ = write!(
            head,
            "model-index:\n- name: {}\n  results:\n  - task:\n      type: {task}\n    dataset:\n      type: imagefolder\n      \
             name: {}\n      split: validation\n    metrics:\n",
            json!(name),
            json!(data)
        );
        for (kind, title, value) in &figures {
            let _ = writeln!(
                head,
                "    - type: {kind}\n      name: {title}\n      value: {value}"
            );
        }
    }
    head + "---\n"
}

fn figures(page: &mut String, facts: Option<&Facts>) {
    let Some(facts) = facts else {
        return;
    };
    let figures = facts.figures();
    if figures.is_empty() {
        return;
    }
    let images = facts.report.validated_images();
    let images = images.map_or_else(String::new, |images| {
        format!(" ({})", counted(images, "image", "images"))
    });
    let _ = write!(
        page,
        "\n| on the validation images{images} | |\n|---|---|\n"
    );
    for (_, title, value) in figures {
        let _ = writeln!(page, "| {title} | {value:.4} |");
    }
}

fn classes(page: &mut String, pretrained: &Pretrained) {
    let Some(names) = pretrained
        .classes
        .as_ref()
        .filter(|names| !names.is_empty())
    else {
        return;
    };
    if gives_numbers(pretrained) {
        let _ = write!(
            page,
            "\n## Output\n\nOne number, in its own units:\n\n    {}\n",
            printable(&names.join(", "))
        );
        return;
    }
    let _ = write!(
        page,
        "\n## Classes\n\n{}, in the order of the logits",
        counted(names.len(), "class", "classes")
    );
    if names.len() > MOST_LISTED {
        let _ = write!(page, " (the first {MOST_LISTED}; all are in the file)");
    }
    *page += ":\n\n";
    // Indented, where nothing is markup.
    for name in names.iter().take(MOST_LISTED) {
        let _ = writeln!(page, "    {}", printable(name));
    }
}

fn usage(command: &Export, format: Format, pretrained: &Pretrained) -> String {
    let file = command
        .out
        .file_name()
        .map_or_else(|| show(&command.out), show);
    let file = code(&file);
    let ours = match pretrained.model.num_classes() > 0 {
        true => format!("rekindle predict {file} picture.jpg"),
        false => format!("rekindle features pictures --weights {file} --out features.safetensors"),
    };
    let mut text = format!("```sh\n{ours}\n```\n");
    text += &match format {
        Format::Onnx if command.with_preprocessing => format!(
            "\n```python\nimport numpy, onnxruntime\nfrom PIL import Image, ImageOps\n\n\
             picture = ImageOps.exif_transpose(Image.open(\"picture.jpg\")).convert(\"RGB\")\n\
             session = onnxruntime.InferenceSession(\"{file}\")\n\
             output = session.run(None, {{\"pixels\": numpy.asarray(picture)[None]}})[0]\n```\n"
        ),
        Format::Onnx => format!(
            "\n```python\nimport onnxruntime\n\nsession = onnxruntime.InferenceSession(\"{file}\")\n\
             output = session.run(None, {{\"images\": images}})[0]  # float32 [batch, {}, height, width], preprocessed as below\n```\n",
            pretrained.preprocess.num_channels()
        ),
        // A network that training made of a published one, such as with features of two levels.
        Format::Safetensors | Format::SafetensorsF16
            if Model::named(&pretrained.architecture).is_err() =>
        {
            format!(
                "\n`{}` is no published architecture: PyTorch has no module that takes these tensors. Training with \
                 `--keep-architecture` leaves one; ONNX runs everywhere.\n",
                code(&pretrained.architecture)
            )
        }
        Format::Safetensors | Format::SafetensorsF16 => format!(
            "\n```python\nfrom safetensors.torch import load_file\n\n\
             model.load_state_dict(load_file(\"{file}\"), strict=True)  # of this architecture and number of classes\n```\n"
        ),
        Format::Burnpack => String::new(),
    };
    text
}

/// The last part of a path or an address.
fn last(path: &str) -> Option<&str> {
    path.rsplit(['/', '\\']).find(|part| !part.is_empty())
}

/// A source of weights without the folders of the machine it was on.
fn public(source: &str) -> &str {
    match source.starts_with("hf:") || source.contains("://") {
        true => source,
        false => last(source).unwrap_or(source),
    }
}

/// A name inside of code.
fn code(name: &str) -> String {
    printable(name).replace('`', "'")
}

/// A name outside of code.
fn unmarked(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for c in name.chars() {
        if c.is_ascii_punctuation() && !"-.,_/=:".contains(c) {
            text.push('\\');
        }
        text.push(c);
    }
    text
}
