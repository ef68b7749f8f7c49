//! The convolutions and pictures that forward pass and gradients are tested on.

use proptest::prelude::*;
use rekindle_kernels::{Conv2dParams, Padding};

/// A convolution and the shape of its input.
pub type Case = (Conv2dParams, [usize; 4]);

/// Weights up to which a layer is quick to check by plain loops.
const QUICK: usize = 600_000;

/// Every distinct convolution of torchvision's ten ResNets on small pictures: those that are quick to check, and the
/// heavy ones.
pub fn resnets() -> (Vec<Case>, Vec<Case>) {
    let cases = resnet_convolutions().into_iter().map(|params| {
        let size = match params.in_channels {
            0..128 => 7,
            128..512 => 5,
            _ => 3,
        };
        (params, [2, params.in_channels, size, size + 1])
    });
    cases.partition(|(params, _)| params.weight_shape().iter().product::<usize>() <= QUICK)
}

fn resnet_convolutions() -> Vec<Conv2dParams> {
    let mut all = vec![Conv2dParams::new(3, 64, 7, 2)];
    let basic = |all: &mut Vec<Conv2dParams>| {
        for (stage, width) in [64, 128, 256, 512].into_iter().enumerate() {
            let (before, stride) = if stage == 0 { (64, 1) } else { (width / 2, 2) };
            all.push(Conv2dParams::new(before, width, 3, stride));
            all.push(Conv2dParams::new(width, width, 3, 1));
            if stage > 0 {
                all.push(Conv2dParams::new(before, width, 1, 2));
            }
        }
    };
    let bottleneck = |all: &mut Vec<Conv2dParams>, groups: usize, group_width: usize| {
        for (stage, planes) in [64, 128, 256, 512].into_iter().enumerate() {
            let width = planes * group_width / 64 * groups;
            let (before, stride) = if stage == 0 { (64, 1) } else { (planes * 2, 2) };
            all.push(Conv2dParams::new(before, width, 1, 1));
            all.push(Conv2dParams::new(planes * 4, width, 1, 1));
            all.push(Conv2dParams::new(width, width, 3, stride).with_groups(groups));
            all.push(Conv2dParams::new(width, width, 3, 1).with_groups(groups));
            all.push(Conv2dParams::new(width, planes * 4, 1, 1));
            all.push(Conv2dParams::new(before, planes * 4, 1, stride));
        }
    };
    basic(&mut all);
    for (groups, group_width) in [(1, 64), (32, 4), (32, 8), (64, 4), (1, 128)] {
        bottleneck(&mut all, groups, group_width);
    }
    let mut seen = std::collections::HashSet::new();
    all.retain(|p| seen.insert(*p));
    all
}

/// Pictures that are cut into several bands, tiles and tasks.
pub fn large() -> Vec<Case> {
    vec![
        (Conv2dParams::new(3, 64, 7, 2), [2, 3, 75, 131]),
        (Conv2dParams::new(64, 64, 3, 1), [3, 64, 57, 33]),
        (Conv2dParams::new(64, 128, 3, 2), [2, 64, 61, 59]),
        (Conv2dParams::new(128, 96, 1, 1), [5, 128, 37, 29]),
        (Conv2dParams::new(48, 80, 1, 2), [9, 48, 37, 29]),
        (Conv2dParams::new(20, 20, 3, 1), [1, 20, 3, 300]),
        (Conv2dParams::new(160, 272, 3, 1), [7, 160, 13, 9]),
    ]
}

/// Prime numbers of channels and pixels, single ones, filters and padding that no ResNet has.
pub fn odd() -> Vec<Case> {
    let odd = |kernel: [usize; 2], stride, padding: usize, groups| Conv2dParams {
        in_channels: 7 * groups,
        out_channels: 13 * groups,
        kernel,
        stride,
        padding: padding.into(),
        groups,
    };
    let convolutions = [
        odd([1, 1], 1, 0, 1),
        odd([1, 1], 2, 1, 1),
        odd([2, 2], 2, 1, 1),
        odd([3, 3], 1, 0, 1),
        odd([3, 3], 1, 2, 1),
        odd([3, 3], 2, 2, 1),
        odd([3, 3], 1, 1, 5),
        odd([2, 5], 2, 2, 3),
        odd([5, 5], 2, 3, 3),
        odd([7, 1], 1, 3, 1),
        Conv2dParams::new(1, 1, 3, 1),
        Conv2dParams::new(1, 1, 1, 2),
        Conv2dParams::new(1, 17, 7, 2),
        Conv2dParams::new(17, 1, 3, 2),
        Conv2dParams::new(31, 37, 3, 1),
    ];
    let sizes = [[1, 1], [3, 2], [5, 7], [13, 11], [2, 31]];
    let cases = convolutions
        .into_iter()
        .flat_map(|params| sizes.map(|[h, w]| (params, [3, params.in_channels, h, w])));
    // So large that Winograd's filters are transformed as they are used.
    let large = [[3, 2], [5, 7]].map(|[h, w]| (Conv2dParams::new(349, 347, 3, 1), [3, 349, h, w]));
    cases
        .filter(|&(params, [_, _, h, w])| params.output_size([h, w]).is_ok())
        .chain(large)
        .collect()
}

/// Steps of more than two: the first layers of vision transformers and ConvNeXt, windows that overlap or leave gaps, and
/// padding.
pub fn large_steps() -> Vec<Case> {
    let pieces =
        |channels, outs, side| Conv2dParams::new(channels, outs, side, side).with_padding(0);
    let uneven = Padding {
        top: 2,
        left: 0,
        bottom: 1,
        right: 3,
    };
    let tall = Conv2dParams {
        kernel: [3, 5],
        ..Conv2dParams::new(5, 7, 5, 3)
    };
    vec![
        (pieces(3, 96, 4), [2, 3, 28, 32]),
        (pieces(3, 192, 16), [2, 3, 48, 64]),
        (pieces(3, 64, 14), [1, 3, 42, 56]),
        (pieces(3, 64, 8), [1, 3, 67, 31]),
        (pieces(40, 33, 4), [2, 40, 9, 13]),
        (pieces(1, 1, 3), [1, 1, 3, 3]),
        (Conv2dParams::new(3, 64, 7, 4), [2, 3, 33, 30]),
        (
            Conv2dParams::new(3, 20, 7, 4).with_padding(0),
            [1, 3, 23, 26],
        ),
        (Conv2dParams::new(17, 20, 1, 3), [2, 17, 7, 8]),
        (Conv2dParams::new(1, 16, 3, 3), [3, 1, 9, 5]),
        (tall.with_padding(uneven), [2, 5, 11, 12]),
    ]
}

fn sides([top, left, bottom, right]: [usize; 4]) -> Padding {
    Padding {
        top,
        left,
        bottom,
        right,
    }
}

/// Dense convolutions padded as by TensorFlow, and more unevenly than that.
pub fn tensorflow() -> Vec<Case> {
    let same = |ic, oc, kernel: usize, stride, size: [usize; 2]| {
        let padding = Padding::same([kernel; 2], stride, size);
        let params = Conv2dParams::new(ic, oc, kernel, stride).with_padding(padding);
        (params, [2, ic, size[0], size[1]])
    };
    let uneven = |kernel, stride, padding| {
        let params = Conv2dParams::new(19, 35, kernel, stride).with_padding(sides(padding));
        (params, [2, 19, 9, 12])
    };
    vec![
        same(3, 32, 3, 2, [32, 32]),
        same(3, 16, 3, 2, [31, 18]),
        same(24, 96, 3, 2, [14, 14]),
        same(16, 40, 5, 2, [12, 9]),
        same(32, 32, 2, 1, [7, 7]),
        same(48, 24, 1, 2, [8, 8]),
        uneven(3, 1, [0, 1, 2, 0]),
        uneven(3, 2, [2, 0, 1, 2]),
        uneven(5, 2, [0, 3, 4, 1]),
        uneven(4, 1, [1, 1, 2, 2]),
    ]
}

/// Grouped convolutions of RegNetY, by group width and groups.
pub fn regnets() -> Vec<Case> {
    let widths = [
        (8, 6),
        (16, 3),
        (24, 6),
        (40, 3),
        (48, 2),
        (56, 4),
        (64, 2),
        (80, 3),
        (112, 2),
    ];
    let case = |(width, groups): (usize, usize), stride| {
        let channels = width * groups;
        let params = Conv2dParams::new(channels, channels, 3, stride).with_groups(groups);
        (params, [2, channels, 5, 6])
    };
    let both = widths.into_iter().flat_map(|w| [case(w, 1), case(w, 2)]);
    both.collect()
}

/// Depthwise layers of MobileNetV2, V3 and V4, EfficientNet and ConvNeXt: channels, filter, stride and size of the
/// picture, large ones with fewer channels.
pub fn depthwise() -> Vec<Case> {
    let layers = [
        (32, 3, 1, 112),
        (16, 3, 2, 112),
        (24, 3, 1, 56),
        (48, 5, 2, 56),
        (144, 3, 2, 28),
        (120, 5, 1, 28),
        (240, 5, 2, 14),
        (184, 3, 1, 14),
        (672, 5, 1, 7),
        (960, 3, 1, 7),
        (96, 7, 1, 14),
        (64, 7, 2, 14),
    ];
    let uniform = layers.map(|(channels, kernel, stride, size)| {
        let params = Conv2dParams::depthwise(channels, kernel, stride);
        (params, [2, channels, size, size])
    });
    let same = layers.map(|(channels, kernel, stride, size)| {
        let channels = channels.min(40);
        let padding = Padding::same([kernel; 2], stride, [size; 2]);
        let params = Conv2dParams::depthwise(channels, kernel, stride).with_padding(padding);
        (params, [1, channels, size, size])
    });
    uniform.into_iter().chain(same).collect()
}

/// Single channels and pixels, filters of every size, some larger than the picture, padding wider than the filter.
pub fn odd_depthwise() -> Vec<Case> {
    let mut cases = Vec::new();
    for channels in [1, 17] {
        for kernel in [
            [1, 1],
            [2, 2],
            [3, 3],
            [4, 4],
            [5, 5],
            [6, 6],
            [7, 7],
            [3, 5],
            [9, 1],
        ] {
            for stride in [1, 2] {
                for padding in [
                    [0; 4],
                    [1; 4],
                    [3; 4],
                    [0, 0, 1, 1],
                    [2, 5, 0, 7],
                    [9, 8, 7, 6],
                ] {
                    let params = Conv2dParams {
                        kernel,
                        ..Conv2dParams::depthwise(channels, 1, stride)
                    };
                    let params = params.with_padding(sides(padding));
                    for [h, w] in [[1, 1], [3, 2], [5, 7], [2, 31]] {
                        cases.push((params, [1, channels, h, w]));
                    }
                }
            }
        }
    }
    cases.retain(|(params, [_, _, h, w])| params.output_size([*h, *w]).is_ok());
    cases
}

prop_compose! {
    /// Any small depthwise convolution, one in two with a square filter.
    pub fn any_depthwise()(
        channels in 1usize..40,
        kernel in (1usize..9, 1usize..9),
        square in any::<bool>(),
        stride in 1usize..3,
        padding in [0usize..5, 0usize..5, 0usize..5, 0usize..5],
        size in (1usize..30, 1usize..30),
        n in 1usize..4,
    ) -> Case {
        let params = Conv2dParams {
            kernel: [kernel.0, if square { kernel.0 } else { kernel.1 }],
            ..Conv2dParams::depthwise(channels, 1, stride)
        };
        (params.with_padding(sides(padding)), [n, channels, size.0, size.1])
    }
}

prop_compose! {
    /// Any small convolution, one in two of 3x3.
    pub fn any_case()(
        groups in 1usize..4,
        channels in (1usize..40, 1usize..40),
        kernel in (1usize..8, 1usize..8),
        stride in 1usize..3,
        padding in [0usize..4, 0usize..4, 0usize..4, 0usize..4],
        uniform in any::<bool>(),
        size in (1usize..20, 1usize..20),
        n in 1usize..4,
        three in any::<bool>(),
    ) -> Case {
        let groups = if three { 1 } else { groups };
        let params = Conv2dParams {
            in_channels: channels.0 * groups,
            out_channels: channels.1 * groups,
            kernel: if three { [3, 3] } else { [kernel.0, kernel.1] },
            stride,
            padding: if uniform { padding[0].into() } else { sides(padding) },
            groups,
        };
        (params, [n, params.in_channels, size.0, size.1])
    }
}
