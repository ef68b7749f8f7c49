//! Colours, and the coats that creatures wear: never a hint of the class.

use super::random::Draws;

/// An sRGB colour with components in `[0, 1]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Colour {
    pub(super) red: f32,
    pub(super) green: f32,
    pub(super) blue: f32,
}

impl Colour {
    pub(super) const BLACK: Self = Self::grey(0.0);
    pub(super) const WHITE: Self = Self::grey(1.0);

    pub(super) const fn new(red: f32, green: f32, blue: f32) -> Self {
        Self { red, green, blue }
    }

    pub(super) const fn grey(value: f32) -> Self {
        Self::new(value, value, value)
    }

    /// Converts from hue, saturation and value, each in `[0, 1]`; the hue wraps.
    pub(super) fn from_hsv(hue: f32, saturation: f32, value: f32) -> Self {
        let component = |offset: f32| {
            let k = (offset + hue.rem_euclid(1.0) * 6.0) % 6.0;
            value - value * saturation * k.min(4.0 - k).clamp(0.0, 1.0)
        };
        Self::new(component(5.0), component(3.0), component(1.0))
    }

    pub(super) fn mix(self, other: Self, share: f32) -> Self {
        let blend = |a: f32, b: f32| a + (b - a) * share;
        Self::new(
            blend(self.red, other.red),
            blend(self.green, other.green),
            blend(self.blue, other.blue),
        )
    }

    pub(super) fn darker(self, share: f32) -> Self {
        self.mix(Self::BLACK, share)
    }

    pub(super) fn lighter(self, share: f32) -> Self {
        self.mix(Self::WHITE, share)
    }

    /// Computes the luma of ITU-R BT.601.
    pub(super) fn luma(self) -> f32 {
        0.299 * self.red + 0.587 * self.green + 0.114 * self.blue
    }
}

/// The colours of one drawn creature or thing.
pub(super) struct Coat {
    /// Main colour of the body.
    pub(super) body: Colour,
    /// Stripes, spots and other markings.
    pub(super) marking: Colour,
    /// Legs, antennae and outlines.
    pub(super) limb: Colour,
    /// Tint of clear wings.
    pub(super) wing: Colour,
    pub(super) wing_opacity: f32,
}

impl Coat {
    /// Creates a random coat that stands out from `ground`.
    pub(super) fn standing_out(ground: Colour, draws: &mut Draws) -> Self {
        let body = standing_out(ground, 0.28, draws, animal_colour);
        let limb = standing_out(ground, 0.3, draws, |draws| {
            let shade = draws.between(0.45, 0.9);
            if draws.chance(0.8) {
                body.darker(shade)
            } else {
                animal_colour(draws)
            }
        });
        let marking = standing_out(body, 0.25, draws, animal_colour);
        let wing = standing_out(ground, 0.25, draws, |draws| {
            let tint = animal_colour(draws);
            let pale = draws.chance(0.7);
            tint.mix(if pale { Colour::WHITE } else { Colour::BLACK }, 0.75)
        });
        let wing_opacity = draws.between(0.4, 0.75);
        Self {
            body,
            marking,
            limb,
            wing,
            wing_opacity,
        }
    }
}

/// Browns, blacks, reds, ochres and, more rarely, anything else.
fn animal_colour(draws: &mut Draws) -> Colour {
    if draws.chance(0.7) {
        Colour::from_hsv(
            draws.between(-0.03, 0.15),
            draws.between(0.2, 0.95),
            draws.between(0.08, 0.98),
        )
    } else {
        Colour::from_hsv(
            draws.unit(),
            draws.between(0.0, 0.8),
            draws.between(0.1, 0.95),
        )
    }
}

/// Returns the first of a few candidates whose luma is `distance` from `ground`'s, else the furthest seen.
fn standing_out(
    ground: Colour,
    distance: f32,
    draws: &mut Draws,
    mut candidate: impl FnMut(&mut Draws) -> Colour,
) -> Colour {
    let gap = |colour: Colour| (colour.luma() - ground.luma()).abs();
    let mut best = candidate(draws);
    for _ in 0..12 {
        if gap(best) >= distance {
            break;
        }
        let next = candidate(draws);
        if gap(next) > gap(best) {
            best = next;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hsv_gives_the_primaries() {
        let close = |a: Colour, b: Colour| {
            (a.red - b.red).abs() + (a.green - b.green).abs() + (a.blue - b.blue).abs() < 1e-5
        };
        assert!(close(
            Colour::from_hsv(0.0, 1.0, 1.0),
            Colour::new(1.0, 0.0, 0.0)
        ));
        assert!(close(
            Colour::from_hsv(1.0 / 3.0, 1.0, 1.0),
            Colour::new(0.0, 1.0, 0.0)
        ));
        assert!(close(
            Colour::from_hsv(-1.0 / 3.0, 1.0, 1.0),
            Colour::new(0.0, 0.0, 1.0)
        ));
        assert!(close(Colour::from_hsv(0.4, 0.0, 0.5), Colour::grey(0.5)));
    }

    #[test]
    fn bodies_stand_out_from_every_ground() {
        for index in 0..300 {
            let mut draws = Draws::new(&[index]);
            let ground = Colour::grey(draws.unit());
            let coat = Coat::standing_out(ground, &mut draws);
            let gap = (coat.body.luma() - ground.luma()).abs();
            assert!(gap > 0.15, "body {gap} from ground {}", ground.luma());
        }
    }
}
