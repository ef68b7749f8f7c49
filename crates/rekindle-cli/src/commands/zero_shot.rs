//! Classes by words, for `predict --zero-shot`.

use burn::tensor::Device;
use rekindle::models::clip::{Clip, Tokenizer};
use rekindle::trainer::ZeroShot;
use rekindle::weights::LoadOptions;

use crate::arguments::{Output, Words};
use crate::failure::Failure;
use crate::weights::{path_of, show};

/// Placeholder in a template that stands for the class's words.
const PLACE: &str = "{}";

/// Reads both towers and the tokenizer, and encodes the classes.
pub fn open(words: &Words, output: &Output, device: &Device) -> Result<ZeroShot, Failure> {
    let sentences = sentences(words)?;
    let path = path_of(words.weights.as_deref(), &words.arch, output)?;
    // The name decides what no tensor tells.
    let architecture = words.weights.is_some() && words.arch.contains("quickgelu");
    let architecture = architecture.then_some(words.arch.as_str());
    let options = LoadOptions::default();
    let clip = Clip::open_with(&path, architecture, &options, device)?;
    output.note(&format!("{} from {}", clip.image.architecture, show(&path)));
    for assumed in &clip.image.assumptions {
        output.note(assumed);
    }
    let tokenizer = match &words.tokenizer {
        Some(path) => Tokenizer::open(path),
        None => Tokenizer::beside(&path),
    };
    let tokenizer = tokenizer?.with_context(clip.text.tower().context);
    let classes = sentences.into_iter().map(|(name, sentences)| {
        let tokens = sentences.iter().map(|text| tokenizer.encode(text));
        Ok((name, tokens.collect::<Result<Vec<_>, _>>()?))
    });
    let classes = classes.collect::<Result<Vec<_>, Failure>>()?;
    Ok(ZeroShot::new(clip, classes)?)
}

/// Returns each class's words with its sentences: the words in every template, or as they are.
fn sentences(words: &Words) -> Result<Vec<(String, Vec<String>)>, Failure> {
    let given = &words.zero_shot;
    if let Some(twice) = (1..given.len()).find(|at| given[..*at].contains(&given[*at])) {
        let twice = &given[twice];
        return Err(Failure::Usage(format!("--zero-shot names {twice:?} twice")));
    }
    if let Some(template) = words.template.iter().find(|text| !text.contains(PLACE)) {
        return Err(Failure::Usage(format!(
            "--template {template:?} has no {PLACE}, where the words of --zero-shot go"
        )));
    }
    let of = |class: &String| match words.template.as_slice() {
        [] => vec![class.clone()],
        templates => templates
            .iter()
            .map(|text| text.replace(PLACE, class))
            .collect(),
    };
    Ok(given
        .iter()
        .map(|class| (class.clone(), of(class)))
        .collect())
}
