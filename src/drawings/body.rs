//! A body plan seen from above: segments on a spine, with legs, wings,
//! antennae and markings. Insects, spiders and their kin are all drawn by it.
//!
//! Coordinates: the head looks along +x, the whole creature with its legs fits
//! about the unit circle.

use std::f32::consts::PI;

use super::canvas::{Canvas, Ink, Xy};
use super::colour::{Coat, Colour};
use super::limbs::{Antennae, Leg};
use super::random::Draws;
use super::wing::Wing;

/// One part of the body, symmetric about the spine.
#[derive(Clone, Copy)]
pub(super) struct Segment {
    /// Position of its middle on the spine.
    pub(super) at: f32,
    pub(super) half_length: f32,
    pub(super) half_width: f32,
    /// Wider towards the head if positive, in `(-1, 1)`.
    pub(super) egg: f32,
    /// 0.5 is an ellipse, less is boxy, more is pointed.
    pub(super) power: f32,
}

impl Segment {
    pub(super) fn ellipse(at: f32, half_length: f32, half_width: f32) -> Self {
        Self {
            at,
            half_length,
            half_width,
            egg: 0.0,
            power: 0.5,
        }
    }

    pub(super) fn egg(self, egg: f32) -> Self {
        Self { egg, ..self }
    }

    pub(super) fn power(self, power: f32) -> Self {
        Self { power, ..self }
    }

    /// Computes half the width at `t` in `[-1, 1]`, tail to head.
    fn half_width_at(&self, t: f32) -> f32 {
        self.half_width * (1.0 - t * t).max(0.0).powf(self.power) * (1.0 + self.egg * t)
    }
}

/// Pattern drawn on a segment. Chosen at random for every creature, so that it tells nothing about the class.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Marking {
    Plain,
    Stripes(usize),
    Spots(usize),
    Seam,
    Saddle,
}

impl Marking {
    pub(super) fn random(draws: &mut Draws) -> Self {
        match draws.count(0, 9) {
            0..=2 => Self::Plain,
            3..=5 => Self::Stripes(draws.count(2, 5)),
            6 => Self::Spots(draws.count(2, 4)),
            7 => Self::Seam,
            _ => Self::Saddle,
        }
    }
}

/// A whole creature, ready to be drawn.
pub(super) struct Body {
    /// Segments from the tail to the head: later ones lie on top.
    pub(super) segments: Vec<Segment>,
    /// Segments that wear the marking.
    pub(super) marked: Vec<usize>,
    pub(super) marking: Marking,
    pub(super) legs: Vec<Leg>,
    pub(super) wings: Vec<Wing>,
    pub(super) wings_below: bool,
    pub(super) antennae: Option<Antennae>,
    /// Radius of the eyes as a share of the head's width; nought for none.
    pub(super) eyes: f32,
    /// Length of hairs around every segment.
    pub(super) fuzz: f32,
    /// Curvature of the spine, in radians a unit.
    pub(super) bend: f32,
}

impl Body {
    /// Creates a body of `segments`, marked at random on its largest one.
    pub(super) fn new(segments: Vec<Segment>, draws: &mut Draws) -> Self {
        let area = |segment: &Segment| segment.half_length * segment.half_width;
        let largest =
            (0..segments.len()).max_by(|&a, &b| area(&segments[a]).total_cmp(&area(&segments[b])));
        Self {
            segments,
            marked: largest.into_iter().collect(),
            marking: Marking::random(draws),
            legs: Vec::new(),
            wings: Vec::new(),
            wings_below: false,
            antennae: None,
            eyes: 0.0,
            fuzz: 0.0,
            bend: draws.jitter(0.25),
        }
    }

    pub(super) fn draw(&self, canvas: &mut Canvas, coat: &Coat, draws: &mut Draws) {
        self.draw_legs(canvas, coat, draws);
        self.draw_antennae(canvas, coat, draws);
        if self.wings_below {
            self.draw_wings(canvas, coat, draws);
        }
        for (index, segment) in self.segments.iter().enumerate() {
            self.draw_segment(segment, self.marked.contains(&index), canvas, coat, draws);
        }
        self.draw_eyes(canvas, coat);
        if !self.wings_below {
            self.draw_wings(canvas, coat, draws);
        }
    }

    /// Returns the point `aside` from the spine at position `along`; also the spine's direction there.
    pub(super) fn frame(&self, along: f32, aside: f32) -> (Xy, f32) {
        let heading = self.bend * along;
        let (x, y) = if self.bend.abs() < 1e-3 {
            (along, 0.0)
        } else {
            (heading.sin() / self.bend, (1.0 - heading.cos()) / self.bend)
        };
        (
            (x - aside * heading.sin(), y + aside * heading.cos()),
            heading,
        )
    }

    fn head(&self) -> Segment {
        self.segments
            .last()
            .copied()
            .unwrap_or(Segment::ellipse(0.0, 0.1, 0.1))
    }

    fn draw_segment(
        &self,
        segment: &Segment,
        marked: bool,
        canvas: &mut Canvas,
        coat: &Coat,
        draws: &mut Draws,
    ) {
        let outline = self.band(segment, -1.0, 1.0);
        if self.fuzz > 0.0 {
            self.draw_fuzz(segment, canvas, coat, draws);
        }
        canvas.polygon(&outline, Ink::shaded(coat.body));
        if marked {
            self.draw_marking(segment, canvas, coat);
        }
        let mut closed = outline;
        closed.extend_from_within(..1);
        canvas.line(&closed, 0.02, Ink::flat(coat.limb).opacity(0.8));
        let (shine, heading) = self.frame(
            segment.at + segment.half_length * 0.3,
            -segment.half_width * 0.3,
        );
        let radii = (segment.half_length * 0.2, segment.half_width * 0.14);
        canvas.ellipse(
            shine,
            radii,
            heading,
            Ink::flat(Colour::WHITE).opacity(0.25),
        );
    }

    /// Returns the outline of `segment` between two of its positions.
    fn band(&self, segment: &Segment, from: f32, to: f32) -> Vec<Xy> {
        const STEPS: usize = 12;
        let at = |step: usize| {
            // Steps crowd at the ends, where the outline turns fastest.
            let share = 0.5 - 0.5 * (PI * step as f32 / STEPS as f32).cos();
            from + (to - from) * share
        };
        let side = |t: f32, sign: f32| {
            self.frame(
                segment.at + t * segment.half_length,
                sign * segment.half_width_at(t),
            )
            .0
        };
        let there = (0..=STEPS).map(|step| side(at(step), 1.0));
        let back = (0..=STEPS).rev().map(|step| side(at(step), -1.0));
        there.chain(back).collect()
    }

    fn draw_marking(&self, segment: &Segment, canvas: &mut Canvas, coat: &Coat) {
        let ink = Ink::shaded(coat.marking);
        match self.marking {
            Marking::Plain => {}
            Marking::Stripes(count) => {
                let pitch = 1.8 / count as f32;
                for stripe in 0..count {
                    let from = -0.9 + pitch * (stripe as f32 + 0.25);
                    canvas.polygon(&self.band(segment, from, from + pitch * 0.5), ink);
                }
            }
            Marking::Spots(rows) => {
                for row in 0..rows {
                    let t = -0.65 + 1.3 * (row as f32 + 0.5) / rows as f32;
                    for sign in [-1.0, 1.0] {
                        let aside = sign * segment.half_width_at(t) * 0.5;
                        let (spot, _) = self.frame(segment.at + t * segment.half_length, aside);
                        canvas.dot(spot, segment.half_width * 0.24, ink);
                    }
                }
            }
            Marking::Seam => {
                let seam: Vec<Xy> = [-0.98, 0.0, 0.98]
                    .map(|t| self.frame(segment.at + t * segment.half_length, 0.0).0)
                    .to_vec();
                canvas.curve(&seam, segment.half_width * 0.22, Ink::flat(coat.marking));
            }
            Marking::Saddle => canvas.polygon(&self.band(segment, 0.0, 1.0), ink),
        }
    }

    fn draw_fuzz(&self, segment: &Segment, canvas: &mut Canvas, coat: &Coat, draws: &mut Draws) {
        let hair = coat.body.mix(coat.limb, 0.4);
        for _ in 0..26 {
            let t = draws.jitter(0.95);
            let aside = draws.sign() * segment.half_width_at(t);
            let along = segment.at + t * segment.half_length;
            let (root, _) = self.frame(along, aside * 0.8);
            let reach = aside + aside.signum() * self.fuzz * draws.between(0.6, 1.2);
            let (tip, _) = self.frame(along - draws.between(0.0, self.fuzz), reach);
            canvas.line(&[root, tip], 0.02, Ink::flat(hair));
        }
    }

    fn draw_legs(&self, canvas: &mut Canvas, coat: &Coat, draws: &mut Draws) {
        for leg in &self.legs {
            for side in [-1.0, 1.0] {
                let (root, heading) = self.frame(leg.at, side * leg.root);
                leg.draw(root, heading, side, canvas, coat, draws);
            }
        }
    }

    fn draw_wings(&self, canvas: &mut Canvas, coat: &Coat, draws: &mut Draws) {
        for wing in &self.wings {
            for side in [-1.0, 1.0] {
                let (root, heading) = self.frame(wing.at, side * wing.root);
                wing.draw(root, heading, side, canvas, coat, draws);
            }
        }
    }

    fn draw_antennae(&self, canvas: &mut Canvas, coat: &Coat, draws: &mut Draws) {
        let Some(antennae) = self.antennae else {
            return;
        };
        let head = self.head();
        for side in [-1.0, 1.0] {
            let (root, heading) = self.frame(
                head.at + head.half_length * 0.7,
                side * head.half_width * 0.45,
            );
            let angle = antennae.angle + draws.jitter(10.0);
            antennae.draw(root, heading, angle * side, canvas, coat);
        }
    }

    fn draw_eyes(&self, canvas: &mut Canvas, coat: &Coat) {
        if self.eyes == 0.0 {
            return;
        }
        let head = self.head();
        let radius = head.half_width * self.eyes;
        for side in [-1.0, 1.0] {
            let aside = side * (head.half_width - radius * 0.6);
            let (eye, heading) = self.frame(head.at + head.half_length * 0.25, aside);
            canvas.ellipse(
                eye,
                (radius * 1.25, radius),
                heading,
                Ink::shaded(coat.limb.darker(0.5)),
            );
            let glint = step(eye, heading - 0.8, radius * 0.4);
            canvas.dot(glint, radius * 0.25, Ink::flat(Colour::WHITE).opacity(0.7));
        }
    }
}

/// Returns the point `length` from `start` in the direction `angle` (radians).
pub(super) fn step(start: Xy, angle: f32, length: f32) -> Xy {
    (
        start.0 + angle.cos() * length,
        start.1 + angle.sin() * length,
    )
}
