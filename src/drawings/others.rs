//! The source task's other subjects, each with a shape of its own.

use std::f32::consts::PI;

use super::body::{Body, Marking, Segment, step};
use super::canvas::{Canvas, Ink, Xy, ellipse};
use super::colour::{Coat, Colour};
use super::limbs::Leg;
use super::random::Draws;

pub(super) fn crab(canvas: &mut Canvas, coat: &Coat, draws: &mut Draws) {
    let shell =
        Segment::ellipse(0.0, draws.around(0.32, 0.08), draws.around(0.46, 0.08)).power(0.45);
    let mut body = Body::new(vec![shell], draws);
    body.legs = (0..4)
        .map(|pair| Leg {
            at: 0.1 - 0.1 * pair as f32,
            root: 0.35,
            femur: 0.3,
            tibia: 0.28,
            femur_angle: 65.0 + 22.0 * pair as f32,
            tibia_angle: 105.0 + 22.0 * pair as f32,
            width: 0.06,
        })
        .collect();
    let ball = Ink::shaded(coat.body.mix(coat.limb, 0.25));
    for side in [-1.0, 1.0] {
        let elbow = (0.35, side * draws.between(0.5, 0.62));
        let hand = (0.62, side * draws.between(0.26, 0.42));
        canvas.line(
            &[(0.2, side * 0.35), elbow, hand],
            0.1,
            Ink::flat(coat.limb),
        );
        canvas.ellipse(hand, (0.2, 0.13), -side * 0.3, ball);
        for finger in [-0.3, 0.35] {
            canvas.taper(
                hand,
                step(hand, finger - side * 0.25, 0.36),
                0.1,
                0.03,
                ball,
            );
        }
        let eye = (0.38, side * 0.13);
        canvas.line(&[(0.25, side * 0.12), eye], 0.04, Ink::flat(coat.limb));
        canvas.dot(eye, 0.06, Ink::shaded(coat.limb.darker(0.4)));
    }
    body.draw(canvas, coat, draws);
}

pub(super) fn snail(canvas: &mut Canvas, coat: &Coat, draws: &mut Draws) {
    let lift = draws.around(0.5, 0.1);
    let foot = [
        (-0.95, 0.55),
        (-0.4, 0.36),
        (0.35, 0.3),
        (0.62, 0.02),
        (0.84, 0.0),
        (0.9, 0.22),
        (0.66, 0.52),
        (0.0, 0.6),
    ];
    canvas.blob(&foot, Ink::shaded(coat.marking));
    for (root, tip) in [((0.72, 0.05), (0.76, -0.34)), ((0.82, 0.08), (0.98, -0.26))] {
        canvas.line(&[root, tip], 0.045, Ink::flat(coat.limb));
        canvas.dot(tip, 0.055, Ink::flat(coat.limb));
    }
    let centre = (-0.12, 0.42 - lift);
    let radius = draws.around(0.5, 0.08);
    canvas.dot(centre, radius, Ink::shaded(coat.body));
    let turns = draws.between(2.0, 3.0);
    let whorl: Vec<Xy> = (0..28)
        .map(|at| {
            let share = at as f32 / 27.0;
            step(
                centre,
                1.2 - share * turns * 2.0 * PI,
                radius * (1.0 - share * 0.93),
            )
        })
        .collect();
    canvas.curve(&whorl, 0.055, Ink::flat(coat.limb));
}

pub(super) fn fish(canvas: &mut Canvas, coat: &Coat, draws: &mut Draws) {
    let (long, high) = (draws.around(0.62, 0.08), draws.around(0.34, 0.15));
    let fin = Ink::flat(coat.marking.mix(coat.body, 0.3));
    let fork = draws.between(0.05, 0.2);
    let tail = [
        (-long * 0.8, 0.0),
        (-0.98, -0.36),
        (-0.98 + fork, 0.0),
        (-0.98, 0.36),
    ];
    canvas.polygon(&tail, fin);
    canvas.blob(
        &[
            (-0.2, -high * 0.8),
            (-0.05, -high - 0.24),
            (0.25, -high * 0.8),
        ],
        fin,
    );
    canvas.blob(
        &[(-0.1, high * 0.8), (-0.2, high + 0.2), (0.15, high * 0.8)],
        fin,
    );
    let mut trunk = Body::new(vec![Segment::ellipse(0.08, long, high).egg(0.15)], draws);
    trunk.bend = 0.0;
    trunk.draw(canvas, coat, draws);
    canvas.curve(
        &[(0.3, -high * 0.7), (0.22, 0.0), (0.3, high * 0.7)],
        0.035,
        Ink::flat(coat.limb),
    );
    canvas.dot((0.46, -high * 0.22), 0.08, Ink::flat(Colour::WHITE));
    canvas.dot((0.47, -high * 0.22), 0.045, Ink::flat(Colour::BLACK));
    canvas.polygon(&[(-0.02, 0.02), (-0.24, 0.2), (0.08, 0.16)], fin);
}

pub(super) fn lizard(canvas: &mut Canvas, coat: &Coat, draws: &mut Draws) {
    let segments = vec![
        Segment::ellipse(-0.55, 0.5, 0.09).egg(0.9).power(0.35),
        Segment::ellipse(0.15, 0.33, draws.around(0.16, 0.1)).power(0.4),
        Segment::ellipse(0.58, 0.19, draws.around(0.13, 0.1)).egg(-0.25),
    ];
    let mut body = Body::new(segments, draws);
    body.bend = draws.sign() * draws.between(0.3, 1.5);
    body.eyes = 0.25;
    let leg = |at, femur_angle, tibia_angle| Leg {
        at,
        root: 0.1,
        femur: 0.26,
        tibia: 0.22,
        femur_angle,
        tibia_angle,
        width: 0.085,
    };
    body.legs = vec![leg(0.36, 75.0, 30.0), leg(-0.08, 110.0, 150.0)];
    body.draw(canvas, coat, draws);
}

pub(super) fn bird(canvas: &mut Canvas, coat: &Coat, draws: &mut Draws) {
    let spread = draws.between(0.72, 0.95);
    let sweep = draws.between(-0.15, 0.25);
    let tail = [
        (-0.3, -0.08),
        (-0.88, -0.24),
        (-0.76, 0.0),
        (-0.88, 0.24),
        (-0.3, 0.08),
    ];
    canvas.polygon(&tail, Ink::flat(coat.marking));
    for side in [-1.0, 1.0] {
        let place = |x: f32, y: f32| (x - sweep * y, side * y * spread);
        let wing = [
            place(0.28, 0.08),
            place(0.42, 0.5),
            place(0.18, 1.0),
            place(-0.05, 0.72),
            place(-0.2, 0.42),
            place(-0.25, 0.08),
        ];
        canvas.blob(&wing, Ink::flat(coat.body.mix(coat.limb, 0.25)));
        for share in [0.35, 0.6, 0.82] {
            canvas.line(
                &[place(0.3 - share * 0.1, share), place(-0.12, share * 0.9)],
                0.03,
                Ink::flat(coat.limb),
            );
        }
    }
    let mut trunk = Body::new(
        vec![
            Segment::ellipse(0.0, 0.42, draws.around(0.16, 0.1)),
            Segment::ellipse(0.45, 0.15, 0.13),
        ],
        draws,
    );
    trunk.bend = draws.jitter(0.15);
    canvas.taper(
        (0.5, 0.0),
        (0.78, 0.0),
        0.14,
        0.01,
        Ink::flat(coat.marking.darker(0.2)),
    );
    trunk.draw(canvas, coat, draws);
}

pub(super) fn leaf(canvas: &mut Canvas, coat: &Coat, draws: &mut Draws) {
    let (wide, teeth) = (draws.around(0.42, 0.2), draws.count(5, 9));
    let bow = draws.jitter(0.15);
    let place = |along: f32, aside: f32| (along, aside + bow * (1.0 - along * along));
    let rim = |along: f32| wide * (1.0 - along * along).max(0.0).powf(0.75) * (1.0 - 0.35 * along);
    let mut outline = Vec::new();
    for side in [1.0, -1.0] {
        for tooth in 0..=2 * teeth {
            let along = -side * (-0.85 + 1.7 * tooth as f32 / (2 * teeth) as f32);
            let notch = if tooth % 2 == 0 { 1.0 } else { 0.82 };
            outline.push(place(along, side * rim(along / 0.9) * notch));
        }
    }
    canvas.polygon(&outline, Ink::shaded(coat.body));
    let vein = Ink::flat(coat.limb);
    canvas.curve(
        &[place(-1.0, 0.0), place(0.0, 0.0), place(0.82, 0.0)],
        0.045,
        vein,
    );
    for pair in 0..5 {
        let root = -0.6 + 0.28 * pair as f32;
        for side in [-1.0, 1.0] {
            let tip = root + 0.22;
            canvas.line(
                &[place(root, 0.0), place(tip, side * rim(tip) * 0.75)],
                0.028,
                vein,
            );
        }
    }
}

pub(super) fn flower(canvas: &mut Canvas, coat: &Coat, draws: &mut Draws) {
    let petals = draws.count(5, 9);
    let turn = draws.jitter(PI);
    let slender = draws.between(0.75, 1.1);
    for petal in 0..petals {
        let angle = turn + petal as f32 * 2.0 * PI / petals as f32 + draws.jitter(0.08);
        let centre = step((0.0, 0.0), angle, 0.56);
        let radii = (0.38, 1.6 * slender / petals as f32);
        canvas.ellipse(centre, radii, angle, Ink::shaded(coat.body));
        canvas.outline(
            &ellipse(centre, radii, angle),
            0.025,
            Ink::flat(coat.limb).opacity(0.6),
        );
        canvas.line(
            &[step(centre, angle, -0.2), step(centre, angle, 0.15)],
            0.02,
            Ink::flat(coat.limb).opacity(0.5),
        );
    }
    canvas.dot(
        (0.0, 0.0),
        draws.around(0.27, 0.15),
        Ink::shaded(coat.marking),
    );
    for seed in 0..9 {
        let at = step((0.0, 0.0), seed as f32 * 2.4, 0.065 * (seed as f32).sqrt());
        canvas.dot(at, 0.025, Ink::flat(coat.limb));
    }
}

pub(super) fn mushroom(canvas: &mut Canvas, coat: &Coat, draws: &mut Draws) {
    let (wide, stem) = (draws.around(0.72, 0.1), draws.around(0.17, 0.2));
    let height = draws.between(0.5, 0.8);
    let stalk = [
        (-stem, -0.05),
        (-stem * 1.1, 0.45),
        (-stem * 1.6, 0.88),
        (stem * 1.6, 0.88),
        (stem * 1.1, 0.45),
        (stem, -0.05),
    ];
    canvas.blob(&stalk, Ink::shaded(coat.marking));
    let brim = 0.05;
    let cap: Vec<Xy> = (0..=10)
        .map(|at| {
            let (up, along) = (PI * at as f32 / 10.0).sin_cos();
            (-along * wide, brim - up * height)
        })
        .chain([
            (wide * 0.5, brim + 0.1),
            (0.0, brim + 0.14),
            (-wide * 0.5, brim + 0.1),
        ])
        .collect();
    canvas.blob(&cap, Ink::shaded(coat.body));
    canvas.curve(
        &[(-wide, brim), (0.0, brim + 0.13), (wide, brim)],
        0.035,
        Ink::flat(coat.limb),
    );
    if Marking::random(draws) != Marking::Plain {
        for (x, y, radius) in [
            (-0.45, 0.35, 0.1),
            (0.0, 0.68, 0.13),
            (0.42, 0.4, 0.11),
            (-0.12, 0.25, 0.08),
        ] {
            canvas.dot(
                (x * wide, brim - y * height),
                radius,
                Ink::flat(coat.marking),
            );
        }
    }
}
