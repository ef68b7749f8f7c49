//! A device that has too little memory: an error that says what needs less, what was saved intact, the device usable.

use std::process::Command;
use std::time::Duration;

use rekindle::imagefolder::ImageDataset;
use rekindle::models::Preprocess;
use rekindle::trainer::{
    Cache, Event, Observer, Predictor, RunDirectory, Schedule, Source, Trainer, TrainerError,
    TransferData, eval_pipeline,
};

use test_support::{Needs, skip};

use super::*;

/// Those whose memory is their own, and not the process's.
fn graphics_cards() -> Vec<(DeviceName, Device)> {
    let mut found = others();
    found.retain(|(name, _)| *name != DeviceName::NdArray);
    if found.is_empty() {
        skip(
            Needs::Driver,
            "no device with memory of its own: wgpu finds none, and there is no CUDA",
        );
    }
    found
}

/// 3.3 TB of images that exist in no memory.
fn huge_batch(device: &Device) -> Batch {
    const IMAGES: usize = 1 << 10;
    Batch {
        x: Tensor::zeros([IMAGES, 3, 1 << 14, 1 << 14], device),
        targets: Targets {
            labels: vec![0; IMAGES],
            ..Targets::default()
        },
        indices: (0..IMAGES).collect(),
        ..batch(device)
    }
}

#[test]
fn a_batch_that_fits_no_memory_is_an_error_and_the_next_step_is_as_ever() {
    for (name, device) in graphics_cards() {
        let mut learner = learner(&device);
        let before = learner.train_batch(&batch(&device), 0.0).unwrap().loss;
        let error = learner.train_batch(&huge_batch(&device), 0.01).unwrap_err();
        println!("{error}");
        let text = error.to_string();
        let TrainerError::OutOfDeviceMemory { cause, .. } = error else {
            panic!("{name}: {text}");
        };
        assert!(cause.training);
        assert_eq!(cause.input, [1 << 10, 3, 1 << 14, 1 << 14]);
        assert!(cause.bytes.unwrap() > 1 << 30, "{cause:?}");
        for advice in [
            "batch (such as 512)",
            "`features`",
            "smaller network",
            "CPU",
        ] {
            assert!(text.contains(advice), "{advice}: {text}");
        }

        let error = Predictor::new(learner.classifier())
            .logit_values(&huge_batch(&device))
            .unwrap_err();
        assert!(
            matches!(&error, TrainerError::OutOfDeviceMemory { cause, .. } if !cause.training),
            "{name}: {error}"
        );

        let after = self::learner(&device).train_batch(&batch(&device), 0.0);
        assert_eq!(after.unwrap().loss, before, "{name}");
    }
}

/// The process that runs out of memory: trains its head for an epoch, then everything, for which there is no memory.
#[test]
fn the_run_that_runs_out() {
    let Ok(path) = std::env::var("REKINDLE_TEST_RUN_OUT_OF_MEMORY") else {
        return;
    };
    // Only the driver is to be refused memory: the program would end at its first allocation that fails.
    std::panic::set_hook(Box::new(|panic| {
        limit_address_space("unlimited");
        println!("panic: {panic}");
    }));
    let device = DeviceName::Wgpu.open().unwrap();
    let error = run(&device).observer(Limit).run_directory(&path).fit();
    let error = error.err().unwrap();
    assert!(
        matches!(error, TrainerError::OutOfDeviceMemory { .. }),
        "{error}"
    );
    println!("told: {error}");
    // It is the process's limit; the device goes on.
    let sum = Tensor::<1>::ones([16], &device).sum();
    assert_eq!(
        sum.try_into_data().unwrap().iter::<f32>().next(),
        Some(16.0)
    );
}

/// Mesa's software driver takes its memory from the process, whose address space can be limited.
#[test]
#[cfg(target_os = "linux")]
fn a_run_that_runs_out_of_memory_keeps_what_it_saved() {
    let drivers = std::fs::read_dir("/usr/share/vulkan/icd.d")
        .into_iter()
        .flatten();
    let mut drivers = drivers.map_while(Result::ok).map(|entry| entry.path());
    let driver = drivers.find(|path| path.to_string_lossy().contains("lvp_icd"));
    let has_prlimit = Command::new("prlimit").arg("--version").output().is_ok();
    let (Some(driver), Ok(_)) = (driver, DeviceName::Wgpu.open()) else {
        skip(Needs::Driver, "there is no Mesa software Vulkan");
        return;
    };
    if !has_prlimit {
        skip(Needs::Program, "there is no program prlimit");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["memory::the_run_that_runs_out", "--exact", "--nocapture"])
        .env("REKINDLE_TEST_RUN_OUT_OF_MEMORY", &path)
        .env("VK_ICD_FILENAMES", driver)
        .env("MALLOC_ARENA_MAX", "1") // Each would reserve 64 MB.
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    println!("{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success());
    let told = said
        .lines()
        .find(|line| line.starts_with("told: "))
        .unwrap();
    for part in [
        "training narrow with a batch of 64 x 3 x 128 x 128",
        "a smaller batch (such as 32)",
        "the last checkpoint is ",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }

    let saved = RunDirectory::open(&path).unwrap();
    let checkpoint = saved.latest_checkpoint().unwrap().unwrap();
    assert_eq!(checkpoint.position().epochs, 1);
    let finished = run(&cpu()).resume(&path).unwrap();
    assert_eq!(finished.history.len(), 2);
}

/// Two epochs of one batch: the head alone, then everything.
fn run(device: &Device) -> Trainer<'static, Network> {
    const SIZE: usize = 128;
    let preprocess = Preprocess {
        resize: SIZE,
        crop: SIZE,
        ..Preprocess::IMAGENET
    };
    let images = |count: usize| {
        let labels = (0..count).map(|image| Some(image % CLASSES)).collect();
        let classes = ["a", "b", "c"].map(String::from).to_vec();
        ImageDataset::from_fn(labels, classes, eval_pipeline(&preprocess), |index| {
            let shade = [100, 150, 200][index % CLASSES];
            Ok(image::RgbImage::from_pixel(
                SIZE as u32,
                SIZE as u32,
                image::Rgb([shade, shade, index as u8]),
            ))
        })
        .unwrap()
    };
    let data = TransferData::from_datasets(images(64), images(3), &preprocess).unwrap();
    let recipe = Recipe {
        epochs: 2,
        batch_size: 64,
        cache: Cache::Off,
        schedule: Schedule::Constant,
        ..Recipe::tutorial()
    };
    Trainer::new(classifier(device), data)
        .source(Source {
            architecture: "narrow".into(),
            ..Source::default()
        })
        .strategy(Strategy::LinearProbeThenFineTuning {
            probe_epochs: 1,
            backbone_rate: 1.0,
        })
        .recipe(recipe)
        .checkpoint_interval(Duration::ZERO)
}

/// Leaves the process little more memory than it has, once a checkpoint is saved.
struct Limit;

impl Observer for Limit {
    fn on_event(&mut self, event: &Event) {
        const SLACK: u64 = 40 << 20;
        if matches!(event, Event::CheckpointSaved { .. }) {
            let status = std::fs::read_to_string("/proc/self/status").unwrap();
            let line = status.lines().find(|line| line.starts_with("VmSize:"));
            let number = line.unwrap().split_whitespace().nth(1);
            let kilobytes: u64 = number.unwrap().parse().unwrap();
            limit_address_space(&((kilobytes << 10) + SLACK).to_string());
        }
    }
}

fn limit_address_space(bytes: &str) {
    let done = Command::new("prlimit")
        .arg(format!("--pid={}", std::process::id()))
        .arg(format!("--as={bytes}:"))
        .status();
    assert!(done.unwrap().success());
}
