//! How well a score tells one kind of image from another.

/// Computes the area under the ROC curve: the probability that a random one of `positives` scores higher than a random one
/// of `negatives`, where equal scores count as a half. 0.5 is chance. None where one of them is empty.
///
/// ```
/// use rekindle_transfer::features::auroc;
///
/// assert_eq!(auroc(&[0.9, 0.4], &[0.1, 0.4]), Some(0.875));
/// ```
pub fn auroc(positives: &[f64], negatives: &[f64]) -> Option<f64> {
    if positives.is_empty() || negatives.is_empty() {
        return None;
    }
    let mut all: Vec<(f64, bool)> = positives.iter().map(|score| (*score, true)).collect();
    all.extend(negatives.iter().map(|score| (*score, false)));
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut below, mut wins) = (0.0, 0.0);
    for equal in all.chunk_by(|a, b| a.0 == b.0) {
        let positive = equal.iter().filter(|(_, is_positive)| *is_positive).count() as f64;
        let negative = equal.len() as f64 - positive;
        wins += positive * (below + 0.5 * negative);
        below += negative;
    }
    Some(wins / (positives.len() as f64 * negatives.len() as f64))
}

/// Computes the share of `unknown` images that are taken for known ones by the strictest threshold that keeps at least the
/// share `kept` of the `known` ones, 0 to 1. Higher scores are more unknown. With `kept` = 0.95 it is the usual
/// false positive rate at 95 % true positives (FPR95; Liu et al. 2020). None where one of them is empty.
pub fn false_positive_rate(unknown: &[f64], known: &[f64], kept: f64) -> Option<f64> {
    if unknown.is_empty() {
        return None;
    }
    let mut known = known.to_vec();
    known.sort_by(f64::total_cmp);
    // The slack keeps a product such as 20 * 0.95 from being rounded over the whole number.
    let count = (known.len() as f64 * kept - 1e-9).ceil().max(1.0) as usize;
    let threshold = known.get(count - 1)?;
    let passed = unknown.iter().filter(|score| *score <= threshold).count();
    Some(passed as f64 / unknown.len() as f64)
}
