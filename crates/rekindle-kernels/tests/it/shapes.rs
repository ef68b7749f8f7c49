//! The convolutions and pictures that forward pass and gradients are tested on.

use proptest::prelude::*;
use rekindle_kernels::Conv2dParams;

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
    let odd = |kernel: [usize; 2], stride, padding, groups| Conv2dParams {
        in_channels: 7 * groups,
        out_channels: 13 * groups,
        kernel,
        stride,
        padding,
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

prop_compose! {
    /// Any small convolution, one in two of 3x3.
    pub fn any_case()(
        groups in 1usize..4,
        channels in (1usize..40, 1usize..40),
        kernel in (1usize..8, 1usize..8),
        stride in 1usize..3,
        padding in 0usize..4,
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
            padding,
            groups,
        };
        (params, [n, params.in_channels, size.0, size.1])
    }
}
