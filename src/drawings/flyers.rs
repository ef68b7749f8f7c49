//! The source task's creatures with wings, none of them a bee.

use super::body::{Body, Segment};
use super::canvas::Canvas;
use super::colour::Coat;
use super::limbs::{Feeler, feelers, six_legs};
use super::random::Draws;
use super::wing::{Wing, WingShape, clear_wings};

pub(super) fn butterfly(canvas: &mut Canvas, coat: &Coat, draws: &mut Draws) {
    let segments = vec![
        Segment::ellipse(-0.2, 0.32, 0.06),
        Segment::ellipse(0.17, 0.15, 0.09),
        Segment::ellipse(0.36, 0.08, 0.08),
    ];
    let mut body = Body::new(segments, draws);
    let wing = |shape, at, length, angle| Wing {
        shape,
        at,
        root: 0.03,
        length,
        breadth: 1.05,
        angle,
        clear: false,
    };
    let open = draws.jitter(12.0);
    body.wings = vec![
        wing(
            WingShape::Shell,
            0.05,
            draws.around(0.68, 0.08),
            128.0 + open,
        ),
        wing(WingShape::Sail, 0.2, draws.around(0.88, 0.08), 68.0 + open),
    ];
    body.wings_below = true;
    body.antennae = feelers(Feeler::Clubbed, draws.around(0.42, 0.12), 25.0);
    body.draw(canvas, coat, draws);
}

pub(super) fn moth(canvas: &mut Canvas, coat: &Coat, draws: &mut Draws) {
    let segments = vec![
        Segment::ellipse(-0.2, 0.4, 0.16),
        Segment::ellipse(0.25, 0.2, 0.19),
        Segment::ellipse(0.47, 0.1, 0.12),
    ];
    let mut body = Body::new(segments, draws);
    body.fuzz = 0.07;
    body.wings = vec![Wing {
        shape: WingShape::Delta,
        at: 0.3,
        root: 0.06,
        length: draws.around(1.05, 0.06),
        breadth: draws.around(1.15, 0.1),
        angle: draws.between(120.0, 142.0),
        clear: false,
    }];
    body.wings_below = draws.chance(0.5);
    body.antennae = feelers(Feeler::Feathered, draws.around(0.4, 0.12), 40.0);
    body.draw(canvas, coat, draws);
}

pub(super) fn dragonfly(canvas: &mut Canvas, coat: &Coat, draws: &mut Draws) {
    let segments = vec![
        Segment::ellipse(-0.4, draws.around(0.55, 0.05), draws.around(0.065, 0.15)).power(0.25),
        Segment::ellipse(0.28, 0.17, 0.13),
        Segment::ellipse(0.52, 0.1, 0.15),
    ];
    let mut body = Body::new(segments, draws);
    body.eyes = 0.55;
    let wing = |at, length, angle| Wing {
        shape: WingShape::Blade,
        at,
        root: 0.08,
        length,
        breadth: 1.25,
        angle,
        clear: true,
    };
    let length = draws.around(0.88, 0.06);
    let sweep = draws.jitter(10.0);
    body.wings = vec![
        wing(0.14, length * 0.95, 103.0 + sweep),
        wing(0.34, length, 78.0 + sweep),
    ];
    body.draw(canvas, coat, draws);
}

pub(super) fn crane_fly(canvas: &mut Canvas, coat: &Coat, draws: &mut Draws) {
    let thorax = Segment::ellipse(0.15, 0.12, 0.09);
    let abdomen = Segment::ellipse(-0.2, draws.around(0.3, 0.08), 0.05);
    let mut body = Body::new(
        vec![abdomen, thorax, Segment::ellipse(0.3, 0.07, 0.06)],
        draws,
    );
    body.legs = six_legs(thorax, draws.around(1.45, 0.08), 0.028, draws);
    body.wings = clear_wings(
        1,
        0.17,
        0.06,
        draws.around(0.62, 0.08),
        draws.between(105.0, 140.0),
    );
    body.antennae = feelers(Feeler::Straight, 0.18, 35.0);
    body.draw(canvas, coat, draws);
}

pub(super) fn housefly(canvas: &mut Canvas, coat: &Coat, draws: &mut Draws) {
    let thorax = Segment::ellipse(0.15, 0.24, draws.around(0.25, 0.08));
    let segments = vec![
        Segment::ellipse(-0.3, draws.around(0.34, 0.08), draws.around(0.28, 0.08)),
        thorax,
        Segment::ellipse(0.47, 0.14, draws.around(0.25, 0.08)),
    ];
    let mut body = Body::new(segments, draws);
    body.eyes = 0.58;
    body.fuzz = if draws.chance(0.3) { 0.06 } else { 0.0 };
    body.legs = six_legs(thorax, draws.around(0.68, 0.1), 0.042, draws);
    body.wings = clear_wings(
        1,
        0.18,
        0.15,
        draws.around(0.78, 0.06),
        draws.between(118.0, 160.0),
    );
    body.draw(canvas, coat, draws);
}

pub(super) fn wasp(canvas: &mut Canvas, coat: &Coat, draws: &mut Draws) {
    let thorax = Segment::ellipse(0.22, 0.2, draws.around(0.15, 0.08));
    let segments = vec![
        Segment::ellipse(-0.44, draws.around(0.34, 0.06), draws.around(0.16, 0.1))
            .egg(0.35)
            .power(0.6),
        Segment::ellipse(-0.04, 0.1, 0.035),
        thorax,
        Segment::ellipse(0.53, 0.11, 0.16),
    ];
    let mut body = Body::new(segments, draws);
    body.eyes = 0.35;
    body.legs = six_legs(thorax, draws.around(0.72, 0.1), 0.04, draws);
    body.wings = clear_wings(
        2,
        0.27,
        0.1,
        draws.around(0.72, 0.08),
        draws.between(95.0, 150.0),
    );
    body.antennae = feelers(Feeler::Straight, draws.around(0.36, 0.12), 32.0);
    body.draw(canvas, coat, draws);
}

pub(super) fn cicada(canvas: &mut Canvas, coat: &Coat, draws: &mut Draws) {
    let thorax = Segment::ellipse(0.3, 0.22, draws.around(0.29, 0.06)).power(0.4);
    let segments = vec![
        Segment::ellipse(-0.2, draws.around(0.4, 0.06), draws.around(0.24, 0.08)).egg(0.4),
        thorax,
        Segment::ellipse(0.56, 0.12, draws.around(0.3, 0.06)).power(0.4),
    ];
    let mut body = Body::new(segments, draws);
    body.eyes = 0.3;
    body.legs = six_legs(thorax, draws.around(0.62, 0.08), 0.045, draws)[..2].to_vec();
    body.wings = clear_wings(
        1,
        0.35,
        0.2,
        draws.around(1.12, 0.05),
        draws.between(148.0, 164.0),
    );
    body.draw(canvas, coat, draws);
}
