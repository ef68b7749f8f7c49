//! `evaluate --reject`: images of known classes that are rejected, and of unknown ones that pass.

use rekindle::trainer::{Evaluated, Model, RejectionRates, image_files};

use crate::arguments::Evaluate;
use crate::checks;
use crate::console::{counted, percent};
use crate::failure::Failure;

/// Returns how well images are rejected, and why some of unknown classes can't be read; none without `--reject`.
pub fn measured(
    command: &Evaluate,
    model: &Model,
    found: &Evaluated,
) -> Result<Option<(RejectionRates, Vec<String>)>, Failure> {
    let (Some(asked), Some(known)) = (command.asked.reject, &found.unknown_scores) else {
        return Ok(None);
    };
    let (mut scores, mut unread) = (Vec::new(), Vec::new());
    if let Some(folder) = &command.unknown {
        checks::images(folder)?;
        model.predict(&image_files(std::slice::from_ref(folder))?, |answer| {
            scores.extend(answer.unknown.map(|check| check.score));
            unread.extend(answer.probabilities.err());
        })?;
    }
    let unknown = command.unknown.as_ref().map(|_| scores.as_slice());
    let rates = RejectionRates::measure(&model.detector()?, asked, known, unknown)?;
    Ok(Some((rates, unread)))
}

/// Returns lines to go below the others.
pub fn said(rates: &RejectionRates) -> String {
    let mut text = format!(
        "\n\nrejected as unknown by {}: {} of the images ({} asked)",
        rates.score,
        percent(rates.known_rejected),
        percent(rates.asked)
    );
    if let Some(unknown) = &rates.unknown {
        text.push_str(&format!(
            "\nof {} of unknown classes {} rejected: AUROC {:.3}; where 95 % of the known ones pass, {} of the unknown \
             ones do (FPR95)",
            counted(unknown.images, "image", "images"),
            percent(unknown.rejected),
            unknown.auroc,
            percent(unknown.false_positive_rate)
        ));
    }
    text
}
