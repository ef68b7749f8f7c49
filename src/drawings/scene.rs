//! Everything around the creature: ground, clutter, light, lens and sensor.
//! None of it depends on the class.

use image::RgbImage;
use tiny_skia::{Pixmap, PixmapPaint, PremultipliedColorU8, Transform};

use super::PICTURE_SIZE;
use super::canvas::Canvas;
use super::clutter;
use super::colour::{Coat, Colour};
use super::ground::Ground;
use super::random::Draws;

/// Draws a subject into a random scene.
///
/// `subject` draws about the unit circle; where that lies in the picture, how
/// large and how turned, is the scene's choice. `upright` subjects are tilted a
/// little, the others lie in any direction.
pub(super) fn compose(
    draws: &mut Draws,
    upright: bool,
    subject: impl FnOnce(&mut Canvas, &Coat, &mut Draws),
) -> RgbImage {
    let ground = Ground::random(draws);
    let mut picture = Canvas::new(PICTURE_SIZE);
    ground.draw(&mut picture, draws);
    clutter::scatter(&mut picture, ground.colour, draws);

    let coat = Coat::standing_out(ground.colour, draws);
    let mut layer = Canvas::new(PICTURE_SIZE);
    place(&mut layer, upright, draws);
    subject(&mut layer, &coat, draws);

    drop_shadow(&mut picture, &layer, draws);
    lay_over(&mut picture, layer.pixmap());
    clutter::occlude(&mut picture, ground.colour, draws);
    photograph(picture.pixmap(), draws)
}

fn place(layer: &mut Canvas, upright: bool, draws: &mut Draws) {
    let size = PICTURE_SIZE as f32;
    let scale = draws.between(0.6, 0.95);
    let room = (1.0 - scale) * 0.5 * size + 0.05 * size;
    let centre = (
        size * 0.5 + draws.jitter(room),
        size * 0.5 + draws.jitter(room),
    );
    let angle = if upright {
        draws.jitter(0.45)
    } else {
        draws.jitter(std::f32::consts::PI)
    };
    // An upright subject is mirrored along x: turned by half a circle and flipped back.
    let (angle, flip) = match (upright, draws.chance(0.5)) {
        (true, true) => (angle + std::f32::consts::PI, -1.0),
        _ => (angle, 1.0),
    };
    layer.place(
        centre,
        scale * 0.5 * size,
        flip * draws.between(0.82, 1.12),
        angle,
    );
}

fn drop_shadow(picture: &mut Canvas, layer: &Canvas, draws: &mut Draws) {
    let strength = draws.between(0.1, 0.5);
    let (dx, dy) = (draws.count(0, 6) as i32 - 3, draws.count(1, 4) as i32);
    let alpha: Vec<f32> = layer
        .pixmap()
        .pixels()
        .iter()
        .map(|pixel| f32::from(pixel.alpha()) / 255.0)
        .collect();
    let soft = blur_plane(&alpha, 2);
    let side = PICTURE_SIZE as i32;
    for (index, pixel) in picture.pixmap_mut().pixels_mut().iter_mut().enumerate() {
        let (x, y) = (index as i32 % side - dx, index as i32 / side - dy);
        if !(0..side).contains(&x) || !(0..side).contains(&y) {
            continue;
        }
        let keep = 1.0 - strength * soft[(y * side + x) as usize];
        let dim = |value: u8| (f32::from(value) * keep) as u8;
        let (red, green, blue) = (dim(pixel.red()), dim(pixel.green()), dim(pixel.blue()));
        if let Some(dimmed) = PremultipliedColorU8::from_rgba(red, green, blue, 255) {
            *pixel = dimmed;
        }
    }
}

fn lay_over(picture: &mut Canvas, layer: &Pixmap) {
    let paint = PixmapPaint::default();
    picture
        .pixmap_mut()
        .draw_pixmap(0, 0, layer.as_ref(), &paint, Transform::identity(), None);
}

/// Uneven light, white balance, contrast, blur and noise.
fn photograph(picture: &Pixmap, draws: &mut Draws) -> RgbImage {
    let side = PICTURE_SIZE as usize;
    let mut planes: Vec<Vec<f32>> = (0..3)
        .map(|channel| {
            let value = |pixel: &PremultipliedColorU8| match channel {
                0 => pixel.red(),
                1 => pixel.green(),
                _ => pixel.blue(),
            };
            picture
                .pixels()
                .iter()
                .map(|pixel| f32::from(value(pixel)) / 255.0)
                .collect()
        })
        .collect();

    let blur = draws.unit();
    let (slope_x, slope_y) = (draws.jitter(0.3), draws.jitter(0.3));
    let exposure = draws.between(0.75, 1.2);
    let contrast = draws.between(0.7, 1.15);
    let noise = draws.between(0.0, 0.05);
    for plane in &mut planes {
        let gain = exposure * draws.between(0.88, 1.12);
        let soft = blur_plane(plane, 1);
        for (index, value) in plane.iter_mut().enumerate() {
            let x = (index % side) as f32 / side as f32 - 0.5;
            let y = (index / side) as f32 / side as f32 - 0.5;
            let light = gain * (1.0 + slope_x * x + slope_y * y);
            let sharp = *value + (soft[index] - *value) * blur;
            *value = (sharp * light - 0.5) * contrast + 0.5 + noise * draws.normal();
        }
    }
    RgbImage::from_fn(PICTURE_SIZE, PICTURE_SIZE, |x, y| {
        let index = y as usize * side + x as usize;
        let byte = |channel: usize| (planes[channel][index].clamp(0.0, 1.0) * 255.0).round() as u8;
        image::Rgb([byte(0), byte(1), byte(2)])
    })
}

/// Computes the mean over a square window of `2 radius + 1` pixels, cut at the edges.
fn blur_plane(plane: &[f32], radius: usize) -> Vec<f32> {
    transposed_row_means(&transposed_row_means(plane, radius), radius)
}

/// Means along the rows, stored as columns, so that a second call does the columns.
fn transposed_row_means(plane: &[f32], radius: usize) -> Vec<f32> {
    let side = PICTURE_SIZE as usize;
    let mut means = vec![0.0; plane.len()];
    for (line, row) in plane.chunks_exact(side).enumerate() {
        for at in 0..side {
            let window = &row[at.saturating_sub(radius)..(at + radius + 1).min(side)];
            means[at * side + line] = window.iter().sum::<f32>() / window.len() as f32;
        }
    }
    means
}

/// Returns a colour of things that lie about, at random distance from `ground`.
pub(super) fn litter_colour(ground: Colour, draws: &mut Draws) -> Colour {
    let other = Colour::from_hsv(
        draws.unit(),
        draws.between(0.1, 0.8),
        draws.between(0.1, 0.95),
    );
    ground.mix(other, draws.between(0.25, 0.9))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blur_is_the_mean_of_the_window_that_lies_in_the_picture() {
        let side = PICTURE_SIZE as usize;
        let mut draws = Draws::new(&[1]);
        let plane: Vec<f32> = (0..side * side).map(|_| draws.unit()).collect();
        let blurred = blur_plane(&plane, 2);
        for (x, y) in [(0, 0), (1, 50), (40, 95), (30, 60)] {
            let rows = y.max(2) - 2..(y + 3).min(side);
            let window: Vec<f32> = rows
                .flat_map(|row| {
                    (x.max(2) - 2..(x + 3).min(side)).map(move |column| row * side + column)
                })
                .map(|index| plane[index])
                .collect();
            let mean = window.iter().sum::<f32>() / window.len() as f32;
            let found = blurred[y * side + x];
            assert!(
                (found - mean).abs() < 1e-5,
                "({x}, {y}): {found}, expected {mean}"
            );
        }
    }
}
