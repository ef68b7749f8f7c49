//! Wrong shapes are typed errors.

use rekindle_kernels::{
    Activation, ActivationFn, Algorithm, BatchNorm, Conv2dParams, Gate, Isa, KernelError,
    PackedConv2d, Padding, Statistics, input_gradient, input_gradient_by, weight_gradient_by,
};

#[test]
fn forward() {
    let isa = Isa::detect();
    let params = Conv2dParams::new(4, 8, 3, 1);
    let weight = vec![0.0; 8 * 4 * 9];
    let conv = PackedConv2d::new(isa, &params, &weight, None).unwrap();
    let x = Activation::zeros([1, 5, 6, 6]);
    assert_eq!(
        conv.forward(&x, None, false).unwrap_err(),
        KernelError::WrongChannels {
            found: 5,
            expected: 4
        }
    );
    let x = Activation::zeros([1, 4, 6, 6]);
    let residual = Activation::zeros([1, 8, 6, 5]);
    let error = conv.forward(&x, Some(&residual), false).unwrap_err();
    assert!(matches!(
        error,
        KernelError::WrongShape {
            found: [1, 8, 6, 5],
            ..
        }
    ));
    let error = PackedConv2d::new(isa, &params, &weight[1..], None).unwrap_err();
    assert!(matches!(
        error,
        KernelError::WrongLength {
            expected: 288,
            found: 287,
            ..
        }
    ));
    let error = Activation::from_nchw(&[0.0; 3], [1, 1, 2, 2]).unwrap_err();
    assert!(matches!(error, KernelError::WrongLength { .. }));
    let valid = Conv2dParams {
        padding: 0.into(),
        ..params
    };
    let conv = PackedConv2d::new(isa, &valid, &weight, None).unwrap();
    let error = conv
        .forward(&Activation::zeros([1, 4, 2, 9]), None, false)
        .unwrap_err();
    assert!(matches!(
        error,
        KernelError::WindowTooLarge { found: [2, 9], .. }
    ));
    for params in [
        Conv2dParams {
            stride: 0,
            ..params
        },
        Conv2dParams {
            stride: 3,
            groups: 2,
            ..params
        },
        Conv2dParams {
            stride: usize::MAX,
            ..params
        },
        Conv2dParams {
            groups: 3,
            ..params
        },
        Conv2dParams {
            in_channels: 0,
            ..params
        },
    ] {
        let error = PackedConv2d::new(isa, &params, &weight, None).unwrap_err();
        assert!(matches!(error, KernelError::InvalidLayer(_)), "{params:?}");
    }
}

#[test]
fn gradients() {
    let isa = Isa::detect();
    let params = Conv2dParams::new(4, 8, 3, 1);
    let x = Activation::zeros([1, 4, 6, 6]);
    let dy = Activation::zeros([1, 8, 6, 5]);
    let error = weight_gradient_by(isa, &params, &x, &dy, Algorithm::Direct).unwrap_err();
    assert!(matches!(
        error,
        KernelError::WrongShape {
            expected: [1, 8, 6, 6],
            ..
        }
    ));
    let error = input_gradient(isa, &params, &[0.0; 288], &dy, [6, 6], None).unwrap_err();
    assert!(matches!(error, KernelError::WrongShape { .. }));
    let wide = Conv2dParams {
        padding: 3.into(),
        ..params
    };
    let error = input_gradient(isa, &wide, &[0.0; 288], &dy, [6, 6], None).unwrap_err();
    assert!(matches!(error, KernelError::InvalidLayer(_)));
    let empty = Activation::zeros([0, 4, 6, 6]);
    assert!(Statistics::of_batch(isa, &empty).is_err());
}

#[test]
fn depthwise_and_padding() {
    let isa = Isa::detect();
    let dense = Conv2dParams::new(4, 8, 3, 1);
    let by = Algorithm::Depthwise;
    let packed = PackedConv2d::with_algorithm(isa, &dense, &[0.0; 288], None, by);
    assert!(matches!(packed, Err(KernelError::InvalidLayer(_))));
    let (x, dy) = (
        Activation::zeros([1, 4, 6, 6]),
        Activation::zeros([1, 8, 6, 6]),
    );
    let found = weight_gradient_by(isa, &dense, &x, &dy, by);
    assert!(matches!(found, Err(KernelError::InvalidLayer(_))));
    let found = input_gradient_by(isa, &dense, &[0.0; 288], &dy, [6, 6], None, by);
    assert!(matches!(found, Err(KernelError::InvalidLayer(_))));

    let depthwise = Conv2dParams::depthwise(4, 3, 1);
    let conv = PackedConv2d::new(isa, &depthwise, &[0.0; 36], None).unwrap();
    assert_eq!(conv.algorithm(), Algorithm::Depthwise);
    let error = conv.forward(&dy, None, false).unwrap_err();
    assert!(matches!(error, KernelError::WrongChannels { .. }));
    assert!(PackedConv2d::new(isa, &depthwise, &[0.0; 35], None).is_err());
    let empty = Activation::zeros([0, 4, 6, 6]);
    assert_eq!(
        conv.forward(&empty, None, true).unwrap().shape(),
        [0, 4, 6, 6]
    );
    let found = weight_gradient_by(isa, &depthwise, &empty, &empty, by).unwrap();
    assert_eq!(found.to_vec(), [0.0; 36]);

    let far = Padding {
        bottom: usize::MAX,
        ..Padding::from(1)
    };
    let found = PackedConv2d::new(isa, &depthwise.with_padding(far), &[0.0; 36], None);
    assert!(matches!(found, Err(KernelError::InvalidLayer(_))));
    let uneven = dense.with_padding(Padding {
        bottom: 0,
        ..Padding::from(1)
    });
    let packed = PackedConv2d::with_algorithm(isa, &uneven, &[0.0; 288], None, Algorithm::Winograd);
    assert!(matches!(packed, Err(KernelError::InvalidLayer(_))));
}

#[test]
fn functions() {
    let isa = Isa::detect();
    let found = ActivationFn::Silu.apply_gradient(isa, &[0.0; 3], &mut [0.0; 4]);
    assert!(matches!(found, Err(KernelError::WrongLength { .. })));
    let (x, other) = (
        Activation::zeros([1, 2, 3, 4]),
        Activation::zeros([1, 2, 4, 3]),
    );
    assert!(ActivationFn::Silu.backward(isa, &x, other.clone()).is_err());
    let norm = BatchNorm {
        gamma: &[1.0; 2],
        beta: &[0.0; 2],
        eps: 1e-3,
    };
    let statistics = Statistics::fixed(vec![0.0; 2], vec![1.0; 2]);
    let gate = Gate::FunctionOfSum(ActivationFn::Silu, &other);
    let found = norm.backward(isa, &x, &statistics, gate, x.clone(), false);
    assert!(matches!(found, Err(KernelError::WrongShape { .. })));
}
