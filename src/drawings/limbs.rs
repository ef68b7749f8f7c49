//! Legs and antennae.

use super::body::{Segment, step};
use super::canvas::{Canvas, Ink, Xy};
use super::colour::Coat;
use super::random::Draws;

/// A leg, drawn on both sides.
#[derive(Clone, Copy)]
pub(super) struct Leg {
    pub(super) at: f32,
    pub(super) root: f32,
    pub(super) femur: f32,
    pub(super) tibia: f32,
    /// Directions in degrees from the head's: 90 points sideways.
    pub(super) femur_angle: f32,
    pub(super) tibia_angle: f32,
    pub(super) width: f32,
}

impl Leg {
    /// Draws the leg of one `side` (1 or -1) from its root, in a pose of its own.
    pub(super) fn draw(
        &self,
        root: Xy,
        heading: f32,
        side: f32,
        canvas: &mut Canvas,
        coat: &Coat,
        draws: &mut Draws,
    ) {
        let femur_angle = self.femur_angle + draws.jitter(14.0);
        let tibia_angle = self.tibia_angle + draws.jitter(16.0);
        let towards = |degrees: f32| heading + side * degrees.to_radians();
        let knee = step(root, towards(femur_angle), self.femur);
        let foot = step(knee, towards(tibia_angle), self.tibia);
        let toe = step(foot, towards(tibia_angle + 25.0), self.tibia * 0.25);
        let ink = Ink::flat(coat.limb);
        canvas.taper(root, knee, self.width * 1.5, self.width * 1.1, ink);
        canvas.line(&[root, knee, foot], self.width, ink);
        canvas.line(&[foot, toe], self.width * 0.7, ink);
    }
}

#[derive(Clone, Copy)]
pub(super) enum Feeler {
    Straight,
    /// Half of it points outwards, half forwards.
    Elbowed,
    /// With a knob at its end.
    Clubbed,
    Feathered,
    /// Bent backwards along the body.
    Swept,
}

#[derive(Clone, Copy)]
pub(super) struct Antennae {
    pub(super) kind: Feeler,
    pub(super) length: f32,
    /// Degrees from the head's direction.
    pub(super) angle: f32,
    pub(super) width: f32,
}

impl Antennae {
    /// Draws one of the two; a negative `angle` (degrees) is the other side.
    pub(super) fn draw(
        &self,
        root: Xy,
        heading: f32,
        angle: f32,
        canvas: &mut Canvas,
        coat: &Coat,
    ) {
        let ink = Ink::flat(coat.limb);
        let side = angle.signum();
        let towards = |from: Xy, degrees: f32, share: f32| {
            step(from, heading + degrees.to_radians(), self.length * share)
        };
        match self.kind {
            Feeler::Straight => {
                let middle = towards(root, angle, 0.5);
                let tip = towards(middle, angle + side * 12.0, 0.5);
                canvas.curve(&[root, middle, tip], self.width, ink);
            }
            Feeler::Elbowed => {
                let elbow = towards(root, angle + side * 35.0, 0.45);
                let tip = towards(elbow, angle - side * 40.0, 0.6);
                canvas.line(&[root, elbow], self.width, ink);
                canvas.line(&[elbow, tip], self.width * 1.3, ink);
            }
            Feeler::Clubbed => {
                let tip = towards(root, angle, 1.0);
                canvas.line(&[root, tip], self.width, ink);
                canvas.dot(tip, self.width * 1.8, ink);
            }
            Feeler::Feathered => {
                let tip = towards(root, angle, 1.0);
                canvas.line(&[root, tip], self.width, ink);
                for share in [0.25, 0.4, 0.55, 0.7, 0.85] {
                    let stem = towards(root, angle, share);
                    for turn in [-65.0, 65.0] {
                        let barb = towards(stem, angle + turn, 0.32 * (1.15 - share));
                        canvas.line(&[stem, barb], self.width * 0.7, ink);
                    }
                }
            }
            Feeler::Swept => {
                let shoulder = towards(root, angle, 0.25);
                let middle = towards(shoulder, angle + side * 70.0, 0.3);
                let tip = towards(middle, angle + side * 120.0, 0.55);
                canvas.curve(&[root, shoulder, middle, tip], self.width, ink);
            }
        }
    }
}

/// Returns three pairs of legs on a thorax: forwards, sideways, backwards.
pub(super) fn six_legs(thorax: Segment, length: f32, width: f32, draws: &mut Draws) -> Vec<Leg> {
    let turn = draws.jitter(8.0);
    [
        (0.55, 50.0, 22.0, 0.9),
        (0.0, 92.0, 112.0, 0.95),
        (-0.5, 128.0, 155.0, 1.15),
    ]
    .map(|(at, femur_angle, tibia_angle, share)| Leg {
        at: thorax.at + at * thorax.half_length,
        root: thorax.half_width * 0.5,
        femur: length * 0.5 * share,
        tibia: length * 0.5 * share,
        femur_angle: femur_angle + turn,
        tibia_angle: tibia_angle + turn,
        width,
    })
    .to_vec()
}

/// `pairs` of legs spread from forwards to backwards, as spiders have them.
pub(super) fn fan_of_legs(pairs: usize, at: f32, root: f32, length: f32, width: f32) -> Vec<Leg> {
    (0..pairs)
        .map(|pair| {
            let share = pair as f32 / (pairs - 1) as f32;
            let femur_angle = 32.0 + 112.0 * share;
            Leg {
                at: at + 0.16 * (0.5 - share),
                root,
                femur: length * 0.5,
                tibia: length * 0.5,
                femur_angle,
                tibia_angle: femur_angle + (share - 0.5) * 75.0,
                width,
            }
        })
        .collect()
}

/// Antennae of the usual thickness.
pub(super) fn feelers(kind: Feeler, length: f32, angle: f32) -> Option<Antennae> {
    Some(Antennae {
        kind,
        length,
        angle,
        width: 0.028,
    })
}
