//! Random views of drawings.

use burn::tensor::{Tensor, TensorData};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use rayon::prelude::*;

/// Pixels along a side.
const SIZE: usize = 28;

/// Largest changes from a drawing to a view of it.
#[derive(Clone, Copy, Debug)]
pub struct Views {
    /// Pixels moved, at most.
    pub shift: f32,
    /// Turn, slant and stretch, at most, as entries of the matrix beside those of the identity.
    pub distortion: f32,
    /// Side of the square that is painted over.
    pub hidden: f32,
    /// Change of the ink's darkness, at most.
    pub shade: f32,
}

impl Views {
    /// A view of each drawing of `[n, 1, 28, 28]`, between pixels by bilinear interpolation.
    pub fn of(&self, x: Tensor<4>, draws: &mut Xoshiro256PlusPlus) -> Tensor<4> {
        let (shape, device) = (x.dims(), x.device());
        let values: Vec<f32> = x.into_data().iter::<f32>().collect();
        let seeds: Vec<u64> = (0..shape[0]).map(|_| draws.random()).collect();
        let drawings = values.par_chunks_exact(SIZE * SIZE).zip(seeds);
        let views: Vec<Vec<f32>> = drawings
            .map(|(drawing, seed)| self.view(drawing, &mut Xoshiro256PlusPlus::seed_from_u64(seed)))
            .collect();
        Tensor::from_data(TensorData::new(views.concat(), shape), &device)
    }

    fn view(&self, drawing: &[f32], draws: &mut Xoshiro256PlusPlus) -> Vec<f32> {
        let middle = (SIZE as f32 - 1.0) / 2.0;
        let mut up_to = |bound: f32| (draws.random::<f32>() * 2.0 - 1.0) * bound;
        let (dx, dy) = (up_to(self.shift), up_to(self.shift));
        let [xx, xy, yx, yy] = [1.0, 0.0, 0.0, 1.0].map(|entry| entry + up_to(self.distortion));
        let (hidden_x, hidden_y) = (middle + up_to(12.0), middle + up_to(12.0));
        let shade = 1.0 + up_to(self.shade);
        let ink = |x: f32, y: f32| {
            let is_hidden = (x - hidden_x).abs().max((y - hidden_y).abs()) < self.hidden / 2.0;
            let (from_x, from_y) = (x - middle, y - middle);
            let at_x = xx * from_x + xy * from_y + middle + dx;
            let at_y = yx * from_x + yy * from_y + middle + dy;
            if is_hidden {
                0.0
            } else {
                shade * between_pixels(drawing, at_x, at_y)
            }
        };
        (0..SIZE * SIZE)
            .map(|at| ink((at % SIZE) as f32, (at / SIZE) as f32))
            .collect()
    }
}

/// The drawing's ink at a point between pixels; none outside.
fn between_pixels(drawing: &[f32], x: f32, y: f32) -> f32 {
    let pixel = |x: f32, y: f32| {
        let inside = 0.0..SIZE as f32;
        if inside.contains(&x) && inside.contains(&y) {
            drawing[y as usize * SIZE + x as usize]
        } else {
            0.0
        }
    };
    let (left, top) = (x.floor(), y.floor());
    let (right, below) = (x - left, y - top);
    let upper = (1.0 - right) * pixel(left, top) + right * pixel(left + 1.0, top);
    let lower = (1.0 - right) * pixel(left, top + 1.0) + right * pixel(left + 1.0, top + 1.0);
    (1.0 - below) * upper + below * lower
}
