//! Value and gradient of each loss against PyTorch's in f64 (`pytorch.py`).

use burn::prelude::*;
use burn::tensor::activation::log_softmax;
use burn::tensor::{Int, TensorData};
use rekindle_transfer::TransferError;
use rekindle_transfer::objective::*;

type Loss = Result<Tensor<1>, TransferError>;

/// The inputs of `pytorch.py`.
pub fn matrix(rows: usize, columns: usize, phase: f64, scale: f64) -> Tensor<2> {
    let values: Vec<f32> = (0..rows * columns)
        .map(|at| ((at / columns) as f64, (at % columns) as f64))
        .map(|(i, j)| (scale * (0.7 * i + 1.3 * j + 0.11 * i * j + phase).sin()) as f32)
        .collect();
    let device = Device::flex().autodiff();
    Tensor::from_data(TensorData::new(values, [rows, columns]), &device).require_grad()
}

fn agrees(name: &str, inputs: &[Tensor<2>], loss: Loss) {
    let reference: serde_json::Value = serde_json::from_str(include_str!("pytorch.json")).unwrap();
    let expected = &reference[name];
    let loss = loss.unwrap();
    let grads = loss.backward();
    let value = f64::from(loss.into_scalar::<f32>());
    let wanted = expected["loss"].as_f64().unwrap();
    let close = |a: f64, b: f64| (a - b).abs() < 3e-6 * (1.0 + b.abs());
    assert!(close(value, wanted), "{name}: {value} instead of {wanted}");
    for (at, input) in inputs.iter().enumerate() {
        let wanted = expected["gradients"][at].as_array().unwrap();
        let found: Vec<f64> = match input.grad(&grads) {
            Some(grad) => grad.into_data().iter::<f64>().collect(),
            None => vec![0.0; wanted.len()],
        };
        assert_eq!(found.len(), wanted.len());
        for (found, wanted) in found.iter().zip(wanted) {
            let wanted = wanted.as_f64().unwrap();
            assert!(
                close(*found, wanted),
                "{name}, input {at}: {found} instead of {wanted}"
            );
        }
    }
}

fn two(name: &str, a: Tensor<2>, b: Tensor<2>, loss: impl Fn(Tensor<2>, Tensor<2>) -> Loss) {
    agrees(name, &[a.clone(), b.clone()], loss(a, b));
}

fn one(name: &str, x: Tensor<2>, loss: impl Fn(Tensor<2>) -> Loss) {
    let loss = loss(x.clone());
    agrees(name, std::slice::from_ref(&x), loss);
}

#[test]
fn adversarial_losses() {
    let (s, t) = (matrix(5, 1, 0.3, 1.0), matrix(4, 1, 1.1, 1.0));
    two("domain", s.clone(), t.clone(), |s, t| {
        domain_loss(s, t, None)
    });
    two("confusion", s.clone(), t.clone(), domain_confusion_loss);
    let weights = |rows, phase| certainty_weights(matrix(rows, 3, phase, 1.0)).unwrap();
    two("weighted_domain", s, t, |s, t| {
        domain_loss(s, t, Some((weights(5, 0.3), weights(4, 0.9))))
    });
}

#[test]
fn discrepancies() {
    let (s, t) = (matrix(5, 4, 0.3, 1.0), matrix(6, 4, 1.1, 1.0));
    two("mmd", s.clone(), t.clone(), |s, t| {
        MkMmd::default().loss(s, t)
    });
    two("coral", s, t, deep_coral_loss);
}

#[test]
fn certainty_of_predictions() {
    let z = matrix(7, 4, 0.3, 3.0);
    one("mcc", z.clone(), |z| minimum_class_confusion(z, 2.5));
    one("entropy", z.clone(), mean_entropy);
    one("information", z.clone(), information_maximisation);
    one("pseudo", z, |z| pseudo_label_loss(z.clone(), z, 0.6));
}

#[test]
fn distillations() {
    two(
        "distillation",
        matrix(5, 4, 0.3, 3.0),
        matrix(5, 4, 1.1, 3.0),
        |s, t| distillation_loss(s, t, 3.0),
    );
    let (s, t) = (matrix(5, 4, 0.3, 1.0), matrix(5, 3, 1.1, 1.0));
    two("rkd_distance", s.clone(), t.clone(), rkd_distance_loss);
    two("rkd_angle", s, t, rkd_angle_loss);
}

#[test]
fn self_supervision_and_episodes() {
    two(
        "simsiam",
        matrix(5, 4, 0.3, 1.0),
        matrix(5, 4, 1.1, 1.0),
        |p, z| simsiam_loss(p, z, matrix(5, 4, 2.0, 1.0), matrix(5, 4, 2.5, 1.0)),
    );
    two(
        "barlow",
        matrix(7, 4, 0.3, 1.0),
        matrix(7, 4, 1.1, 1.0),
        |a, b| barlow_twins_loss(a, b, 0.005),
    );
    two(
        "prototypical",
        matrix(6, 4, 0.3, 1.0),
        matrix(4, 4, 1.1, 1.0),
        |s, q| {
            let logits = prototype_logits(q, prototypes(s, 3)?)?;
            let labels = TensorData::new(vec![0i64, 1, 2, 0], [4, 1]);
            let labels = Tensor::<2, Int>::from_data(labels, &logits.device());
            Ok(log_softmax(logits, 1).gather(1, labels).mean().neg())
        },
    );
}
