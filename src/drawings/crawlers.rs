//! The source task's creatures with many or long legs, none of them an ant.

use super::body::{Body, Segment, step};
use super::canvas::{Canvas, Ink};
use super::colour::Coat;
use super::limbs::{Antennae, Feeler, Leg, fan_of_legs, feelers, six_legs};
use super::random::Draws;

pub(super) fn silverfish(canvas: &mut Canvas, coat: &Coat, draws: &mut Draws) {
    let trunk = Segment::ellipse(0.05, draws.around(0.52, 0.06), draws.around(0.22, 0.1)).egg(0.6);
    let mut body = Body::new(vec![trunk], draws);
    body.bend = draws.jitter(0.9);
    body.legs = six_legs(
        Segment::ellipse(0.25, 0.18, 0.15),
        draws.around(0.42, 0.1),
        0.03,
        draws,
    );
    body.antennae = feelers(
        Feeler::Straight,
        draws.around(0.6, 0.1),
        draws.between(25.0, 50.0),
    );
    for spread in [-0.6, 0.0, 0.6] {
        let (root, heading) = body.frame(-0.42, 0.0);
        let tip = step(
            root,
            heading + std::f32::consts::PI + spread,
            draws.around(0.5, 0.1),
        );
        canvas.line(&[root, tip], 0.028, Ink::flat(coat.limb));
    }
    body.draw(canvas, coat, draws);
}

pub(super) fn water_strider(canvas: &mut Canvas, coat: &Coat, draws: &mut Draws) {
    let trunk = Segment::ellipse(0.0, draws.around(0.48, 0.06), draws.around(0.09, 0.15));
    let mut body = Body::new(vec![trunk, Segment::ellipse(0.46, 0.09, 0.09)], draws);
    let leg = |at, femur_angle, tibia_angle, length: f32| Leg {
        at,
        root: 0.05,
        femur: length * 0.5,
        tibia: length * 0.5,
        femur_angle,
        tibia_angle,
        width: 0.035,
    };
    let length = draws.around(1.15, 0.08);
    body.legs = vec![
        leg(0.34, 40.0, 10.0, 0.4),
        leg(0.1, 70.0, 55.0, length),
        leg(-0.02, 120.0, 145.0, length),
    ];
    body.antennae = feelers(Feeler::Straight, 0.25, 35.0);
    body.draw(canvas, coat, draws);
}

pub(super) fn grasshopper(canvas: &mut Canvas, coat: &Coat, draws: &mut Draws) {
    let segments = vec![
        Segment::ellipse(-0.25, draws.around(0.6, 0.06), draws.around(0.14, 0.1))
            .egg(0.2)
            .power(0.4),
        Segment::ellipse(0.38, 0.18, 0.17).power(0.35),
        Segment::ellipse(0.62, 0.14, 0.15),
    ];
    let mut body = Body::new(segments, draws);
    body.eyes = 0.4;
    body.legs = six_legs(Segment::ellipse(0.35, 0.1, 0.15), 0.4, 0.04, draws)[..2].to_vec();
    body.antennae = feelers(Feeler::Straight, draws.around(0.35, 0.15), 30.0);
    let (open, reach) = (draws.between(0.3, 0.6), draws.around(0.62, 0.08));
    for side in [-1.0, 1.0] {
        let (root, heading) = body.frame(0.2, side * 0.12);
        let back = heading + std::f32::consts::PI;
        let knee = step(root, back - side * open, reach);
        let foot = step(
            knee,
            heading + side * draws.between(0.35, 0.7),
            reach * 0.95,
        );
        canvas.taper(
            root,
            knee,
            0.2,
            0.06,
            Ink::flat(coat.body.mix(coat.limb, 0.4)),
        );
        canvas.line(&[knee, foot], 0.045, Ink::flat(coat.limb));
    }
    body.draw(canvas, coat, draws);
}

pub(super) fn spider(canvas: &mut Canvas, coat: &Coat, draws: &mut Draws) {
    let segments = vec![
        Segment::ellipse(-0.25, draws.around(0.3, 0.1), draws.around(0.25, 0.1)),
        Segment::ellipse(0.16, 0.18, draws.around(0.15, 0.1)),
    ];
    let mut body = Body::new(segments, draws);
    body.fuzz = if draws.chance(0.4) { 0.07 } else { 0.0 };
    body.legs = fan_of_legs(
        4,
        0.16,
        0.09,
        draws.around(0.92, 0.1),
        draws.around(0.05, 0.2),
    );
    body.antennae = Some(Antennae {
        kind: Feeler::Straight,
        length: 0.14,
        angle: 15.0,
        width: 0.05,
    });
    body.draw(canvas, coat, draws);
}

pub(super) fn harvestman(canvas: &mut Canvas, coat: &Coat, draws: &mut Draws) {
    let button = Segment::ellipse(0.0, draws.around(0.18, 0.12), draws.around(0.15, 0.12));
    let mut body = Body::new(vec![button], draws);
    body.legs = fan_of_legs(4, 0.02, 0.08, draws.around(1.25, 0.08), 0.028);
    body.draw(canvas, coat, draws);
}

pub(super) fn scorpion(canvas: &mut Canvas, coat: &Coat, draws: &mut Draws) {
    let trunk =
        Segment::ellipse(0.08, draws.around(0.34, 0.08), draws.around(0.16, 0.1)).power(0.4);
    let mut body = Body::new(vec![trunk], draws);
    body.legs = fan_of_legs(4, 0.12, 0.1, draws.around(0.5, 0.1), 0.04);
    let limb = Ink::flat(coat.limb);
    let ball = Ink::shaded(coat.body.mix(coat.limb, 0.3));
    let (reach, turn) = (draws.around(0.3, 0.12), draws.sign());
    for side in [-1.0, 1.0] {
        let (root, heading) = body.frame(0.32, side * 0.1);
        let elbow = step(root, heading + side * draws.between(0.6, 1.0), reach);
        let hand = step(elbow, heading - side * 0.3, reach * 0.75);
        canvas.line(&[root, elbow, hand], 0.06, limb);
        canvas.ellipse(hand, (0.13, 0.085), heading, ball);
        for finger in [-0.35, 0.35] {
            canvas.line(&[hand, step(hand, heading + finger, 0.24)], 0.045, limb);
        }
    }
    let (mut joint, heading) = body.frame(-0.24, 0.0);
    let curl = draws.between(0.32, 0.55) * turn;
    for piece in 0..6 {
        joint = step(
            joint,
            heading + std::f32::consts::PI + curl * piece as f32,
            0.14,
        );
        canvas.dot(joint, 0.075 - 0.004 * piece as f32, ball);
    }
    canvas.taper(
        joint,
        step(joint, heading + std::f32::consts::PI + curl * 7.5, 0.2),
        0.07,
        0.01,
        limb,
    );
    body.draw(canvas, coat, draws);
}

pub(super) fn caterpillar(canvas: &mut Canvas, coat: &Coat, draws: &mut Draws) {
    let rings = draws.count(8, 10);
    let width = draws.around(0.17, 0.12);
    let pitch = 1.5 / rings as f32;
    let ring =
        |index: usize| Segment::ellipse(-0.75 + pitch * (index as f32 + 0.5), pitch * 0.62, width);
    let mut body = Body::new((0..rings).map(ring).collect(), draws);
    body.marked = (0..rings).step_by(2).collect();
    body.bend = draws.sign() * draws.between(0.3, 1.7);
    body.fuzz = if draws.chance(0.4) { 0.08 } else { 0.0 };
    body.eyes = 0.25;
    body.legs = (0..rings)
        .map(|index| Leg {
            at: ring(index).at,
            root: width * 0.8,
            femur: 0.08,
            tibia: 0.04,
            femur_angle: 90.0,
            tibia_angle: 90.0,
            width: 0.055,
        })
        .collect();
    body.draw(canvas, coat, draws);
}

pub(super) fn centipede(canvas: &mut Canvas, coat: &Coat, draws: &mut Draws) {
    let rings = draws.count(10, 13);
    let pitch = 1.6 / rings as f32;
    let ring = |index: usize| {
        Segment::ellipse(-0.8 + pitch * (index as f32 + 0.5), pitch * 0.6, 0.1).power(0.3)
    };
    let mut body = Body::new((0..rings).map(ring).collect(), draws);
    body.bend = draws.sign() * draws.between(0.2, 1.6);
    let reach = draws.around(0.3, 0.12);
    body.legs = (0..rings)
        .map(|index| Leg {
            at: ring(index).at,
            root: 0.07,
            femur: reach * 0.5,
            tibia: reach * 0.5,
            femur_angle: 80.0,
            tibia_angle: 112.0,
            width: 0.035,
        })
        .collect();
    body.antennae = feelers(Feeler::Straight, draws.around(0.35, 0.12), 35.0);
    body.draw(canvas, coat, draws);
}
