//! Changes of colour in Pillow's 8-bit arithmetic.

use image::RgbImage;

use crate::rng::SampleRng;

/// Luma as Pillow's `convert("L")` rounds it.
fn luma(pixel: &[u8]) -> u8 {
    let [r, g, b] = [
        u32::from(pixel[0]),
        u32::from(pixel[1]),
        u32::from(pixel[2]),
    ];
    ((r * 19_595 + g * 38_470 + b * 7_471 + 0x8000) >> 16) as u8
}

/// `from + factor * (to - from)`, truncated and clipped to 8 bits.
fn blend(from: u8, to: u8, factor: f32) -> u8 {
    (f32::from(from) + factor * (f32::from(to) - f32::from(from))) as u8
}

/// 0 gives black, 1 the image.
pub(crate) fn brightness(image: &mut RgbImage, factor: f32) {
    let table: [u8; 256] = std::array::from_fn(|v| blend(0, v as u8, factor));
    map_values(image, |_, v| table[usize::from(v)]);
}

/// 0 gives the mean grey, 1 the image.
pub(crate) fn contrast(image: &mut RgbImage, factor: f32) {
    let pixels = image.as_raw().chunks_exact(3);
    let count = pixels.len().max(1);
    let sum: u64 = pixels.map(|pixel| u64::from(luma(pixel))).sum();
    let mean = (sum as f64 / count as f64 + 0.5) as u8;
    let table: [u8; 256] = std::array::from_fn(|v| blend(mean, v as u8, factor));
    map_values(image, |_, v| table[usize::from(v)]);
}

/// 0 gives grey, 1 the image.
pub(crate) fn saturation(image: &mut RgbImage, factor: f32) {
    for pixel in image.chunks_exact_mut(3) {
        let grey = luma(pixel);
        for value in pixel {
            *value = blend(grey, *value, factor);
        }
    }
}

/// Shifts the hue by `shift` turns of the circle, in 255 steps as Pillow's HSV has.
pub(crate) fn hue(image: &mut RgbImage, shift: f64) {
    let steps = (shift * 255.0) as i32 as u8;
    for pixel in image.chunks_exact_mut(3) {
        let [h, s, v] = hsv_from_rgb([pixel[0], pixel[1], pixel[2]]);
        pixel.copy_from_slice(&rgb_from_hsv([h.wrapping_add(steps), s, v]));
    }
}

/// 0 gives a smoothed image, 1 the image, 2 a sharpened one. Border pixels stay.
pub(crate) fn sharpness(image: &mut RgbImage, factor: f32) {
    let (width, height) = (image.width() as usize, image.height() as usize);
    if width < 3 || height < 3 {
        return;
    }
    let source = image.as_raw().clone();
    let stride = width * 3;
    for y in 1..height - 1 {
        for at in y * stride + 3..(y + 1) * stride - 3 {
            let row = |start: usize| {
                u32::from(source[start - 3])
                    + u32::from(source[start])
                    + u32::from(source[start + 3])
            };
            let sum = row(at - stride) + row(at) + row(at + stride) + 4 * u32::from(source[at]);
            let smooth = (sum as f32 / 13.0 + 0.5) as u8;
            image.as_flat_samples_mut().samples[at] = blend(smooth, source[at], factor);
        }
    }
}

/// Keeps the highest `bits` bits.
pub(crate) fn posterize(image: &mut RgbImage, bits: u32) {
    let mask = !(0xff_u32 >> bits.min(8)) as u8;
    map_values(image, |_, v| v & mask);
}

/// Inverts values at or above the threshold.
pub(crate) fn solarize(image: &mut RgbImage, threshold: f64) {
    map_values(
        image,
        |_, v| if f64::from(v) < threshold { v } else { 255 - v },
    );
}

/// Stretches each channel to the whole range.
pub(crate) fn autocontrast(image: &mut RgbImage) {
    let tables = channel_histograms(image).map(|histogram| {
        let low = histogram.iter().position(|n| *n > 0).unwrap_or(0);
        let high = histogram.iter().rposition(|n| *n > 0).unwrap_or(0);
        let scale = if high > low {
            255.0 / (high - low) as f64
        } else {
            1.0
        };
        let offset = if high > low {
            -(low as f64) * scale
        } else {
            0.0
        };
        std::array::from_fn(|v| (v as f64 * scale + offset) as u8)
    });
    apply_tables(image, &tables);
}

/// Makes each channel's histogram flat.
pub(crate) fn equalize(image: &mut RgbImage) {
    let tables = channel_histograms(image).map(|histogram| {
        let last = histogram
            .iter()
            .rev()
            .find(|n| **n > 0)
            .copied()
            .unwrap_or(0);
        let step = (histogram.iter().sum::<u64>() - last) / 255;
        if step == 0 {
            return std::array::from_fn(|v| v as u8);
        }
        let mut n = step / 2;
        let mut table = [0; 256];
        for (entry, count) in table.iter_mut().zip(histogram) {
            *entry = (n / step).min(255) as u8;
            n += count;
        }
        table
    });
    apply_tables(image, &tables);
}

/// Applies torchvision's `ColorJitter`: the four changes in random order, each with its own factor.
pub(crate) fn jitter(image: &mut RgbImage, strength: [f64; 4], rng: &mut SampleRng) {
    let mut order = [0, 1, 2, 3];
    rng.shuffle(&mut order);
    for what in order {
        let v = strength[what];
        if v == 0.0 {
            continue;
        }
        if what == 3 {
            hue(image, rng.uniform(-v, v));
            continue;
        }
        let factor = rng.uniform((1.0 - v).max(0.0), 1.0 + v) as f32;
        match what {
            0 => brightness(image, factor),
            1 => contrast(image, factor),
            _ => saturation(image, factor),
        }
    }
}

fn map_values(image: &mut RgbImage, map: impl Fn(usize, u8) -> u8) {
    for pixel in image.chunks_exact_mut(3) {
        for (channel, value) in pixel.iter_mut().enumerate() {
            *value = map(channel, *value);
        }
    }
}

fn apply_tables(image: &mut RgbImage, tables: &[[u8; 256]; 3]) {
    map_values(image, |channel, v| tables[channel][usize::from(v)]);
}

fn channel_histograms(image: &RgbImage) -> [[u64; 256]; 3] {
    let mut histograms = [[0; 256]; 3];
    for pixel in image.as_raw().chunks_exact(3) {
        for (histogram, value) in histograms.iter_mut().zip(pixel) {
            histogram[usize::from(*value)] += 1;
        }
    }
    histograms
}

/// Pillow's 8-bit HSV.
fn hsv_from_rgb([r, g, b]: [u8; 3]) -> [u8; 3] {
    let (high, low) = (r.max(g).max(b), r.min(g).min(b));
    if high == low {
        return [0, 0, high];
    }
    let range = f32::from(high - low);
    let below = |v: u8| f32::from(high - v) / range;
    let (rc, gc, bc) = (below(r), below(g), below(b));
    let h = if r == high {
        bc - gc
    } else if g == high {
        2.0 + rc - bc
    } else {
        4.0 + gc - rc
    };
    let h = (h / 6.0 + 1.0) % 1.0;
    [
        (h * 255.0) as u8,
        (range / f32::from(high) * 255.0) as u8,
        high,
    ]
}

fn rgb_from_hsv([h, s, v]: [u8; 3]) -> [u8; 3] {
    if s == 0 {
        return [v; 3];
    }
    let position = f32::from(h) * 6.0 / 255.0;
    let sector = position.floor();
    let f = position - sector;
    let (s, value) = (f32::from(s) / 255.0, f32::from(v));
    let p = (value * (1.0 - s)).round() as u8;
    let q = (value * (1.0 - s * f)).round() as u8;
    let t = (value * (1.0 - s * (1.0 - f))).round() as u8;
    match sector as u32 % 6 {
        0 => [v, t, p],
        1 => [q, v, p],
        2 => [p, v, t],
        3 => [p, q, v],
        4 => [t, p, v],
        _ => [v, p, q],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hue_of_primaries_and_round_trip() {
        assert_eq!(hsv_from_rgb([255, 0, 0]), [0, 255, 255]);
        assert_eq!(hsv_from_rgb([0, 255, 0]), [85, 255, 255]);
        assert_eq!(hsv_from_rgb([0, 0, 255]), [170, 255, 255]);
        // A sixth of the circle has 42.5 hue steps, so one step is up to 6 grey levels.
        for rgb in [[12, 200, 99], [250, 3, 120], [77, 78, 79], [0, 0, 0]] {
            let back = rgb_from_hsv(hsv_from_rgb(rgb));
            for (a, b) in rgb.iter().zip(back) {
                assert!(a.abs_diff(b) <= 6, "{rgb:?} became {back:?}");
            }
        }
    }

    #[test]
    fn a_third_of_the_circle_turns_red_into_green() {
        let mut image = RgbImage::from_pixel(2, 2, image::Rgb([200, 0, 0]));
        hue(&mut image, 1.0 / 3.0);
        assert_eq!(image.get_pixel(0, 0).0, [0, 200, 0]);
        hue(&mut image, -1.0 / 3.0);
        assert_eq!(image.get_pixel(1, 1).0, [200, 0, 0]);
    }

    #[test]
    fn factor_one_is_the_identity_and_zero_the_degenerate_image() {
        let picture = RgbImage::from_fn(9, 7, |x, y| {
            image::Rgb([(x * 20) as u8, (y * 30) as u8, 40])
        });
        for change in [brightness, contrast, saturation, sharpness] {
            let mut same = picture.clone();
            change(&mut same, 1.0);
            assert_eq!(same, picture);
        }
        let mut grey = picture.clone();
        saturation(&mut grey, 0.0);
        assert!(grey.pixels().all(|p| p.0[0] == p.0[1] && p.0[1] == p.0[2]));
        let mut black = picture.clone();
        brightness(&mut black, 0.0);
        assert!(black.as_raw().iter().all(|v| *v == 0));
        let mut flat = picture.clone();
        contrast(&mut flat, 0.0);
        assert!(flat.as_raw().iter().all(|v| *v == flat.as_raw()[0]));
    }

    #[test]
    fn tables_by_hand() {
        let mut image = RgbImage::from_raw(2, 1, vec![50, 100, 7, 150, 100, 9]).unwrap_or_default();
        let original = image.clone();
        autocontrast(&mut image);
        assert_eq!(image.as_raw(), &[0, 100, 0, 255, 100, 255]);
        image = original.clone();
        solarize(&mut image, 100.0);
        assert_eq!(image.as_raw(), &[50, 155, 7, 105, 155, 9]);
        image = original.clone();
        posterize(&mut image, 4);
        assert_eq!(image.as_raw(), &[48, 96, 0, 144, 96, 0]);
        image = original;
        posterize(&mut image, 8);
        assert_eq!(image.as_raw(), &[50, 100, 7, 150, 100, 9]);
    }

    #[test]
    fn equalize_is_pillows_table_on_a_ramp() {
        let mut image = RgbImage::from_fn(128, 20, |x, _| image::Rgb([x as u8; 3]));
        equalize(&mut image);
        // Pillow's integers: step = (128 * 20 - 20) / 255 = 9, table[v] = (9 / 2 + 20 v) / 9.
        for (v, expected) in [(0, 0), (1, 2), (64, 142), (114, 253), (127, 255)] {
            assert_eq!(image.get_pixel(v, 3).0, [expected; 3]);
        }
    }
}
