//! Draws the ground that the creature sits on: ten kinds in any colour.

use std::f32::consts::{FRAC_PI_2, FRAC_PI_3, PI};

use tiny_skia::PremultipliedColorU8;

use super::PICTURE_SIZE;
use super::body::step;
use super::canvas::{Canvas, Ink};
use super::colour::Colour;
use super::random::{Draws, lattice};

#[derive(Clone, Copy)]
enum Kind {
    Bare,
    Soil,
    Wood,
    Leaf,
    Grass,
    Pebbles,
    Cloth,
    Tiles,
    Petals,
    Honeycomb,
}

const KINDS: [Kind; 10] = [
    Kind::Bare,
    Kind::Soil,
    Kind::Wood,
    Kind::Leaf,
    Kind::Grass,
    Kind::Pebbles,
    Kind::Cloth,
    Kind::Tiles,
    Kind::Petals,
    Kind::Honeycomb,
];

pub(super) struct Ground {
    /// Its mean colour, about.
    pub(super) colour: Colour,
    second: Colour,
    kind: Kind,
}

impl Ground {
    pub(super) fn random(draws: &mut Draws) -> Self {
        let hue = if draws.chance(0.6) {
            draws.between(0.05, 0.4)
        } else {
            draws.unit()
        };
        let colour = Colour::from_hsv(hue, draws.between(0.0, 0.75), draws.between(0.15, 0.97));
        let shift = draws.jitter(0.16);
        let second = if shift > 0.0 {
            colour.lighter(shift + 0.06)
        } else {
            colour.darker(0.06 - shift)
        };
        Self {
            colour,
            second,
            kind: KINDS[draws.count(0, KINDS.len() - 1)],
        }
    }

    /// Covers the whole of `picture` (pixel coordinates).
    pub(super) fn draw(&self, picture: &mut Canvas, draws: &mut Draws) {
        self.mottle(picture, draws);
        let size = PICTURE_SIZE as f32;
        let anywhere = |draws: &mut Draws| {
            (
                draws.between(-5.0, size + 5.0),
                draws.between(-5.0, size + 5.0),
            )
        };
        let ink = Ink::flat(self.second).opacity(draws.between(0.4, 0.9));
        match self.kind {
            Kind::Bare | Kind::Soil | Kind::Wood => {}
            Kind::Leaf => self.draw_veins(picture, ink, draws),
            Kind::Grass => {
                let lean = draws.jitter(1.5);
                for _ in 0..40 {
                    let root = anywhere(draws);
                    let tip = step(root, lean + draws.jitter(0.4), draws.between(15.0, 40.0));
                    picture.taper(root, tip, draws.between(2.0, 5.0), 0.4, ink);
                }
            }
            Kind::Pebbles => {
                for _ in 0..35 {
                    let radius = draws.between(2.0, 9.0);
                    let shade = Ink::shaded(self.second.mix(self.colour, draws.between(-0.4, 1.0)));
                    let flat = radius * draws.between(0.6, 1.0);
                    picture.ellipse(anywhere(draws), (radius, flat), draws.jitter(3.0), shade);
                }
            }
            Kind::Cloth => self.draw_weave(picture, ink, draws),
            Kind::Tiles => self.draw_tiles(picture, ink, draws),
            Kind::Petals => {
                let heart = anywhere(draws);
                for petal in 0..9 {
                    let angle = petal as f32 * 0.7 + draws.jitter(0.1);
                    let centre = step(heart, angle, size * 0.45);
                    picture.ellipse(centre, (size * 0.42, size * 0.15), angle, ink);
                }
                picture.dot(
                    heart,
                    draws.between(6.0, 14.0),
                    Ink::shaded(self.second.darker(0.3)),
                );
            }
            Kind::Honeycomb => {
                let radius = draws.between(6.0, 12.0);
                for row in 0..14 {
                    for column in 0..14 {
                        let shift = (row % 2) as f32 * 0.5;
                        let centre = (
                            (column as f32 + shift) * radius * 1.73,
                            row as f32 * radius * 1.5,
                        );
                        let corners: Vec<_> = (0..7)
                            .map(|corner| step(centre, (corner as f32 + 0.5) * FRAC_PI_3, radius))
                            .collect();
                        picture.line(&corners, 1.4, ink);
                    }
                }
            }
        }
    }

    /// The base: a slow gradient with cloudy noise, stretched for wood.
    fn mottle(&self, picture: &mut Canvas, draws: &mut Draws) {
        let key = draws.key();
        let (amount, scale) = match self.kind {
            Kind::Soil => (draws.between(0.8, 1.6), draws.between(2.0, 6.0)),
            Kind::Wood => (draws.between(0.9, 1.8), draws.between(3.0, 8.0)),
            _ => (draws.between(0.2, 1.0), draws.between(5.0, 30.0)),
        };
        let stretch = if matches!(self.kind, Kind::Wood) {
            0.12
        } else {
            1.0
        };
        let (sin, cos) = draws.jitter(PI).sin_cos();
        let side = PICTURE_SIZE as usize;
        for (index, pixel) in picture.pixmap_mut().pixels_mut().iter_mut().enumerate() {
            let (x, y) = ((index % side) as f32, (index / side) as f32);
            let (u, v) = (
                (x * cos - y * sin) / scale,
                (x * sin + y * cos) / scale * stretch,
            );
            let cloud = 0.65 * noise(key, u, v) + 0.35 * noise(key ^ 1, u * 2.3, v * 2.3);
            let colour = self.colour.mix(self.second, (cloud - 0.5) * 2.0 * amount);
            let byte = |value: f32| (value.clamp(0.0, 1.0) * 255.0) as u8;
            let (red, green, blue) = (byte(colour.red), byte(colour.green), byte(colour.blue));
            if let Some(opaque) = PremultipliedColorU8::from_rgba(red, green, blue, 255) {
                *pixel = opaque;
            }
        }
    }

    fn draw_veins(&self, picture: &mut Canvas, ink: Ink, draws: &mut Draws) {
        let size = PICTURE_SIZE as f32;
        let angle = draws.jitter(PI);
        let middle = (
            draws.between(0.2, 0.8) * size,
            draws.between(0.2, 0.8) * size,
        );
        let start = step(middle, angle, -size);
        picture.line(&[start, step(start, angle, 2.0 * size)], 3.0, ink);
        for pair in 0..12 {
            let root = step(start, angle, size * 0.17 * pair as f32);
            for side in [-1.0, 1.0] {
                let bend = step(root, angle + side * 0.8, size * 0.4);
                picture.curve(
                    &[root, bend, step(bend, angle + side * 0.5, size * 0.5)],
                    1.5,
                    ink,
                );
            }
        }
    }

    fn draw_weave(&self, picture: &mut Canvas, ink: Ink, draws: &mut Draws) {
        let size = PICTURE_SIZE as f32;
        let (pitch, angle) = (draws.between(5.0, 16.0), draws.jitter(PI));
        let width = pitch * draws.between(0.25, 0.55);
        let both = draws.chance(0.5);
        for turn in [0.0, FRAC_PI_2] {
            if turn > 0.0 && !both {
                break;
            }
            let along = angle + turn;
            let reach = (size / pitch) as i32;
            for thread in -reach..=reach {
                let across = along + FRAC_PI_2;
                let middle = step((size / 2.0, size / 2.0), across, thread as f32 * pitch);
                picture.line(
                    &[step(middle, along, -size), step(middle, along, size)],
                    width,
                    ink,
                );
            }
        }
    }

    fn draw_tiles(&self, picture: &mut Canvas, ink: Ink, draws: &mut Draws) {
        let size = PICTURE_SIZE as f32;
        let (pitch, angle) = (draws.between(10.0, 30.0), draws.jitter(PI));
        let reach = (size / pitch) as i32 + 1;
        for row in -reach..=reach {
            for column in (-reach..=reach).filter(|column| (row + column) % 2 == 0) {
                let corner = |right: i32, down: i32| {
                    let middle = (size / 2.0, size / 2.0);
                    let along = step(middle, angle, (column + right) as f32 * pitch);
                    step(along, angle + FRAC_PI_2, (row + down) as f32 * pitch)
                };
                picture.polygon(
                    &[corner(0, 0), corner(1, 0), corner(1, 1), corner(0, 1)],
                    ink,
                );
            }
        }
    }
}

/// Value noise in `[0, 1]` with smooth steps between lattice points.
fn noise(key: u64, x: f32, y: f32) -> f32 {
    let (column, row) = (x.floor(), y.floor());
    let ease = |t: f32| t * t * (3.0 - 2.0 * t);
    let (right, down) = (ease(x - column), ease(y - row));
    let at = |dx: i32, dy: i32| lattice(key, column as i32 + dx, row as i32 + dy);
    let upper = at(0, 0) + (at(1, 0) - at(0, 0)) * right;
    let lower = at(0, 1) + (at(1, 1) - at(0, 1)) * right;
    upper + (lower - upper) * down
}
