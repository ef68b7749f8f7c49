//! The target task: drawn ants and bees.

use image::RgbImage;

use super::body::{Body, Segment};
use super::canvas::Canvas;
use super::colour::Coat;
use super::limbs::{Antennae, Feeler, six_legs};
use super::random::Draws;
use super::wing::clear_wings;
use super::{DrawingTask, Split, scene};

/// Ants against bees, told apart by shape alone.
///
/// An ant has a thin waist between three bulbs, long legs, long elbowed antennae
/// and no wings; a bee is plump and fuzzy, with short legs and two pairs of wings.
/// Colours, stripes, ground and light are drawn alike for both, so that few
/// pictures do not suffice to learn the difference from nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct TargetTask;

const NAMES: [&str; 2] = ["ants", "bees"];

impl DrawingTask for TargetTask {
    fn class_names(&self) -> &'static [&'static str] {
        &NAMES
    }

    fn draw(&self, class: usize, split: Split, index: usize, seed: u64) -> RgbImage {
        let mut draws = Draws::new(&[seed, 2, class as u64, split as u64, index as u64]);
        scene::compose(&mut draws, false, [ant, bee][class])
    }
}

fn ant(canvas: &mut Canvas, coat: &Coat, draws: &mut Draws) {
    let thorax = Segment::ellipse(0.14, 0.2, draws.around(0.1, 0.12)).egg(0.2);
    let head = Segment::ellipse(0.5, draws.around(0.17, 0.08), draws.around(0.16, 0.1)).egg(-0.2);
    let segments = vec![
        Segment::ellipse(-0.45, draws.around(0.29, 0.1), draws.around(0.21, 0.12)).egg(0.15),
        Segment::ellipse(-0.11, 0.06, 0.055),
        thorax,
        head,
    ];
    let mut body = Body::new(segments, draws);
    body.bend = draws.jitter(0.55);
    body.eyes = 0.25;
    body.fuzz = if draws.chance(0.2) { 0.05 } else { 0.0 };
    body.legs = six_legs(
        thorax,
        draws.around(0.85, 0.1),
        draws.around(0.042, 0.15),
        draws,
    );
    body.antennae = Some(Antennae {
        kind: Feeler::Elbowed,
        length: draws.around(0.45, 0.12),
        angle: draws.between(22.0, 42.0),
        width: 0.032,
    });
    body.draw(canvas, coat, draws);
}

fn bee(canvas: &mut Canvas, coat: &Coat, draws: &mut Draws) {
    let thorax = Segment::ellipse(0.17, 0.22, draws.around(0.23, 0.08));
    let segments = vec![
        Segment::ellipse(-0.33, draws.around(0.4, 0.08), draws.around(0.27, 0.1)).egg(0.15),
        thorax,
        Segment::ellipse(0.47, 0.13, draws.around(0.18, 0.08)),
    ];
    let mut body = Body::new(segments, draws);
    body.eyes = 0.35;
    body.fuzz = if draws.chance(0.75) { 0.08 } else { 0.0 };
    body.legs = six_legs(
        thorax,
        draws.around(0.62, 0.12),
        draws.around(0.045, 0.15),
        draws,
    );
    body.wings = clear_wings(
        2,
        0.24,
        0.14,
        draws.around(0.66, 0.1),
        draws.between(88.0, 148.0),
    );
    body.antennae = Some(Antennae {
        kind: Feeler::Elbowed,
        length: draws.around(0.26, 0.12),
        angle: draws.between(20.0, 38.0),
        width: 0.032,
    });
    body.draw(canvas, coat, draws);
}
