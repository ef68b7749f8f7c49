//! The gradient of a convolution by its input.

use crate::activation::Activation;
use crate::activation_fn::ActivationFn;
use crate::algorithm::Algorithm;
use crate::depthwise;
use crate::direct::{Direct, Frame, Source, Windows, fold};
use crate::error::{KernelError, check_isa};
use crate::filters::{Filters, Layer};
use crate::isa::Isa;
use crate::padding::Padding;
use crate::params::Conv2dParams;
use crate::taps::Axis;
use crate::unpacked::Pass;

/// Computes the gradient by an input of `size` (height and width) for `dy`, the gradient by the output.
///
/// `weight` is `[out, in / groups, height, width]`; the filter must be square and wider than its padding,
/// unless the convolution is depthwise or of a stride above 2. `add` has the
/// input's shape and is added: the gradient that reaches the same input by another way.
pub fn input_gradient(
    isa: Isa,
    params: &Conv2dParams,
    weight: &[f32],
    dy: &Activation,
    size: [usize; 2],
    add: Option<&Activation>,
) -> Result<Activation, KernelError> {
    let algorithm = Algorithm::choose(&swapped(params));
    input_gradient_by(isa, params, weight, dy, size, add, algorithm)
}

/// Computes the gradient like [`input_gradient`], by the given algorithm; strides above 1 know only the direct one.
pub fn input_gradient_by(
    isa: Isa,
    params: &Conv2dParams,
    weight: &[f32],
    dy: &Activation,
    size: [usize; 2],
    add: Option<&Activation>,
    algorithm: Algorithm,
) -> Result<Activation, KernelError> {
    check_isa(isa)?;
    params.check_weights(weight, None)?;
    let [k, kw] = params.kernel;
    let by_windows = Windows::takes(params);
    let narrow = k != kw || params.padding.largest() >= k;
    if narrow && algorithm != Algorithm::Depthwise && !by_windows {
        return Err(KernelError::InvalidLayer(format!(
            "the gradient by the input needs a square filter that is wider than its padding, found {params}"
        )));
    }
    let n = dy.shape()[0];
    let shape = [n, params.in_channels, size[0], size[1]];
    dy.check_shape("the gradient", params.output_shape(shape)?)?;
    if let Some(add) = add {
        add.check_shape("the gradient to add", shape)?;
    }
    if algorithm == Algorithm::Depthwise {
        algorithm.check(params)?;
        return Ok(depthwise::input_gradient(
            isa, params, weight, dy, size, add,
        ));
    }
    if by_windows {
        let layer = Windows::layer(params);
        let [_, _, oh, ow] = dy.shape();
        let windows = input_gradient(isa, &layer, weight, dy, [oh, ow], None)?;
        return Ok(fold(params, &windows, size, add));
    }
    if params.stride > 1 {
        return Ok(by_parities(isa, params, weight, dy, size, add));
    }
    let taps: Vec<usize> = (0..k * k).rev().collect();
    let pass = Pass {
        layer: Layer {
            isa,
            params: &swapped(params),
            filters: Filters::swapped(params, weight, &taps),
            scale_shift: None,
        },
        algorithm,
    };
    pass.run(dy, add, ActivationFn::Identity)
}

/// Returns the parameters of the gradient at stride 1, which is itself a convolution, with the filters turned
/// by 180 degrees and the roles of the channels swapped.
fn swapped(params: &Conv2dParams) -> Conv2dParams {
    let Padding {
        top,
        left,
        bottom,
        right,
    } = params.padding;
    let rest = |side: usize| params.kernel[0].saturating_sub(side.saturating_add(1));
    Conv2dParams {
        in_channels: params.out_channels,
        out_channels: params.in_channels,
        stride: 1,
        padding: Padding {
            top: rest(top),
            left: rest(left),
            bottom: rest(bottom),
            right: rest(right),
        },
        ..*params
    }
}

/// Computes the gradient at stride 2 as four convolutions, one for each parity of the input's rows and columns.
fn by_parities(
    isa: Isa,
    params: &Conv2dParams,
    weight: &[f32],
    dy: &Activation,
    size: [usize; 2],
    add: Option<&Activation>,
) -> Activation {
    let k = params.kernel[0];
    let shape = [dy.shape()[0], params.in_channels, size[0], size[1]];
    // What no filter reaches keeps what it starts with.
    let mut dx = match add {
        _ if k > 1 => Activation::uninit(shape),
        Some(add) => add.clone(),
        None => Activation::zeros(shape),
    };
    for parity in [[0, 0], [0, 1], [1, 0], [1, 1]] {
        let Padding { top, left, .. } = params.padding;
        let (y, x) = (
            Axis::new(k, top, 2, parity[0]),
            Axis::new(k, left, 2, parity[1]),
        );
        let (ys, xs) = (&y.taps, &x.taps);
        let taps = ys.iter().flat_map(|y| xs.iter().map(move |x| y * k + x));
        let taps: Vec<usize> = taps.collect();
        if taps.is_empty() {
            continue;
        }
        let part = Conv2dParams {
            kernel: [ys.len(), xs.len()],
            padding: Padding::default(),
            ..swapped(params)
        };
        let filters = Filters::swapped(params, weight, &taps);
        let frame = Frame {
            top: -y.first,
            left: -x.first,
            size: [0, 1].map(|i| (size[i] + 1 - parity[i]) / 2),
            out_width: size[1],
            out_plane: size[0] * size[1],
            origin: parity,
            step: 2,
        };
        let source = Source::Blocked(dy);
        Direct::pack(isa, &part, filters, None).forward_into(
            isa,
            source,
            dy.shape(),
            add,
            ActivationFn::Identity,
            &mut dx,
            frame,
        );
    }
    dx
}
