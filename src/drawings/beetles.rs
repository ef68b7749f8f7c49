//! The source task's beetles and other armoured crawlers.

use super::body::{Body, Marking, Segment, step};
use super::canvas::{Canvas, Ink};
use super::colour::Coat;
use super::limbs::{Feeler, Leg, feelers, six_legs};
use super::random::Draws;

pub(super) fn ladybird(canvas: &mut Canvas, coat: &Coat, draws: &mut Draws) {
    let shell = Segment::ellipse(-0.12, draws.around(0.56, 0.06), draws.around(0.52, 0.06));
    let head = Segment::ellipse(0.5, 0.16, 0.24);
    let mut body = Body::new(vec![head, shell], draws);
    body.marked = vec![1];
    body.marking = Marking::Spots(draws.count(2, 3));
    body.legs = six_legs(shell, draws.around(0.95, 0.08), 0.05, draws);
    body.draw(canvas, coat, draws);
    canvas.line(
        &[body.frame(-0.62, 0.0).0, body.frame(0.4, 0.0).0],
        0.03,
        Ink::flat(coat.limb),
    );
}

pub(super) fn ground_beetle(canvas: &mut Canvas, coat: &Coat, draws: &mut Draws) {
    let thorax = Segment::ellipse(0.28, 0.17, draws.around(0.22, 0.1)).power(0.35);
    let segments = vec![
        Segment::ellipse(-0.3, draws.around(0.48, 0.06), draws.around(0.3, 0.08)).power(0.4),
        thorax,
        Segment::ellipse(0.53, 0.14, 0.14),
    ];
    let mut body = Body::new(segments, draws);
    body.legs = six_legs(
        Segment { at: 0.12, ..thorax },
        draws.around(0.7, 0.1),
        0.05,
        draws,
    );
    body.antennae = feelers(Feeler::Straight, draws.around(0.45, 0.15), 35.0);
    body.draw(canvas, coat, draws);
}

pub(super) fn stag_beetle(canvas: &mut Canvas, coat: &Coat, draws: &mut Draws) {
    let thorax = Segment::ellipse(0.12, 0.16, 0.3).power(0.3);
    let head = Segment::ellipse(0.38, 0.15, 0.24).power(0.35);
    let segments = vec![
        Segment::ellipse(-0.4, draws.around(0.42, 0.06), 0.32).power(0.42),
        thorax,
        head,
    ];
    let mut body = Body::new(segments, draws);
    body.legs = six_legs(thorax, draws.around(0.75, 0.1), 0.06, draws);
    let jaw = draws.around(0.52, 0.12);
    for side in [-1.0, 1.0] {
        let (root, heading) = body.frame(0.48, side * 0.14);
        let elbow = step(root, heading + side * 0.75, jaw * 0.6);
        let tip = step(elbow, heading - side * 0.65, jaw * 0.7);
        canvas.curve(&[root, elbow, tip], 0.075, Ink::flat(coat.limb));
        let tooth = step(elbow, heading - side * 1.5, jaw * 0.25);
        canvas.line(&[elbow, tooth], 0.05, Ink::flat(coat.limb));
    }
    body.draw(canvas, coat, draws);
}

pub(super) fn longhorn_beetle(canvas: &mut Canvas, coat: &Coat, draws: &mut Draws) {
    let thorax = Segment::ellipse(0.22, 0.13, 0.15);
    let segments = vec![
        Segment::ellipse(-0.25, draws.around(0.42, 0.06), draws.around(0.19, 0.1)).power(0.35),
        thorax,
        Segment::ellipse(0.42, 0.12, 0.12),
    ];
    let mut body = Body::new(segments, draws);
    body.legs = six_legs(thorax, draws.around(0.62, 0.1), 0.042, draws);
    body.antennae = feelers(
        Feeler::Swept,
        draws.around(1.25, 0.1),
        draws.between(40.0, 60.0),
    );
    body.draw(canvas, coat, draws);
}

pub(super) fn cockroach(canvas: &mut Canvas, coat: &Coat, draws: &mut Draws) {
    let segments = vec![
        Segment::ellipse(-0.25, draws.around(0.55, 0.05), draws.around(0.31, 0.06)).egg(0.1),
        Segment::ellipse(0.5, 0.1, 0.12),
        Segment::ellipse(0.32, 0.19, 0.29),
    ];
    let mut body = Body::new(segments, draws);
    body.legs = six_legs(
        Segment::ellipse(0.0, 0.3, 0.25),
        draws.around(0.75, 0.08),
        0.045,
        draws,
    );
    body.antennae = feelers(
        Feeler::Straight,
        draws.around(0.75, 0.1),
        draws.between(20.0, 45.0),
    );
    body.draw(canvas, coat, draws);
}

pub(super) fn earwig(canvas: &mut Canvas, coat: &Coat, draws: &mut Draws) {
    let thorax = Segment::ellipse(0.32, 0.17, 0.14).power(0.35);
    let abdomen =
        Segment::ellipse(-0.2, draws.around(0.42, 0.06), draws.around(0.15, 0.1)).power(0.3);
    let mut body = Body::new(
        vec![abdomen, thorax, Segment::ellipse(0.55, 0.11, 0.11)],
        draws,
    );
    body.bend = draws.jitter(0.6);
    body.legs = six_legs(thorax, draws.around(0.45, 0.1), 0.04, draws);
    body.antennae = feelers(Feeler::Straight, draws.around(0.42, 0.15), 35.0);
    let (length, open) = (draws.around(0.36, 0.15), draws.between(0.25, 0.6));
    for side in [-1.0, 1.0] {
        let (root, heading) = body.frame(-0.58, side * 0.06);
        let back = heading + std::f32::consts::PI;
        let bow = step(root, back - side * open, length * 0.6);
        let tip = step(bow, back + side * open * 1.3, length * 0.55);
        canvas.curve(&[root, bow, tip], 0.055, Ink::flat(coat.limb));
    }
    body.draw(canvas, coat, draws);
}

pub(super) fn woodlouse(canvas: &mut Canvas, coat: &Coat, draws: &mut Draws) {
    let shell =
        Segment::ellipse(-0.05, draws.around(0.6, 0.05), draws.around(0.36, 0.08)).power(0.42);
    let mut body = Body::new(vec![Segment::ellipse(0.5, 0.14, 0.2), shell], draws);
    body.marking = Marking::Stripes(7);
    body.marked = vec![1];
    body.bend = draws.jitter(0.5);
    body.legs = (0..7)
        .map(|pair| Leg {
            at: 0.35 - 0.13 * pair as f32,
            root: 0.28,
            femur: 0.16,
            tibia: 0.1,
            femur_angle: 75.0 + 6.0 * pair as f32,
            tibia_angle: 95.0 + 8.0 * pair as f32,
            width: 0.035,
        })
        .collect();
    body.antennae = feelers(Feeler::Elbowed, draws.around(0.35, 0.12), 30.0);
    body.draw(canvas, coat, draws);
}
