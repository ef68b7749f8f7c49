//! Converts rows of luma and chroma to pixels, with the arithmetic of libjpeg.

use std::ops::Range;

use super::region::Plane;

#[inline(always)]
pub(super) fn grey_row(luma: &[u8], out: &mut [u8]) {
    for (pixel, luma) in out.chunks_exact_mut(3).zip(luma) {
        pixel.fill(*luma);
    }
}

/// JFIF's YCbCr in 16 bits of fraction.
#[inline(always)]
pub(super) fn rgb_row(luma: &[u8], blue: &[u8], red: &[u8], out: &mut [u8]) {
    let chroma = blue.iter().zip(red);
    for ((pixel, luma), (blue, red)) in out.chunks_exact_mut(3).zip(luma).zip(chroma) {
        let luma = i32::from(*luma);
        let (blue, red) = (i32::from(*blue) - 128, i32::from(*red) - 128);
        let half = 1 << 15;
        let r = luma + ((91_881 * red + half) >> 16);
        let g = luma + ((-22_554 * blue - 46_802 * red + half) >> 16);
        let b = luma + ((116_130 * blue + half) >> 16);
        pixel[0] = r.clamp(0, 255) as u8;
        pixel[1] = g.clamp(0, 255) as u8;
        pixel[2] = b.clamp(0, 255) as u8;
    }
}

/// Pillow's light behind ink of the four colours, 255 meaning all.
#[inline(always)]
pub(crate) fn cmyk_pixel([cyan, magenta, yellow, black]: [u8; 4]) -> [u8; 3] {
    let light = 255 - u32::from(black);
    [cyan, magenta, yellow].map(|ink| {
        let product = u32::from(ink) * light + 128;
        (light - ((product + (product >> 8)) >> 8)) as u8
    })
}

/// Four components as Pillow takes them, whatever the markers say: stored as 255 less the ink.
pub(super) fn cmyk_row(stored: [&[u8]; 4], out: &mut [u8]) {
    for (x, pixel) in out.chunks_exact_mut(3).enumerate() {
        pixel.copy_from_slice(&cmyk_pixel(stored.map(|row| 255 - row[x])));
    }
}

/// Converts a row like [`cmyk_row`], from luma and chroma of 255 less what is stored of the first three inks.
pub(super) fn ycck_row(luma: &[u8], blue: &[u8], red: &[u8], black: &[u8], out: &mut [u8]) {
    rgb_row(luma, blue, red, out);
    for (pixel, black) in out.chunks_exact_mut(3).zip(black) {
        let ink = [pixel[0], pixel[1], pixel[2], 255 - black];
        pixel.copy_from_slice(&cmyk_pixel(ink));
    }
}

/// libjpeg's "fancy" upsampling: a pixel takes three quarters of its sample and one of the nearest
/// other, in each direction that has fewer samples than pixels. Returns how many values of `out`
/// come before those of `columns`. `between` is scratch space.
#[inline(always)]
pub(super) fn upsampled_row(
    plane: &Plane,
    y: usize,
    columns: &Range<usize>,
    between: &mut [u16],
    out: &mut [u8],
) -> usize {
    let line = |row: usize| {
        let start = (row - plane.top) * plane.stride;
        &plane.samples[start..start + plane.stride]
    };
    // Down.
    let row = y / plane.pixels_down;
    let other = match (plane.pixels_down, y % 2) {
        (1, _) => row,
        (_, 0) => row.saturating_sub(1),
        _ => (row + 1).min(plane.height - 1),
    };
    let (near, far) = (line(row), line(other));
    let blend = |at: usize| 3 * u16::from(near[at]) + u16::from(far[at]);
    if plane.pixels_across == 1 {
        let bias = 1 + (y % 2) as u16;
        let start = columns.start - plane.left;
        for (at, out) in (start..start + columns.len()).zip(out) {
            *out = ((blend(at) + bias) >> 2) as u8;
        }
        return 0;
    }

    // Across, with a sample more on either side.
    let first = columns.start / 2;
    let samples = (columns.end - 1) / 2 - first + 1;
    let between = &mut between[..samples + 2];
    for (i, value) in between.iter_mut().enumerate() {
        let column = (first + i).saturating_sub(1).min(plane.width - 1);
        *value = blend(column - plane.left);
    }
    // libjpeg's roundings. Rows that were not blended count four times: quarters, not sixteenths.
    let (even, odd) = if plane.pixels_down == 1 {
        (4, 8)
    } else {
        (8, 7)
    };
    for (pair, near) in out.chunks_exact_mut(2).zip(between.windows(3)) {
        pair[0] = ((3 * near[1] + near[0] + even) >> 4) as u8;
        pair[1] = ((3 * near[1] + near[2] + odd) >> 4) as u8;
    }
    columns.start % 2
}
