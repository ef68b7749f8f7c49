//! Schedules against PyTorch 2.15. Every `torch` array holds the learning rates printed by this
//! loop with a base rate of 1 (`S` is the line above the array):
//!
//! ```python
//! p = torch.nn.Parameter(torch.zeros(1)); o = torch.optim.SGD([p], lr=1.0); s = S
//! for i in range(n): print(o.param_groups[0]['lr']); o.step(); i < n - 1 and s.step()
//! ```

use rekindle_trainer::{Anneal, Schedule, TrainerError};

#[test]
fn step_decays_between_epochs_as_step_lr() {
    // StepLR(o, 7, 0.1), one `s.step()` an epoch
    let torch: Vec<f64> = [1.0, 0.1, 0.010000000000000002, 0.0010000000000000002]
        .iter()
        .flat_map(|&lr| [lr; 7])
        .take(25)
        .collect();
    for steps_per_epoch in [1, 61] {
        for (epoch, &expected) in torch.iter().enumerate() {
            for step in [0, steps_per_epoch - 1] {
                let found = Schedule::tutorial().factor(
                    epoch * steps_per_epoch + step,
                    steps_per_epoch,
                    25,
                );
                assert!(close(found, expected), "epoch {epoch}: {found}, {expected}");
            }
        }
    }
}

#[test]
fn multi_step_decays_at_its_milestones() {
    // MultiStepLR(o, [2, 5], 0.5)
    let torch = [1.0, 1.0, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25];
    let schedule = Schedule::MultiStep {
        milestones: vec![2, 5],
        gamma: 0.5,
    };
    assert_all(&schedule, 1, &torch);
}

#[test]
fn exponential_decays_after_every_epoch() {
    let schedule = Schedule::Exponential { gamma: 0.9 };
    for epoch in 0..10 {
        let closed_form = 0.9f64.powi(epoch as i32);
        assert!(close(schedule.factor(epoch * 3 + 2, 3, 10), closed_form));
    }
}

#[test]
fn cosine_follows_cosine_annealing_lr() {
    // CosineAnnealingLR(o, T_max=12, eta_min=0.01)
    let torch = [
        1.0,
        0.9831332840130887,
        0.9336825748732972,
        0.855017856687341,
        0.7525000000000001,
        0.6331154273257479,
        0.505,
        0.3768845726742523,
        0.2575000000000001,
        0.15498214331265903,
        0.07631742512670284,
        0.02686671598691124,
    ];
    assert_all(&Schedule::Cosine { min_factor: 0.01 }, 4, &torch);
}

#[test]
fn one_cycle_follows_one_cycle_lr() {
    // OneCycleLR(o, max_lr=1.0, total_steps=12)
    let torch = [
        0.040000000000000036,
        0.3497896542195831,
        0.8792851591221287,
        0.9944154354509117,
        0.9330129698414117,
        0.811745653949763,
        0.6473789976951033,
        0.46263710266697505,
        0.28306099820869923,
        0.1334775301888306,
        0.03456698742539522,
        4e-06,
    ];
    assert_all(&Schedule::one_cycle(), 4, &torch);
}

#[test]
fn one_cycle_of_three_linear_phases_follows_one_cycle_lr() {
    // OneCycleLR(o, max_lr=1.0, total_steps=12, three_phase=True, anneal_strategy='linear',
    //            pct_start=0.4, div_factor=10, final_div_factor=100)
    let torch = [
        0.1,
        0.33684210526315783,
        0.5736842105263157,
        0.8105263157894735,
        0.9526315789473686,
        0.7157894736842108,
        0.4789473684210529,
        0.24210526315789505,
        0.08835294117647063,
        0.05923529411764709,
        0.030117647058823555,
        0.0010000000000000009,
    ];
    let schedule = Schedule::OneCycle {
        pct_start: 0.4,
        div_factor: 10.0,
        final_div_factor: 100.0,
        anneal: Anneal::Linear,
        three_phase: true,
    };
    assert_all(&schedule, 3, &torch);
}

#[test]
fn warm_up_then_cosine_follows_sequential_lr() {
    // SequentialLR(o, [LinearLR(o, start_factor=0.1, total_iters=4),
    //                  CosineAnnealingLR(o, T_max=8)], [4])
    let torch = [
        0.1,
        0.325,
        0.55,
        0.7750000000000001,
        1.0,
        0.9619397662556434,
        0.8535533905932737,
        0.6913417161825449,
        0.5,
        0.30865828381745514,
        0.14644660940672627,
        0.03806023374435664,
    ];
    let schedule = Schedule::Warmup {
        epochs: 2.0,
        start_factor: 0.1,
        then: Box::new(Schedule::cosine()),
    };
    assert_all(&schedule, 2, &torch);
}

#[test]
fn every_schedule_is_finite_and_within_its_bounds_for_any_length() {
    let schedules = [
        Schedule::Constant,
        Schedule::tutorial(),
        Schedule::cosine(),
        Schedule::one_cycle(),
        Schedule::one_cycle().with_warmup(0.5),
        Schedule::cosine().with_warmup(10.0),
    ];
    for schedule in &schedules {
        schedule.validate().unwrap();
        for (steps_per_epoch, epochs) in [(1, 1), (1, 2), (2, 1), (3, 2), (7, 5)] {
            for step in 0..steps_per_epoch * epochs + 3 {
                let factor = schedule.factor(step, steps_per_epoch, epochs);
                assert!(
                    factor.is_finite() && (0.0..=1.0 + 1e-12).contains(&factor),
                    "{schedule:?} at {step} of {steps_per_epoch} x {epochs}: {factor}"
                );
            }
        }
    }
}

#[test]
fn the_last_factor_holds_past_the_end() {
    let schedule = Schedule::one_cycle();
    assert_eq!(schedule.factor(1_000, 4, 3), schedule.factor(11, 4, 3));
}

#[test]
fn json_is_readable_and_comes_back() {
    let schedule = Schedule::tutorial().with_warmup(1.0);
    let json = serde_json::to_string(&schedule).unwrap();
    assert_eq!(
        json,
        r#"{"kind":"warmup","epochs":1.0,"start_factor":0.01,"then":{"kind":"step","step_size":7,"gamma":0.1}}"#
    );
    assert_eq!(serde_json::from_str::<Schedule>(&json).unwrap(), schedule);
    let short: Schedule = serde_json::from_str(r#"{"kind":"one_cycle"}"#).unwrap();
    assert_eq!(short, Schedule::one_cycle());
}

#[test]
fn a_parameter_out_of_range_is_named() {
    let wrong = [
        (
            Schedule::Step {
                step_size: 0,
                gamma: 0.1,
            },
            "step_size",
        ),
        (Schedule::Exponential { gamma: f64::NAN }, "gamma"),
        (Schedule::Cosine { min_factor: 2.0 }, "min_factor"),
        (Schedule::Constant.with_warmup(-1.0), "warm-up epochs"),
        (
            Schedule::Cosine { min_factor: -1.0 }.with_warmup(1.0),
            "min_factor",
        ),
    ];
    for (schedule, name) in wrong {
        match schedule.validate() {
            Err(TrainerError::InvalidSchedule { field, .. }) => assert_eq!(field, name),
            other => panic!("{schedule:?}: {other:?}"),
        }
    }
}

fn assert_all(schedule: &Schedule, steps_per_epoch: usize, expected: &[f64]) {
    let epochs = expected.len() / steps_per_epoch;
    for (step, &expected) in expected.iter().enumerate() {
        let found = schedule.factor(step, steps_per_epoch, epochs);
        assert!(close(found, expected), "step {step}: {found}, {expected}");
    }
}

fn close(found: f64, expected: f64) -> bool {
    (found - expected).abs() <= 1e-12
}
