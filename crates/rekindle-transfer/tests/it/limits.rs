//! Checks the promises of the doc comments at the edges: exact limits, and errors in place of NaN.

use burn::prelude::*;
use burn::tensor::TensorData;
use rekindle_transfer::objective::*;

use crate::losses::matrix;

fn device() -> Device {
    Device::flex().autodiff()
}

fn value(loss: Tensor<1>) -> f32 {
    loss.into_scalar::<f32>()
}

fn constant(rows: usize, columns: usize) -> Tensor<2> {
    Tensor::<2>::full([rows, columns], 0.7, &device()).require_grad()
}

/// Loss and gradient are finite; the loss comes back.
fn finite(x: &Tensor<2>, loss: Tensor<1>) -> f32 {
    let grads = loss.backward();
    if let Some(grad) = x.grad(&grads) {
        assert!(grad.into_data().iter::<f32>().all(f32::is_finite));
    }
    let loss = value(loss);
    assert!(loss.is_finite());
    loss
}

#[test]
fn a_reversed_gradient_has_the_value_of_its_input_and_minus_its_gradient() {
    let x = matrix(3, 4, 0.3, 1.0);
    for strength in [0.0, 0.5, 3.0] {
        let y = reverse_gradient(x.clone(), strength);
        assert_eq!(y.clone().into_data(), x.clone().into_data());
        // The gradient of the sum of y^3 / 3 by y is y^2.
        let grads = (y.powf_scalar(3.0).sum() / 3.0).backward();
        let found = x.grad(&grads).unwrap().into_data();
        let square = x.clone().square().into_data();
        for (found, square) in found.iter::<f64>().zip(square.iter::<f64>()) {
            assert!((found + strength * square).abs() < 1e-5, "{found} {square}");
        }
    }
}

#[test]
fn equal_domains_have_no_discrepancy_and_constant_ones_no_nan() {
    let x = matrix(5, 4, 0.3, 1.0);
    let twice = || x.clone().detach();
    assert_eq!(
        value(MkMmd::default().loss(x.clone(), twice()).unwrap()),
        0.0
    );
    assert_eq!(value(deep_coral_loss(x.clone(), twice()).unwrap()), 0.0);
    let x = constant(5, 4);
    let mmd = MkMmd::default().loss(x.clone(), constant(3, 4)).unwrap();
    assert_eq!(finite(&x, mmd), 0.0);
    let coral = deep_coral_loss(x.clone(), constant(3, 4)).unwrap();
    assert_eq!(finite(&x, coral), 0.0);
    assert!(
        finite(
            &x,
            MkMmd::default()
                .loss(x.clone(), matrix(1, 4, 0.1, 1.0))
                .unwrap()
        ) > 0.0
    );
}

#[test]
fn the_random_map_keeps_scalar_products_in_the_mean() {
    let (f, g) = (matrix(6, 8, 0.3, 1.0), matrix(6, 3, 1.1, 1.0));
    let exact = multilinear_map(f.clone(), g.clone()).unwrap();
    assert_eq!(exact.dims(), [6, 24]);
    // Column k * d + i is feature i times prediction k.
    let product = exact
        .clone()
        .into_data()
        .iter::<f32>()
        .nth(24 + 2 * 8 + 5)
        .unwrap();
    let element = |x: &Tensor<2>, at| x.clone().into_data().iter::<f32>().nth(at).unwrap();
    assert_eq!(product, element(&f, 8 + 5) * element(&g, 3 + 2));
    let map = RandomizedMultilinearMap::new(8, 3, 40_000, 1, &device());
    let random = map.forward(f, g).unwrap();
    let gram = |x: Tensor<2>| x.clone().matmul(x.transpose());
    let worst = (gram(exact) - gram(random))
        .abs()
        .max()
        .into_scalar::<f32>();
    assert!(worst < 0.5, "{worst}");
}

#[test]
fn certain_predictions_confuse_nothing_and_uniform_ones_everything() {
    let certain = Tensor::<2>::eye(4, &device())
        .mul_scalar(300.0)
        .require_grad();
    let loss = minimum_class_confusion(certain.clone(), 2.5).unwrap();
    assert!(finite(&certain, loss) < 1e-6);
    assert!(finite(&certain, mean_entropy(certain.clone()).unwrap()).abs() < 1e-6);
    let loss = information_maximisation(certain.clone()).unwrap();
    assert!((finite(&certain, loss) + 4f32.ln()).abs() < 1e-6);
    let uniform = constant(6, 4);
    let loss = minimum_class_confusion(uniform.clone(), 2.5).unwrap();
    assert!((finite(&uniform, loss) - 0.75).abs() < 1e-6);
    let loss = pseudo_label_loss(uniform.clone(), uniform.clone(), 0.9).unwrap();
    assert_eq!(finite(&uniform, loss), 0.0);
    let single = constant(6, 1);
    let loss = minimum_class_confusion(single.clone(), 2.5).unwrap();
    assert_eq!(finite(&single, loss), 0.0);
    // One class takes all: the sums of the other rows vanish.
    let rows = TensorData::new([1000.0f32, 0.0, 0.0].repeat(4), [4, 3]);
    let one = Tensor::<2>::from_data(rows, &device()).require_grad();
    finite(&one, minimum_class_confusion(one.clone(), 1.0).unwrap());
}

#[test]
fn undecided_domain_classifiers_give_the_logarithm_of_two() {
    let zeros = || Tensor::<2>::zeros([4, 1], &device());
    for loss in [
        domain_loss(zeros(), zeros(), None).unwrap(),
        domain_confusion_loss(zeros(), zeros()).unwrap(),
    ] {
        assert!((value(loss) - 2f32.ln()).abs() < 1e-6);
    }
    let far = Tensor::<2>::full([4, 1], 1e4, &device()).require_grad();
    let loss = domain_loss(far.clone(), far.clone(), None).unwrap();
    assert!((finite(&far, loss) - 5e3).abs() < 1.0);
}

#[test]
fn relations_ignore_scale_rotation_and_place_and_survive_equal_rows() {
    let x = matrix(6, 3, 0.3, 1.0);
    let moved = x.clone().detach().flip([1]).mul_scalar(7.0).add_scalar(2.0);
    assert!(value(rkd_distance_loss(x.clone(), moved.clone()).unwrap()) < 1e-9);
    assert!(value(rkd_angle_loss(x, moved).unwrap()) < 1e-9);
    let student = constant(4, 3);
    let teacher = matrix(4, 5, 0.3, 1.0);
    let loss = rkd_distance_loss(student.clone(), teacher.clone()).unwrap();
    assert!(finite(&student, loss) > 0.0);
    let loss = rkd_angle_loss(student.clone(), teacher).unwrap();
    assert!(finite(&student, loss) > 0.0);
}

#[test]
fn equal_logits_distil_nothing_and_equal_views_are_perfect() {
    let x = matrix(5, 4, 0.3, 3.0);
    let same = x.clone().detach();
    assert!(value(distillation_loss(x.clone(), same.clone(), 4.0).unwrap()).abs() < 1e-6);
    let loss = simsiam_loss(x.clone(), x.clone(), same.clone(), same.clone()).unwrap();
    assert!((value(loss) + 1.0).abs() < 1e-6);
    let zeros = Tensor::<2>::zeros([5, 4], &device()).require_grad();
    let loss = simsiam_loss(zeros.clone(), same.clone(), same.clone(), same.clone()).unwrap();
    finite(&zeros, loss);
    let flat = constant(5, 4);
    let loss = barlow_twins_loss(flat.clone(), same, 0.005).unwrap();
    assert!((finite(&flat, loss) - 4.0).abs() < 1e-5);
}

#[test]
fn shapes_and_constants_out_of_range_are_errors() {
    let (a, b, empty) = (
        matrix(5, 4, 0.3, 1.0),
        matrix(5, 3, 0.3, 1.0),
        Tensor::<2>::zeros([0, 4], &device()),
    );
    let one = || matrix(1, 4, 0.3, 1.0);
    let errors = [
        MkMmd::default().loss(a.clone(), b.clone()).is_err(),
        MkMmd::default().loss(a.clone(), empty.clone()).is_err(),
        MkMmd { factors: vec![] }
            .loss(a.clone(), a.clone())
            .is_err(),
        MkMmd { factors: vec![0.0] }
            .loss(a.clone(), a.clone())
            .is_err(),
        deep_coral_loss(a.clone(), b.clone()).is_err(),
        deep_coral_loss(a.clone(), one()).is_err(),
        domain_loss(a.clone(), b.clone(), None).is_err(),
        domain_confusion_loss(empty.clone(), a.clone()).is_err(),
        minimum_class_confusion(empty.clone(), 2.5).is_err(),
        minimum_class_confusion(a.clone(), 0.0).is_err(),
        minimum_class_confusion(a.clone(), f64::NAN).is_err(),
        mean_entropy(empty.clone()).is_err(),
        information_maximisation(empty.clone()).is_err(),
        pseudo_label_loss(a.clone(), b.clone(), 0.5).is_err(),
        pseudo_label_loss(a.clone(), a.clone(), 1.5).is_err(),
        distillation_loss(a.clone(), b.clone(), 1.0).is_err(),
        distillation_loss(a.clone(), a.clone(), -1.0).is_err(),
        rkd_distance_loss(one(), one()).is_err(),
        rkd_angle_loss(a.clone(), matrix(4, 4, 0.1, 1.0)).is_err(),
        rkd_angle_loss(matrix(2, 4, 0.1, 1.0), matrix(2, 4, 0.1, 1.0)).is_err(),
        simsiam_loss(a.clone(), a.clone(), a.clone(), b.clone()).is_err(),
        barlow_twins_loss(one(), one(), 0.1).is_err(),
        barlow_twins_loss(a.clone(), a.clone(), 0.0).is_err(),
        prototypes(a.clone(), 2).is_err(),
        prototypes(a.clone(), 0).is_err(),
        prototype_logits(a.clone(), b.clone()).is_err(),
        multilinear_map(a.clone(), one()).is_err(),
        certainty_weights(empty).is_err(),
    ];
    for (at, is_error) in errors.into_iter().enumerate() {
        assert!(is_error, "case {at}");
    }
}
