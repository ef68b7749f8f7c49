//! Weights of several tasks.

use burn::module::{Module, Param};
use burn::optim::GradientsParams;
use burn::prelude::*;
use rekindle_transfer::features::Features;
use rekindle_transfer::objective::*;

fn device() -> Device {
    Device::flex().autodiff()
}

fn scalar(value: f32) -> Tensor<1> {
    Tensor::from_data([value], &device())
}

#[test]
fn a_weighted_sum_is_one() {
    let losses = [scalar(2.0), scalar(3.0)];
    let sum = weighted_sum(&losses, &[0.5, 2.0]).unwrap();
    assert_eq!(sum.into_scalar::<f32>(), 7.0);
    assert!(weighted_sum(&losses, &[1.0]).is_err());
    assert!(weighted_sum(&losses, &[1.0, -1.0]).is_err());
    assert!(weighted_sum(&[], &[]).is_err());
}

#[test]
fn uncertainty_is_stationary_at_the_logarithm_of_twice_the_loss() {
    let mut weighting = UncertaintyWeighting::new(2, &device());
    let losses = [scalar(2.0), scalar(0.1)];
    let plain = weighting.loss(&losses).unwrap().into_scalar::<f32>();
    assert!((plain - 2.1).abs() < 1e-6);
    let optimum = [4f32.ln(), 0.2f32.ln()];
    let tensor = Tensor::<1>::from_data(optimum, &device()).require_grad();
    weighting.log_variances = Param::from_tensor(tensor);
    let loss = weighting.loss(&losses).unwrap();
    let grads = loss.backward();
    let grad = weighting.log_variances.val().grad(&grads).unwrap();
    assert!(grad.abs().max().into_scalar::<f32>() < 1e-6);
    let expected = 1.0 + (optimum[0] + optimum[1]) / 2.0;
    assert!((loss.into_scalar::<f32>() - expected).abs() < 1e-5);
    let vanished = weighting.loss(&[scalar(0.0), scalar(0.0)]).unwrap();
    assert!(vanished.into_scalar::<f32>().is_finite());
    assert!(weighting.loss(&losses[..1]).is_err());
    assert!(UncertaintyWeighting::new(0, &device()).loss(&[]).is_err());
}

#[derive(Module, Debug)]
struct Plane {
    x: Param<Tensor<1>>,
    y: Param<Tensor<2>>,
}

impl Plane {
    fn new() -> Self {
        Self {
            x: Param::from_tensor(Tensor::zeros([1], &device()).require_grad()),
            y: Param::from_tensor(Tensor::zeros([1, 1], &device()).require_grad()),
        }
    }

    fn gradients(&self, [x, y]: [f64; 2]) -> GradientsParams {
        let loss = self.x.val().mul_scalar(x) + self.y.val().mul_scalar(y).reshape([1]);
        GradientsParams::from_grads(loss.backward(), self)
    }

    fn surgery(&self, tasks: &[[f64; 2]]) -> [f32; 2] {
        let tasks = tasks.iter().map(|task| self.gradients(*task)).collect();
        let mixed = pcgrad(self, tasks, 3).unwrap();
        [
            mixed.get::<1>(self.x.id).unwrap().into_scalar::<f32>(),
            mixed.get::<2>(self.y.id).unwrap().into_scalar::<f32>(),
        ]
    }
}

#[test]
fn gradients_that_agree_are_added_and_others_projected() {
    let plane = Plane::new();
    assert_eq!(plane.surgery(&[[1.0, 0.0], [1.0, 2.0]]), [2.0, 2.0]);
    // (1, 0) less its part along (-1, 1) is (1/2, 1/2); (-1, 1) less its part along (1, 0) is (0, 1).
    assert_eq!(plane.surgery(&[[1.0, 0.0], [-1.0, 1.0]]), [0.5, 1.5]);
    assert_eq!(plane.surgery(&[[1.0, 2.0], [-1.0, -2.0]]), [0.0, 0.0]);
    assert_eq!(plane.surgery(&[[1.0, 2.0], [0.0, 0.0]]), [1.0, 2.0]);
    assert!(pcgrad(&plane, vec![], 0).is_err());
}

#[test]
fn rows_without_a_label_don_t_count() {
    let logits = || Tensor::<2>::from_data([[1.0f32, -2.0], [0.5, 0.25], [9.0, 9.0]], &device());
    let found = masked_cross_entropy(logits(), &[Some(1), Some(0), None]).unwrap();
    let expected = ((1f64.exp() + (-2f64).exp()).ln() + 2.0 + (1.0 + (-0.25f64).exp()).ln()) / 2.0;
    assert!((f64::from(found.into_scalar::<f32>()) - expected).abs() < 1e-6);
    let none = masked_cross_entropy(logits(), &[None; 3]).unwrap();
    assert_eq!(none.into_scalar::<f32>(), 0.0);
    assert!(masked_cross_entropy(logits(), &[Some(2), None, None]).is_err());
    assert!(masked_cross_entropy(logits(), &[None; 2]).is_err());
}

/// Rows whose first numbers say one thing and whose last another; each task has the labels of half of the rows.
fn two_tasks() -> (Features, Vec<TaskLabels>, [Vec<usize>; 2]) {
    let count = 120;
    let mut values = Vec::new();
    for i in 0..count {
        for j in 0..8 {
            let noise = ((i * 37 + j * 101) as f32 * 0.731).sin() * 0.3;
            let signal = if j < 4 {
                (i % 4 == j) as u8
            } else {
                (i / 4 % 2 == j % 2) as u8
            };
            values.push(f32::from(signal) + noise);
        }
    }
    let truth = [
        (0..count).map(|i| i % 4).collect::<Vec<_>>(),
        (0..count).map(|i| (i / 4 + 1) % 2).collect(),
    ];
    let tasks = (0..2)
        .map(|task| TaskLabels {
            labels: (0..count)
                .map(|i| (i / 8 % 2 == task).then(|| truth[task][i]))
                .collect(),
            classes: 4 - 2 * task,
        })
        .collect();
    (Features::new(values, 8).unwrap(), tasks, truth)
}

#[test]
fn two_tasks_with_half_of_their_labels_each_are_learnt_at_once() {
    let (features, tasks, truth) = two_tasks();
    for weighting in [
        Weighting::Fixed {
            weights: vec![1.0, 0.5],
        },
        Weighting::Uncertainty,
        Weighting::PcGrad,
    ] {
        let settings = MultiTask {
            hidden: 16,
            steps: 300,
            batch_size: 40,
            learning_rate: 0.05,
            ..MultiTask::new(weighting)
        };
        let json = serde_json::to_string(&settings).unwrap();
        assert_eq!(serde_json::from_str::<MultiTask>(&json).unwrap(), settings);
        let heads = settings.fit(&features, &tasks, &Device::flex()).unwrap();
        for (found, truth) in heads.predict(&features).unwrap().iter().zip(&truth) {
            let correct = found.iter().zip(truth).filter(|(a, b)| a == b).count();
            assert!(correct > 115, "{:?}: {correct}", settings.weighting);
        }
    }
}

#[test]
fn a_task_of_weight_zero_leaves_the_other_as_if_alone() {
    let (features, tasks, _) = two_tasks();
    let fit = |weights: Vec<f64>, tasks: &[TaskLabels]| {
        let settings = MultiTask {
            hidden: 8,
            steps: 20,
            ..MultiTask::new(Weighting::Fixed { weights })
        };
        settings
            .fit(&features, tasks, &Device::flex())
            .unwrap()
            .logits(&features)
            .unwrap()
    };
    assert_eq!(
        fit(vec![1.0, 0.0], &tasks)[0],
        fit(vec![1.0], &tasks[..1])[0]
    );
}

#[test]
fn tasks_that_can_t_be_learnt_are_errors() {
    let (features, tasks, _) = two_tasks();
    let good = MultiTask {
        steps: 2,
        ..MultiTask::new(Weighting::Uncertainty)
    };
    let fails = |settings: &MultiTask, tasks: &[TaskLabels]| {
        assert!(settings.fit(&features, tasks, &Device::flex()).is_err());
    };
    fails(&good, &[]);
    fails(
        &good,
        &[TaskLabels {
            labels: vec![None; 120],
            classes: 2,
        }],
    );
    fails(
        &good,
        &[TaskLabels {
            labels: vec![Some(0); 120],
            classes: 1,
        }],
    );
    fails(
        &good,
        &[TaskLabels {
            labels: vec![Some(5); 120],
            classes: 2,
        }],
    );
    fails(
        &good,
        &[TaskLabels {
            labels: vec![Some(0); 3],
            classes: 2,
        }],
    );
    fails(
        &MultiTask::new(Weighting::Fixed { weights: vec![1.0] }),
        &tasks,
    );
    fails(
        &MultiTask {
            hidden: 0,
            ..good.clone()
        },
        &tasks,
    );
    fails(
        &MultiTask {
            learning_rate: f64::NAN,
            ..good.clone()
        },
        &tasks,
    );
    fails(
        &MultiTask {
            learning_rate: 1e30,
            steps: 50,
            ..good
        },
        &tasks,
    );
}
