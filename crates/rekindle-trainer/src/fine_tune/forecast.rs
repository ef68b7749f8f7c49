//! Forecasts the accuracy on new images from that on held-out ones.

use crate::events::Forecast;

/// Normal quantile of a 95 % interval.
const Z: f64 = 1.96;

/// Forecasts the share of right answers on `new` images.
///
/// `right` has the share of the repeats in which each held-out image was named right. The interval is that of
/// Agresti and Coull (1998) for so many held-out images, widened by the scatter of the new ones and by `spread`, a standard error of what else is uncertain.
pub(super) fn forecast(right: &[f64], gain: f64, spread: f64, new: usize) -> Option<Forecast> {
    if right.is_empty() {
        return None;
    }
    let held_out = right.len() as f64;
    let accuracy = (right.iter().sum::<f64>() / held_out + gain).clamp(0.0, 1.0);
    // The share with two more right and two more wrong answers.
    let centre = (accuracy * held_out + Z * Z / 2.0) / (held_out + Z * Z);
    let variance = centre * (1.0 - centre);
    let of_new = variance / new.max(1) as f64;
    let width = Z * (variance / (held_out + Z * Z) + of_new + spread * spread).sqrt();
    // New images come one by one: half of one is no difference.
    let half = 0.5 / new.max(1) as f64;
    Some(Forecast {
        accuracy,
        low: (centre - width - half).clamp(0.0, accuracy),
        high: (centre + width + half).clamp(accuracy, 1.0),
        images: new,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn more_images_on_either_side_narrow_the_interval() {
        let right: Vec<f64> = (0..100).map(|i| f64::from(u8::from(i % 10 > 0))).collect();
        let width = |right: &[f64], new| {
            let found = forecast(right, 0.0, 0.0, new).unwrap();
            assert!((found.accuracy - 0.9).abs() < 1e-12);
            assert!(found.low < 0.9 && found.high > 0.9);
            found.high - found.low
        };
        assert!(width(&right, 50) > width(&right, 500));
        assert!(width(&right, 500) > width(&right.repeat(10), 500));
        // Agresti and Coull's interval for 90 of 100 (0.82389 to 0.94652), with new images without number.
        let found = forecast(&right, 0.0, 0.0, usize::MAX).unwrap();
        assert!((found.low - 0.8239).abs() < 2e-4 && (found.high - 0.9465).abs() < 2e-4);
    }

    #[test]
    fn all_right_is_no_promise_of_all_right() {
        let found = forecast(&[1.0; 40], 0.0, 0.0, 40).unwrap();
        assert_eq!((found.accuracy, found.high), (1.0, 1.0));
        assert!(found.low < 0.95 && found.low > 0.8, "{found:?}");
        assert!(forecast(&[], 0.0, 0.0, 40).is_none());
    }
}
