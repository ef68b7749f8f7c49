//! Pictures that are copies of each other, or nearly so.

use std::collections::BTreeSet;

use rekindle_imagefolder::Looks;
use rekindle_transfer::TransferError;
use rekindle_transfer::features::{Features, Neighbor, nearest_neighbors};

use crate::disjoint_sets::DisjointSets;

/// Neighbours of each picture that are looked at: larger families of copies hang together by chains of these.
const LOOKED_AT: usize = 8;

/// Two ways to be a copy, each the least correlation of sketches and the least cosine of features: the same picture in another
/// compression, size or brightness keeps its sketch, and its features by and large; one with a little cut off keeps its
/// features, and its sketch by and large. Other products of one kind on white come close to both.
const SAME_SKETCH: (f32, f32) = (0.99, 0.75);
const SAME_FEATURES: (f32, f32) = (0.9, 0.98);

/// Two pictures that are copies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Copies {
    pub first: usize,
    pub second: usize,
    /// The cosine of their features.
    pub similarity: f32,
}

/// Finds copies among pictures with features `[n, dim]`, the most similar first; `nearest` are the neighbours of each by these
/// features.
pub(super) fn copies(
    features: &Features,
    nearest: &[Vec<Neighbor>],
    looks: &[&Looks],
) -> Result<Vec<Copies>, TransferError> {
    let dim = looks.first().map_or(1, |looks| looks.sketch.len()).max(1);
    let sketches: Vec<f32> = looks
        .iter()
        .flat_map(|looks| looks.sketch.iter().copied())
        .collect();
    let sketches = Features::new(sketches, dim)?;
    let by_sketch = nearest_neighbors(&sketches, &sketches, LOOKED_AT)?;
    let mut pairs = BTreeSet::new();
    for found in [nearest, &by_sketch] {
        for (own, found) in found.iter().enumerate() {
            for other in found
                .iter()
                .take(LOOKED_AT)
                .filter(|other| other.index != own)
            {
                pairs.insert((own.min(other.index), own.max(other.index)));
            }
        }
    }
    let features = features.l2_normalized();
    let mut copies: Vec<Copies> = pairs
        .into_iter()
        .filter_map(|(first, second)| {
            let products = features.row(first).iter().zip(features.row(second));
            let similarity: f32 = products.map(|(a, b)| a * b).sum();
            let correlation = looks[first].correlation(looks[second]);
            let is_copy = [SAME_SKETCH, SAME_FEATURES]
                .iter()
                .any(|(sketch, features)| correlation >= *sketch && similarity >= *features);
            is_copy.then_some(Copies {
                first,
                second,
                similarity: similarity.min(1.0),
            })
        })
        .collect();
    copies.sort_by(|a, b| {
        let by_place = (a.first, a.second).cmp(&(b.first, b.second));
        b.similarity.total_cmp(&a.similarity).then(by_place)
    });
    Ok(copies)
}

/// Returns the families that copies form, those of one picture left out.
pub(super) fn families(copies: &[Copies], pictures: usize) -> Vec<Vec<usize>> {
    let mut sets = DisjointSets::new(pictures);
    copies
        .iter()
        .for_each(|pair| sets.join(pair.first, pair.second));
    let mut families = vec![Vec::new(); pictures];
    for (picture, set) in sets.numbered().into_iter().enumerate() {
        families[set].push(picture);
    }
    families.retain(|family: &Vec<usize>| family.len() > 1);
    families
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_of_copies_are_one_family() {
        let pair = |first, second| Copies {
            first,
            second,
            similarity: 1.0,
        };
        let found = families(&[pair(0, 3), pair(4, 5), pair(2, 3)], 7);
        assert_eq!(found, [vec![0, 2, 3], vec![4, 5]]);
        assert!(families(&[], 3).is_empty());
    }
}
