//! Classes known by sentences, in the space that texts share with images.

use crate::TransferError;
use crate::error::degenerate;
use crate::features::table::{Features, LinearHead, check_dim, check_labels, dot};

const METHOD: &str = "classes from texts";

/// Classes as the mean of their sentences' embeddings (Radford et al. 2021, "Learning Transferable Visual Models From Natural
/// Language Supervision"): a class is the mean of unit vectors, scaled to length 1 again, and an image's logit is its cosine
/// with the class times the network's `logit_scale`.
///
/// No image is needed. With a few, start training from [`head_for`](Self::head_for), average it with a probe
/// ([`LinearHead::mixed`]), or add what the images say of their neighbours ([`TipAdapter`]). It hurts where names don't say
/// what tells the classes apart.
///
/// ```
/// use rekindle_transfer::features::{Features, TextClasses};
///
/// // Two sentences about ants, one about bees.
/// let ants = Features::new(vec![1.0, 0.0, 0.6, 0.8], 2)?;
/// let bees = Features::new(vec![0.0, 3.0], 2)?;
/// let head = TextClasses::new(&[ants, bees])?.head(100.0);
/// let images = Features::new(vec![0.8, 0.6, 0.1, 0.9], 2)?.l2_normalized();
/// assert_eq!(head.predict(&images)?, [0, 1]);
/// # Ok::<(), rekindle_transfer::TransferError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct TextClasses {
    rows: Features,
}

impl TextClasses {
    /// Takes the embeddings `[sentences, dim]` of each class, of any length.
    ///
    /// # Errors
    ///
    /// [`TransferError::Degenerate`] for no class, a class without sentences, and one whose embeddings cancel out;
    /// [`TransferError::WrongLength`] where lengths disagree.
    pub fn new(classes: &[Features]) -> Result<Self, TransferError> {
        let Some(first) = classes.first() else {
            return degenerate(METHOD, "there are no classes".into());
        };
        let mut values = Vec::with_capacity(classes.len() * first.dim());
        for (number, sentences) in classes.iter().enumerate() {
            check_dim("embeddings of texts", sentences.dim(), first.dim())?;
            let mean = sentences.l2_normalized().mean();
            let length = mean.iter().map(|v| v * v).sum::<f64>().sqrt();
            if length < 1e-6 {
                let reason = format!("class {number} has no sentences, or their mean is zero");
                return degenerate(METHOD, reason);
            }
            values.extend(mean.into_iter().map(|v| (v / length) as f32));
        }
        let rows = Features::new(values, first.dim())?;
        Ok(Self { rows })
    }

    /// Returns the classes `[classes, dim]`, of length 1.
    pub fn rows(&self) -> &Features {
        &self.rows
    }

    /// Returns the head for image features of length 1; `scale` is the network's `logit_scale`.
    pub fn head(&self, scale: f64) -> LinearHead {
        let weight = self.rows.values().iter();
        LinearHead {
            weight: weight.map(|v| (f64::from(*v) * scale) as f32).collect(),
            bias: vec![0.0; self.rows.len()],
        }
    }

    /// Returns the head for features as the network gives them, whose mean length is that of `features`: what training may
    /// start from. Its classes are those of [`head`](Self::head); how sure it is differs with an image's length.
    ///
    /// # Errors
    ///
    /// [`TransferError::WrongLength`] for features of another length, [`TransferError::Degenerate`] for none but zeros.
    pub fn head_for(&self, scale: f64, features: &Features) -> Result<LinearHead, TransferError> {
        check_dim("features", features.dim(), self.rows.dim())?;
        match features.mean_norm() {
            length if length > 0.0 => Ok(self.head(scale / length)),
            _ => degenerate(METHOD, "all features are zero".into()),
        }
    }
}

impl LinearHead {
    /// Averages two heads of the same classes: `1 - share` of this one and `share` of the other (Wortsman et al. 2022, "Robust
    /// fine-tuning of zero-shot models", applied to the head).
    ///
    /// # Errors
    ///
    /// [`TransferError::WrongLength`] for a head of other sizes, [`TransferError::Degenerate`] for a share outside of 0 to 1.
    pub fn mixed(&self, other: &Self, share: f64) -> Result<Self, TransferError> {
        check_dim("classes of a head", other.classes(), self.classes())?;
        check_dim("features of a head", other.dim(), self.dim())?;
        if !(0.0..=1.0).contains(&share) {
            return degenerate("mixed heads", format!("share {share}; it is from 0 to 1"));
        }
        let mix =
            |(a, b): (&f32, &f32)| ((1.0 - share) * f64::from(*a) + share * f64::from(*b)) as f32;
        Ok(Self {
            weight: self.weight.iter().zip(&other.weight).map(mix).collect(),
            bias: self.bias.iter().zip(&other.bias).map(mix).collect(),
        })
    }
}

/// Tip-Adapter (Zhang et al. 2022, "Tip-Adapter: Training-free Adaption of CLIP for Few-shot Classification"): to a head from
/// texts it adds `alpha` times what the training images near an image say, each with weight `exp(-beta (1 - cosine))`.
///
/// Nothing is trained. It helps from a handful of images per class on; with many, a probe is better.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TipAdapter {
    /// Weight of the training images.
    pub alpha: f64,
    /// Sharpness: how much more nearer images count.
    pub beta: f64,
}

impl Default for TipAdapter {
    /// The paper's 1 and 5.5.
    fn default() -> Self {
        Self {
            alpha: 1.0,
            beta: 5.5,
        }
    }
}

impl TipAdapter {
    /// Computes logits `[n, classes]` of `images` by the head for features of length 1, and training images with labels.
    ///
    /// # Errors
    ///
    /// [`TransferError::WrongLength`] where lengths disagree, [`TransferError::Degenerate`] for a class without images.
    pub fn logits(
        &self,
        texts: &LinearHead,
        (train, labels): (&Features, &[usize]),
        images: &Features,
    ) -> Result<Vec<f64>, TransferError> {
        check_dim("training features", train.dim(), texts.dim())?;
        check_labels("Tip-Adapter", labels, train.len(), texts.classes())?;
        let (train, images) = (train.l2_normalized(), images.l2_normalized());
        let mut logits = texts.logits(&images)?;
        let rows = logits.chunks_exact_mut(texts.classes());
        for (row, image) in rows.zip(images.rows()) {
            for (key, label) in train.rows().zip(labels) {
                let affinity = (-self.beta * (1.0 - dot(image, key))).exp();
                row[*label] += self.alpha * affinity;
            }
        }
        Ok(logits)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::features::table::argmax_rows;

    fn features(values: &[f32]) -> Features {
        Features::new(values.to_vec(), 2).unwrap()
    }

    #[test]
    fn a_class_is_the_mean_of_directions() {
        let classes = [features(&[9.0, 0.0, 0.0, 0.5]), features(&[-2.0, 0.0])];
        let classes = TextClasses::new(&classes).unwrap();
        let half = 0.5f32.sqrt();
        let expected = [half, half, -1.0, 0.0];
        let near = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-6);
        assert!(near(classes.rows().values(), &expected));
        assert!(near(
            &classes.head(10.0).weight,
            &expected.map(|v| 10.0 * v)
        ));
        // Features of mean length 4.
        let found = classes
            .head_for(10.0, &features(&[0.0, 3.0, 5.0, 0.0]))
            .unwrap();
        assert!(near(&found.weight, &expected.map(|v| 2.5 * v)));
    }

    #[test]
    fn heads_are_mixed_and_neighbours_vote() {
        let texts = TextClasses::new(&[features(&[1.0, 0.0]), features(&[0.0, 1.0])]).unwrap();
        let texts = texts.head(1.0);
        let probe = LinearHead {
            weight: vec![0.0, 2.0, 2.0, 0.0],
            bias: vec![1.0, -1.0],
        };
        let mixed = texts.mixed(&probe, 0.25).unwrap();
        assert_eq!(mixed.weight, [0.75, 0.5, 0.5, 0.75]);
        assert_eq!(mixed.bias, [0.25, -0.25]);
        assert_eq!(texts.mixed(&probe, 0.0).unwrap(), texts);
        assert!(texts.mixed(&probe, 1.1).is_err());
        // By texts the image is of class 0; its twin among the training images is of class 1.
        let (train, labels) = (features(&[0.8, 0.6, -1.0, 0.0]), [1, 0]);
        let image = features(&[0.8, 0.6]);
        let adapter = TipAdapter::default();
        let logits = adapter.logits(&texts, (&train, &labels), &image).unwrap();
        assert!((logits[1] - 1.6).abs() < 1e-6);
        assert_eq!(argmax_rows(&logits, 2), [1]);
        assert!(adapter.logits(&texts, (&train, &[1, 1]), &image).is_err());
    }

    #[test]
    fn degenerate_input_is_an_error() {
        assert!(TextClasses::new(&[]).is_err());
        assert!(TextClasses::new(&[features(&[])]).is_err());
        assert!(TextClasses::new(&[features(&[1.0, 0.0, -1.0, 0.0])]).is_err());
        let wide = Features::new(vec![1.0; 3], 3).unwrap();
        assert!(TextClasses::new(&[features(&[1.0, 0.0]), wide.clone()]).is_err());
        let classes = TextClasses::new(&[features(&[1.0, 0.0])]).unwrap();
        assert!(classes.head_for(1.0, &wide).is_err());
        assert!(classes.head_for(1.0, &features(&[0.0, 0.0])).is_err());
    }
}
