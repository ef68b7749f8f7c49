//! Weights and images without a file: the same numbers, to the last bit, as `tests/reference/formula.py` gives.

/// Value number `index` of tensor number `tensor`: as good as uniform in [-1, 1), and a multiple of 2^-23.
pub fn uniform(tensor: u32, index: usize) -> f32 {
    let mut x = (index as u32).wrapping_mul(0x9E37_79B9);
    x = x.wrapping_add((tensor + 1).wrapping_mul(0x85EB_CA6B));
    x ^= x >> 16;
    x = x.wrapping_mul(0x7FEB_352D);
    x ^= x >> 15;
    x = x.wrapping_mul(0x846C_A68B);
    x ^= x >> 16;
    (x >> 8) as f32 / (1 << 23) as f32 - 1.0
}

/// The tensor of a ResNet's state dict that has this number among its floats, counted in PyTorch's order.
pub fn parameter(number: u32, name: &str, shape: &[usize]) -> Vec<f32> {
    let count: usize = shape.iter().product();
    let fan_in: usize = shape.iter().skip(1).product();
    // As for ReLU after He et al.
    let scale = (6.0 / fan_in as f64).sqrt();
    let value = |index: usize| {
        let u = f64::from(uniform(number, index));
        let value = match name {
            name if name.ends_with("running_var") => 1.0 + 0.5 * u,
            // Small, so that fifty residual blocks do not add up to millions.
            name if shape.len() == 1 && name.ends_with("weight") => 0.5 + 0.2 * u,
            _ if shape.len() == 1 => 0.1 * u,
            _ => u * scale,
        };
        value as f32
    };
    (0..count).map(value).collect()
}

/// A state dict whose tensors are asked for in PyTorch's order.
pub struct StateDict {
    shapes: std::vec::IntoIter<(String, Vec<usize>)>,
    number: u32,
}

impl StateDict {
    /// Takes names and shapes in PyTorch's order, counters of batches left out.
    pub fn new(shapes: Vec<(String, Vec<usize>)>) -> Self {
        Self {
            shapes: shapes.into_iter(),
            number: 0,
        }
    }

    /// The values of the next tensor, whose name is this.
    pub fn next(&mut self, name: &str) -> Vec<f32> {
        let (expected, shape) = self.shapes.next().unwrap();
        assert_eq!(expected, name);
        self.number += 1;
        parameter(self.number - 1, name, &shape)
    }
}

/// Number by which the formula tells images from weights.
const IMAGES: u32 = 1 << 20;

/// Images `[count, 3, height, width]`: noise on a level of each channel's own, within [-2, 2).
pub fn images(count: usize, height: usize, width: usize) -> Vec<f32> {
    let size = height * width;
    let value = |index: usize| uniform(IMAGES, index) + uniform(IMAGES + 1, index / size);
    (0..count * 3 * size).map(value).collect()
}
