//! Chooses among several networks that fit, where a public convention says which is meant.

use std::collections::HashSet;

use super::found::Found;
use crate::error::printable;

/// Keys under which training programs keep other things than the model.
const BESIDE: [&str; 8] = [
    "args",
    "callbacks",
    "cfg",
    "config",
    "hparams",
    "hyper_parameters",
    "optimizer",
    "optimizer_states",
];

/// A public convention about two networks in one file.
struct Convention {
    take: &'static str,
    over: &'static str,
    /// The two are keys of the file, and not parts of names.
    is_key: bool,
    why: &'static str,
    projection: Option<&'static str>,
}

const PROJECTION: Option<&str> =
    Some("the layer behind its trunk is the projection of contrastive learning, not a classifier");

const CONVENTIONS: [Convention; 5] = [
    Convention {
        take: "encoder_q",
        over: "encoder_k",
        is_key: false,
        why: "MoCo's query encoder",
        projection: PROJECTION,
    },
    Convention {
        take: "base_encoder",
        over: "momentum_encoder",
        is_key: false,
        why: "MoCo's base encoder",
        projection: PROJECTION,
    },
    Convention {
        take: "teacher",
        over: "student",
        is_key: true,
        why: "DINO's teacher",
        projection: None,
    },
    Convention {
        take: "state_dict_ema",
        over: "state_dict",
        is_key: true,
        why: "the moving average, as timm takes it",
        projection: None,
    },
    Convention {
        take: "model_ema",
        over: "model",
        is_key: true,
        why: "the moving average, as torchvision evaluates it",
        projection: None,
    },
];

/// Leaves the one network that is meant, where that is known, and says why; otherwise all.
pub(super) fn choose<C>(fits: &mut Vec<Found<C>>) -> String {
    let is_beside = |found: &Found<C>| {
        found
            .parts()
            .first()
            .is_some_and(|key| BESIDE.contains(key))
    };
    if fits.iter().any(|found| !is_beside(found)) {
        fits.retain(|found| !is_beside(found));
    }
    let [a, b] = &fits[..] else {
        return String::new();
    };
    if !a.is_same_trunk(b) {
        return String::new();
    }
    let meant = CONVENTIONS.iter().find_map(|convention| {
        let first = convention.holds(a, b).then_some((convention, 0));
        first.or_else(|| convention.holds(b, a).then_some((convention, 1)))
    });
    let Some((convention, index)) = meant else {
        return String::new();
    };
    let mut taken = fits.swap_remove(index);
    taken.projection = convention.projection;
    *fits = vec![taken];
    let flag = if convention.is_key { "key" } else { "prefix" };
    format!(
        "{}; for the other: --weights-{flag} {}",
        convention.why, convention.over
    )
}

impl Convention {
    fn holds<C>(&self, take: &Found<C>, other: &Found<C>) -> bool {
        let (take, other) = (take.parts(), other.parts());
        if self.is_key {
            return take.first() == Some(&self.take) && other.first() == Some(&self.over);
        }
        take.len() == other.len()
            && take.contains(&self.take)
            && take
                .iter()
                .zip(&other)
                .all(|(a, b)| a == b || (*a == self.take && *b == self.over))
    }
}

/// Says how to choose among networks: by the key, where the keys differ, or by the prefix.
pub(super) fn advice<C>(fits: &[Found<C>]) -> String {
    let keys: HashSet<Option<&str>> = fits
        .iter()
        .map(|found| found.parts().first().copied())
        .collect();
    let example = fits.iter().rev().find(|found| !found.prefix.is_empty());
    let Some(example) = example else {
        return "choose one with --weights-prefix".to_string();
    };
    let (flag, value) = match example.parts().first() {
        Some(key) if keys.len() == fits.len() => ("--weights-key", (*key).to_string()),
        _ => (
            "--weights-prefix",
            example.prefix.trim_end_matches('.').to_string(),
        ),
    };
    format!("choose one, such as with {flag} {}", printable(&value))
}
