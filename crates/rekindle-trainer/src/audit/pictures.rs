//! Pictures that stand out by size, light or sharpness.

use rekindle_imagefolder::Looks;

use super::finding::FindingKind;

/// Lights below this are dark.
const DARK: f32 = 0.3;

/// Shadows above this are bright.
const BRIGHT: f32 = 0.95;

/// Standard deviations of the luma below this are one colour.
const BLANK: f32 = 2.0 / 255.0;

/// Pictures whose shorter side is less than this share of the longer one are of an odd shape.
const NARROW: f64 = 1.0 / 3.0;

/// Spans of the middle half beyond which something is far out (Tukey 1977, "Exploratory Data Analysis").
const FAR_OUT: f64 = 3.0;

/// The least ratio to the median that is odd, where the others hardly differ.
const LEAST_RATIO: f64 = 2.0;

/// Finds the pictures that stand out, as (position, kind, score); what can't be told of few pictures is not told.
pub(super) fn stand_out(looks: &[(usize, &Looks)]) -> Vec<(usize, FindingKind, f64)> {
    let mut found = Vec::new();
    let sides: Vec<f64> = looks.iter().map(|(_, of)| side(of)).collect();
    let sharpness: Vec<f64> = looks
        .iter()
        .map(|(_, of)| f64::from(of.sharpness).max(1e-3))
        .collect();
    let (usual_side, usual_sharpness) = (Usual::of(&sides), Usual::of(&sharpness));
    for (at, (index, of)) in looks.iter().enumerate() {
        let mut tell = |kind, score: f64| found.push((*index, kind, score.clamp(0.0, 1.0)));
        let ratio = f64::from(of.width.min(of.height)) / f64::from(of.width.max(of.height).max(1));
        if ratio < NARROW {
            tell(FindingKind::OddShape, 1.0 - ratio);
        }
        if let Some(usual) = &usual_side
            && usual.is_far_out(sides[at])
        {
            let ratio = (sides[at] / usual.median).min(usual.median / sides[at]);
            tell(FindingKind::OddSize, 1.0 - ratio);
        }
        // What is dark, bright or of one colour can't be sharp.
        if of.contrast < BLANK {
            tell(FindingKind::Blank, 1.0);
        } else if of.lights < DARK {
            tell(FindingKind::Dark, f64::from(1.0 - of.lights));
        } else if of.shadows > BRIGHT {
            tell(FindingKind::Bright, f64::from(of.shadows));
        } else if let Some(usual) = &usual_sharpness
            && sharpness[at] < usual.median
            && usual.is_far_out(sharpness[at])
        {
            tell(FindingKind::Blurred, 1.0 - sharpness[at] / usual.median);
        }
    }
    found
}

/// Finds values that are far above the others, as positions; for distances that are at least 0.
pub(super) fn far_above(values: &[f64]) -> Vec<usize> {
    let Some((low, _, high)) = quartiles(values) else {
        return Vec::new();
    };
    let bound = high + FAR_OUT * (high - low);
    (0..values.len())
        .filter(|at| values[*at] > bound && values[*at] > 0.0)
        .collect()
}

/// The side of a square with as many pixels.
fn side(looks: &Looks) -> f64 {
    (f64::from(looks.width) * f64::from(looks.height))
        .sqrt()
        .max(1.0)
}

/// The middle half of positive values, by their logarithms.
struct Usual {
    median: f64,
    low: f64,
    high: f64,
}

impl Usual {
    fn of(values: &[f64]) -> Option<Self> {
        let logs: Vec<f64> = values.iter().map(|value| value.ln()).collect();
        let (low, median, high) = quartiles(&logs)?;
        let reach = (FAR_OUT * (high - low)).max(0.0);
        let least = LEAST_RATIO.ln();
        Some(Self {
            median: median.exp(),
            low: (low - reach).min(median - least).exp(),
            high: (high + reach).max(median + least).exp(),
        })
    }

    fn is_far_out(&self, value: f64) -> bool {
        value < self.low || value > self.high
    }
}

/// Quartiles of at least eight values; of fewer nothing is usual.
fn quartiles(values: &[f64]) -> Option<(f64, f64, f64)> {
    const LEAST: usize = 8;
    if values.len() < LEAST {
        return None;
    }
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |share: f64| {
        let place = share * (sorted.len() - 1) as f64;
        let (below, above) = (place.floor() as usize, place.ceil() as usize);
        sorted[below] + (place - place.floor()) * (sorted[above] - sorted[below])
    };
    Some((at(0.25), at(0.5), at(0.75)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usual() -> Looks {
        Looks {
            width: 500,
            height: 375,
            shadows: 0.1,
            lights: 0.9,
            contrast: 0.2,
            sharpness: 800.0,
            sketch: Vec::new(),
        }
    }

    #[test]
    fn each_kind_is_told_and_ordinary_pictures_are_not() {
        let odd = [
            Looks {
                width: 1500,
                height: 125,
                ..usual()
            },
            Looks {
                width: 50,
                height: 40,
                ..usual()
            },
            Looks {
                contrast: 0.0,
                sharpness: 0.0,
                ..usual()
            },
            Looks {
                lights: 0.1,
                ..usual()
            },
            Looks {
                shadows: 0.99,
                ..usual()
            },
            Looks {
                sharpness: 9.0,
                ..usual()
            },
        ];
        let mut all: Vec<Looks> = odd.to_vec();
        all.extend((0..20).map(|i| Looks {
            sharpness: 500.0 + 30.0 * i as f32,
            ..usual()
        }));
        let pairs: Vec<(usize, &Looks)> = all.iter().enumerate().collect();
        let found: Vec<(usize, FindingKind)> = stand_out(&pairs)
            .into_iter()
            .map(|(at, kind, _)| (at, kind))
            .collect();
        let kinds = [
            FindingKind::OddShape,
            FindingKind::OddSize,
            FindingKind::Blank,
            FindingKind::Dark,
            FindingKind::Bright,
            FindingKind::Blurred,
        ];
        assert_eq!(found, kinds.into_iter().enumerate().collect::<Vec<_>>());
        // Of a few pictures nothing is usual, but a blank one is blank.
        assert_eq!(stand_out(&pairs[..3]).len(), 2);
        assert_eq!(far_above(&[0.1, 0.2, 0.1, 0.2, 0.1, 0.2, 0.15, 0.9]), [7]);
        assert!(far_above(&[0.0; 20]).is_empty());
    }
}
