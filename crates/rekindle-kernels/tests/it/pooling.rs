//! Pooling and its gradients against plain loops.

use crate::reference::{random, relative_error};
use rekindle_kernels::{
    Activation, Conv2dParams, Isa, PackedConv2d, Padding, global_average_pool,
    global_average_pool_gradient, leave_out_padding, max_pool, max_pool_gradient,
};

fn sides(before: usize, behind: usize) -> Padding {
    Padding {
        top: before,
        left: before,
        bottom: behind,
        right: behind,
    }
}

#[test]
fn pooling() {
    // Padding above and to the left, below and to the right.
    for (shape, [kernel, stride, before, behind]) in [
        ([2, 5, 1, 1], [3, 2, 1, 1]),
        ([2, 64, 11, 14], [3, 2, 1, 1]),
        ([1, 17, 9, 8], [2, 2, 0, 0]),
        ([1, 3, 7, 5], [5, 1, 2, 2]),
        ([2, 20, 12, 10], [3, 2, 0, 1]),
        ([1, 17, 7, 8], [3, 2, 1, 2]),
        ([1, 5, 6, 7], [2, 2, 1, 0]),
    ] {
        let padding = sides(before, behind);
        let x = random(shape.iter().product(), 9);
        let input = Activation::from_nchw(&x, shape).unwrap();
        let [n, c, h, w] = shape;
        let size = |s: usize| (s + before + behind - kernel) / stride + 1;
        let (oh, ow) = (size(h), size(w));
        let mut expected = vec![f32::NEG_INFINITY; n * c * oh * ow];
        for (i, best) in expected.iter_mut().enumerate() {
            let (plane, y, ox) = (i / (oh * ow), i / ow % oh, i % ow);
            for (ky, kx) in (0..kernel).flat_map(|a| (0..kernel).map(move |b| (a, b))) {
                let (iy, ix) = (y * stride + ky, ox * stride + kx);
                if (before..h + before).contains(&iy) && (before..w + before).contains(&ix) {
                    *best = best.max(x[(plane * h + iy - before) * w + ix - before]);
                }
            }
        }
        for &isa in Isa::available() {
            let y = max_pool(isa, &input, kernel, stride, padding).unwrap();
            assert_eq!(y.shape(), [n, c, oh, ow]);
            assert_eq!(y.to_nchw(), expected, "{isa} {shape:?}");
        }
        let means: Vec<f64> = x
            .chunks(h * w)
            .map(|plane| plane.iter().map(|&v| f64::from(v)).sum::<f64>() / (h * w) as f64)
            .collect();
        assert!(relative_error(&global_average_pool(&input).unwrap(), &means) < 1e-5);
    }
}

#[test]
fn averages_leave_the_padding_out() {
    for (shape, [kernel, stride, before, behind]) in [
        ([2, 5, 1, 1], [3, 2, 1, 1]),
        ([2, 40, 11, 14], [3, 2, 1, 1]),
        ([1, 17, 9, 8], [3, 1, 1, 1]),
        ([1, 3, 7, 5], [5, 2, 2, 2]),
        ([1, 20, 9, 7], [2, 2, 0, 1]),
    ] {
        let padding = sides(before, behind);
        let [n, c, h, w] = shape;
        let x = random(shape.iter().product(), 11);
        let input = Activation::from_nchw(&x, shape).unwrap();
        let size = |s: usize| (s + before + behind - kernel) / stride + 1;
        let (oh, ow) = (size(h), size(w));
        let inside = |at: usize, size: usize| {
            let first = (at * stride) as isize - before as isize;
            let taken = first..first + kernel as isize;
            taken.filter(move |i| (0..size as isize).contains(i))
        };
        let mut expected = Vec::new();
        for i in 0..n * c * oh * ow {
            let (plane, y, ox) = (i / (oh * ow), i / ow % oh, i % ow);
            let places = inside(y, h).flat_map(|y| inside(ox, w).map(move |x| (y, x)));
            let values: Vec<f64> = places
                .map(|(y, x)| plane * h * w + y as usize * w + x as usize)
                .map(|at| f64::from(x[at]))
                .collect();
            expected.push(values.iter().sum::<f64>() / values.len() as f64);
        }
        let params = Conv2dParams::depthwise(c, kernel, stride).with_padding(padding);
        let weights = vec![1.0 / (kernel * kernel) as f32; c * kernel * kernel];
        for &isa in Isa::available() {
            let packed = PackedConv2d::new(isa, &params, &weights, None).unwrap();
            let mut y = packed.forward(&input, None, false).unwrap();
            leave_out_padding(&mut y, kernel, stride, padding, [h, w]).unwrap();
            assert!(
                relative_error(&y.to_nchw(), &expected) < 1e-6,
                "{isa} {shape:?}"
            );
        }
        let mut wrong = Activation::from_nchw(&x, shape).unwrap();
        assert!(leave_out_padding(&mut wrong, kernel, stride + 5, padding, [h + 40, w]).is_err());
    }
}

#[test]
fn gradients() {
    for (shape, [kernel, stride, before, behind]) in [
        ([2, 5, 1, 1], [3, 2, 1, 1]),
        ([2, 64, 11, 14], [3, 2, 1, 1]),
        ([1, 17, 9, 8], [2, 2, 0, 0]),
        ([2, 20, 12, 10], [3, 2, 0, 1]),
        ([1, 17, 7, 8], [3, 2, 1, 2]),
    ] {
        let padding = sides(before, behind);
        let [n, c, h, w] = shape;
        // Few distinct values, so that windows hold equal ones.
        let x: Vec<f32> = random(shape.iter().product(), 9)
            .iter()
            .map(|v| (v * 3.0).round())
            .collect();
        let size = |s: usize| (s + before + behind - kernel) / stride + 1;
        let (oh, ow) = (size(h), size(w));
        let dy = random(n * c * oh * ow, 10);
        let mut expected = vec![0.0f64; x.len()];
        for (i, &dy) in dy.iter().enumerate() {
            let (plane, y, ox) = (i / (oh * ow), i / ow % oh, i % ow);
            let mut best: Option<usize> = None;
            for (ky, kx) in (0..kernel).flat_map(|a| (0..kernel).map(move |b| (a, b))) {
                let (iy, ix) = (y * stride + ky, ox * stride + kx);
                if (before..h + before).contains(&iy) && (before..w + before).contains(&ix) {
                    let at = (plane * h + iy - before) * w + ix - before;
                    if best.is_none_or(|best| x[at] > x[best]) {
                        best = Some(at);
                    }
                }
            }
            expected[best.unwrap()] += f64::from(dy);
        }
        let input = Activation::from_nchw(&x, shape).unwrap();
        let gradient = Activation::from_nchw(&dy, [n, c, oh, ow]).unwrap();
        for &isa in Isa::available() {
            let y = max_pool(isa, &input, kernel, stride, padding).unwrap();
            let found =
                max_pool_gradient(isa, &input, &y, &gradient, kernel, stride, padding).unwrap();
            assert!(
                relative_error(&found.to_nchw(), &expected) < 1e-6,
                "{isa} {shape:?}"
            );
        }
        let dy = random(n * c, 11);
        let expected: Vec<f64> = (0..x.len())
            .map(|i| f64::from(dy[i / (h * w)]) / (h * w) as f64)
            .collect();
        let found = global_average_pool_gradient(&dy, shape).unwrap().to_nchw();
        assert!(relative_error(&found, &expected) < 1e-6);
    }
}
