//! Wrong shapes are typed errors.

use rekindle_kernels::{
    Activation, Algorithm, Conv2dParams, Isa, KernelError, PackedConv2d, Statistics,
    input_gradient, weight_gradient_by,
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
            stride: 3,
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
