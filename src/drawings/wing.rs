//! Wings seen from above.

use super::canvas::{Canvas, Ink, Xy};
use super::colour::Coat;
use super::random::Draws;

#[derive(Clone, Copy, PartialEq)]
pub(super) enum WingShape {
    /// As of flies, wasps and their kin.
    Drop,
    /// Long and narrow, as of dragonflies.
    Blade,
    /// The fore wing of a butterfly.
    Sail,
    /// The hind wing of a butterfly.
    Shell,
    /// The wing of a resting moth.
    Delta,
}

/// A wing, drawn on both sides.
#[derive(Clone, Copy)]
pub(super) struct Wing {
    pub(super) shape: WingShape,
    /// Point of attachment: position along the spine, and distance from it.
    pub(super) at: f32,
    pub(super) root: f32,
    pub(super) length: f32,
    /// Width as a multiple of the shape's own.
    pub(super) breadth: f32,
    /// Degrees from the head's direction: 90 is spread, 170 folded back.
    pub(super) angle: f32,
    /// Clear with veins, or coloured with markings.
    pub(super) clear: bool,
}

impl Wing {
    /// Draws the wing of one `side` (1 or -1) from its root.
    pub(super) fn draw(
        &self,
        root: Xy,
        heading: f32,
        side: f32,
        canvas: &mut Canvas,
        coat: &Coat,
        draws: &mut Draws,
    ) {
        let angle = heading + side * (self.angle + draws.jitter(5.0)).to_radians();
        let (sin, cos) = angle.sin_cos();
        let place = |(along, aside): Xy| {
            let (u, v) = (
                along * self.length,
                -side * aside * self.breadth * self.length,
            );
            (root.0 + u * cos - v * sin, root.1 + u * sin + v * cos)
        };
        let outline: Vec<Xy> = self.shape.outline().iter().copied().map(place).collect();
        if self.clear {
            self.draw_clear(&outline, place, canvas, coat);
        } else {
            self.draw_coloured(&outline, place, canvas, coat);
        }
    }

    fn draw_clear(
        &self,
        outline: &[Xy],
        place: impl Fn(Xy) -> Xy,
        canvas: &mut Canvas,
        coat: &Coat,
    ) {
        canvas.blob(outline, Ink::flat(coat.wing).opacity(coat.wing_opacity));
        let vein = Ink::flat(coat.limb.mix(coat.wing, 0.35)).opacity(0.75);
        canvas.outline(outline, 0.014, vein);
        for (bow, tip) in [(0.06, 0.08), (-0.03, -0.06)] {
            let points = [(0.03, 0.0), (0.5, bow), (0.92, tip)].map(&place);
            canvas.curve(&points, 0.012, vein);
        }
        let cross = [(0.62, 0.14), (0.6, -0.12)].map(&place);
        canvas.line(&cross, 0.01, vein);
    }

    fn draw_coloured(
        &self,
        outline: &[Xy],
        place: impl Fn(Xy) -> Xy,
        canvas: &mut Canvas,
        coat: &Coat,
    ) {
        canvas.blob(outline, Ink::flat(coat.marking));
        let centre = place((0.45, 0.06));
        let inner: Vec<Xy> = outline
            .iter()
            .map(|point| {
                (
                    centre.0 + (point.0 - centre.0) * 0.68,
                    centre.1 + (point.1 - centre.1) * 0.68,
                )
            })
            .collect();
        canvas.blob(&inner, Ink::flat(coat.marking.mix(coat.body, 0.75)));
        let eye = place((0.68, 0.08));
        canvas.dot(eye, self.length * 0.1, Ink::flat(coat.limb));
        canvas.dot(
            eye,
            self.length * 0.05,
            Ink::flat(coat.marking.lighter(0.5)),
        );
        canvas.outline(outline, 0.022, Ink::flat(coat.limb).opacity(0.8));
    }
}

impl WingShape {
    /// Root at the origin, tip near (1, 0), leading edge on the positive side.
    fn outline(self) -> &'static [Xy] {
        match self {
            Self::Drop => &[
                (0.0, 0.0),
                (0.4, 0.11),
                (0.8, 0.17),
                (1.0, 0.04),
                (0.82, -0.16),
                (0.38, -0.14),
            ],
            Self::Blade => &[
                (0.0, 0.0),
                (0.3, 0.06),
                (0.9, 0.08),
                (1.0, 0.0),
                (0.88, -0.09),
                (0.3, -0.07),
            ],
            Self::Sail => &[
                (0.0, 0.0),
                (0.5, 0.2),
                (0.95, 0.3),
                (1.02, 0.05),
                (0.8, -0.3),
                (0.35, -0.28),
            ],
            Self::Shell => &[
                (0.0, 0.0),
                (0.3, 0.28),
                (0.75, 0.34),
                (1.0, 0.0),
                (0.7, -0.34),
                (0.3, -0.26),
            ],
            Self::Delta => &[
                (0.0, 0.05),
                (0.5, 0.2),
                (1.0, 0.26),
                (0.96, 0.0),
                (0.8, -0.3),
                (0.3, -0.2),
            ],
        }
    }
}

/// Returns one or two pairs of clear, drop-shaped wings held at `angle`.
pub(super) fn clear_wings(pairs: usize, at: f32, root: f32, length: f32, angle: f32) -> Vec<Wing> {
    (0..pairs)
        .rev()
        .map(|pair| {
            let hind = pair as f32;
            Wing {
                shape: WingShape::Drop,
                at: at - 0.1 * hind,
                root,
                length: length * (1.0 - 0.28 * hind),
                breadth: 1.15,
                angle: angle + 22.0 * hind,
                clear: true,
            }
        })
        .collect()
}
