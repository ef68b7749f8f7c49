//! Things that lie around and over the creature, some of them shaped like its
//! parts: twigs like legs, petals like wings, seeds like bodies.

use std::f32::consts::{FRAC_PI_2, PI};

use super::PICTURE_SIZE;
use super::body::step;
use super::canvas::{Canvas, Ink, Xy};
use super::colour::Colour;
use super::random::Draws;
use super::scene::litter_colour;

/// Scatters things over the whole ground, below the creature.
pub(super) fn scatter(picture: &mut Canvas, ground: Colour, draws: &mut Draws) {
    let size = PICTURE_SIZE as f32;
    for _ in 0..draws.count(0, 7) {
        let at = (draws.unit() * size, draws.unit() * size);
        let colour = litter_colour(ground, draws);
        thing(picture, at, colour, draws);
    }
}

/// Lays a blade, a twig or the edge of a leaf over a small part of the picture.
pub(super) fn occlude(picture: &mut Canvas, ground: Colour, draws: &mut Draws) {
    let size = PICTURE_SIZE as f32;
    for _ in 0..draws.count(0, 2) {
        let ink = Ink::flat(litter_colour(ground, draws));
        let angle = draws.jitter(PI);
        let edge = step(
            (size / 2.0, size / 2.0),
            angle,
            size * draws.between(0.5, 0.75),
        );
        let inwards = angle + PI + draws.jitter(0.9);
        if draws.chance(0.6) {
            let tip = step(edge, inwards, size * draws.between(0.3, 0.8));
            picture.taper(edge, tip, draws.between(2.0, 6.0), 0.8, ink);
        } else {
            let (long, broad) = (
                size * draws.between(0.15, 0.3),
                size * draws.between(0.08, 0.16),
            );
            leaf(picture, edge, inwards, (long, broad), ink);
        }
    }
}

fn thing(picture: &mut Canvas, at: Xy, colour: Colour, draws: &mut Draws) {
    let angle = draws.jitter(PI);
    let length = draws.between(5.0, 26.0);
    match draws.count(0, 6) {
        0 => twig(picture, at, angle, length, colour, draws),
        1 => leaf(
            picture,
            at,
            angle,
            (length * 0.6, length * 0.25),
            Ink::flat(colour),
        ),
        2 => {
            let clear = Ink::flat(colour.lighter(0.6)).opacity(draws.between(0.35, 0.7));
            let radii = (length * 0.6, length * draws.between(0.15, 0.3));
            picture.ellipse(at, radii, angle, clear);
        }
        3 => {
            let radii = (length * 0.35, length * draws.between(0.15, 0.3));
            picture.ellipse(at, radii, angle, Ink::shaded(colour));
        }
        4 => {
            for crumb in 0..draws.count(2, 5) {
                let centre = step(at, angle + crumb as f32 * 1.7, length * 0.3);
                picture.dot(centre, draws.between(0.8, 2.5), Ink::shaded(colour));
            }
        }
        5 => {
            for piece in 0..3 {
                let centre = step(at, angle, piece as f32 * length * 0.28);
                let radii = (length * 0.2, length * draws.between(0.1, 0.2));
                picture.ellipse(centre, radii, angle, Ink::shaded(colour));
            }
        }
        _ => {
            let bend = step(at, angle, length * 0.5);
            let tip = step(bend, angle + draws.jitter(1.0), length * 0.6);
            picture.curve(&[at, bend, tip], draws.between(0.6, 2.0), Ink::flat(colour));
        }
    }
}

fn twig(picture: &mut Canvas, at: Xy, angle: f32, length: f32, colour: Colour, draws: &mut Draws) {
    let ink = Ink::flat(colour);
    let tip = step(at, angle, length * 1.4);
    picture.taper(at, tip, draws.between(1.2, 3.0), 0.6, ink);
    for share in [0.35, 0.65] {
        let fork = step(at, angle, length * 1.4 * share);
        let end = step(fork, angle + draws.sign() * 0.8, length * 0.45);
        picture.line(&[fork, end], 0.9, ink);
    }
}

fn leaf(picture: &mut Canvas, at: Xy, angle: f32, (long, broad): Xy, ink: Ink) {
    let place = |along: f32, aside: f32| {
        step(
            step(at, angle, along * long),
            angle + FRAC_PI_2,
            aside * broad,
        )
    };
    let outline = [
        (-1.0, 0.0),
        (-0.3, 0.9),
        (0.4, 0.7),
        (1.0, 0.0),
        (0.4, -0.7),
        (-0.3, -0.9),
    ]
    .map(|(along, aside)| place(along, aside));
    picture.blob(&outline, ink);
    picture.line(
        &[place(-0.9, 0.0), place(0.8, 0.0)],
        0.8,
        Ink::flat(Colour::BLACK).opacity(0.25),
    );
}
