//! Transfers what a source knows of classes and a teacher of images, with a few labels: a head made of the source
//! classifier's own rows (Co-Tuning's category relationship), distillation, and relational distillation.
//!
//! ```text
//! cargo run --release --example relational -- --data hymenoptera --weights resnet18.pth --teacher resnet50.safetensors
//! ```
//!
//! `--data` holds `train` and `val`. A few images per class of `train` are learnt from with labels; distillation sees the
//! others without. Without arguments it takes drawn ants and bees and no teacher.

mod common;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Int, Tensor, TensorData};
use clap::Parser;
use common::table::Table;
use common::{Failure, Images, drawn};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rekindle::trainer::Advise;
use rekindle::transfer::features::{
    CategoryRelationship, Distance, Features, LinearHead, LogisticRegression, PriorProbe,
    Prototypes, accuracy, mix_heads,
};
use rekindle::transfer::objective::{distillation_loss, rkd_angle_loss, rkd_distance_loss};
use serde_json::json;

/// Heads from source rows and from teachers, at 1, 5 and 20 images per class.
#[derive(Debug, Parser)]
struct Arguments {
    /// Folder with train and val inside
    #[arg(long, requires = "weights")]
    data: Option<PathBuf>,
    /// Weights of the student, with its source classifier
    #[arg(long, requires = "data")]
    weights: Option<PathBuf>,
    /// Weights of a stronger network; without one there is no distillation
    #[arg(long, requires = "data")]
    teacher: Option<PathBuf>,
    /// Keeps features in this folder for later runs
    #[arg(long)]
    cache: Option<PathBuf>,
    /// Labelled images per class, one run each
    #[arg(long, value_delimiter = ',', default_value = "1,5,20")]
    shots: Vec<usize>,
    /// Seeds of the labelled images: 0, 1, ...
    #[arg(long, default_value_t = 3)]
    seeds: u64,
    /// One JSON object a method
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    common::outcome::exit_code(run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result<(), Failure> {
    let drawings;
    let (data, mut weights) = match (&arguments.data, &arguments.weights) {
        (Some(data), Some(weights)) => (data.clone(), vec![weights.clone()]),
        _ => {
            eprintln!("no --data: taking drawn ants and bees");
            drawings = drawn::ants_and_bees_to_measure(30, 100, 0)?;
            (drawings.data(), vec![drawings.weights()])
        }
    };
    weights.extend(arguments.teacher.clone());
    let (train, val) = (
        Seen::all(&data.join("train"), &weights, arguments)?,
        Seen::all(&data.join("val"), &weights, arguments)?,
    );
    let table = Table {
        json: arguments.json,
    };
    for shots in &arguments.shots {
        let mut found: Vec<(&str, Vec<f64>)> = Vec::new();
        for seed in 0..arguments.seeds {
            for (at, (method, accuracy)) in
                compare(&train, &val, *shots, seed)?.into_iter().enumerate()
            {
                match found.get_mut(at) {
                    Some((_, all)) => all.push(accuracy),
                    None => found.push((method, vec![accuracy])),
                }
            }
        }
        for (method, values) in &found {
            table.row(method, values, json!({"images a class": shots}));
        }
    }
    Ok(())
}

/// Output of one network for a set of images.
struct Seen {
    images: Images,
    source: Option<LinearHead>,
}

impl Seen {
    fn all(data: &Path, weights: &[PathBuf], arguments: &Arguments) -> Result<Vec<Self>, Failure> {
        let mut advise = Advise::new(&Device::flex());
        if let Some(folder) = &arguments.cache {
            advise = advise.cache(folder);
        }
        let scored = advise.score(data, weights)?;
        let of = |backbone: rekindle::trainer::ScoredBackbone| Self {
            images: Images {
                features: backbone.features,
                labels: scored.labels.clone(),
                classes: scored.classes.clone(),
            },
            source: backbone.source,
        };
        Ok(scored.backbones.into_iter().map(of).collect())
    }
}

/// Accuracy of each method on `val`; the first network is the student, the second the teacher.
fn compare(
    train: &[Seen],
    val: &[Seen],
    shots: usize,
    seed: u64,
) -> Result<Vec<(&'static str, f64)>, Failure> {
    let (student, test) = (&train[0], &val[0].images);
    let (few, _) = student.images.split(shots, seed);
    let classes = few.classes.len();
    let right = |found: Vec<usize>| accuracy(&found, &test.labels);
    let probe = PriorProbe {
        seed,
        ..PriorProbe::default()
    };
    let plain = LogisticRegression::new(1e-2).fit(&few.features, &few.labels, classes)?;
    let mut found = vec![(
        "head from the labels alone",
        right(plain.predict(&test.features)?),
    )];
    if let Some(source) = &student.source {
        let logits = source.logits(&few.features)?;
        let logits = logits.into_iter().map(|logit| logit as f32).collect();
        let logits = Features::new(logits, source.classes())?;
        let mixtures = CategoryRelationship::default().fit(&logits, &few.labels, classes)?;
        let head = mix_heads(&mixtures, source);
        let accuracy = right(head.predict(&test.features)?);
        found.push(("rows of the source classifier, mixed", accuracy));
        let head = probe
            .fit(&few.features, &few.labels, classes, Some(source))?
            .head;
        let accuracy = right(head.predict(&test.features)?);
        found.push(("the same, completed by a probe", accuracy));
    }
    let centroids = |few: &Features, test: &Features| -> Result<f64, Failure> {
        let prototypes = Prototypes::fit(
            few,
            &few_labels(&train[0], shots, seed),
            classes,
            Distance::Cosine,
        )?;
        Ok(right(prototypes.predict(test)?))
    };
    found.push(("class means", centroids(&few.features, &test.features)?));
    if let (Some(teacher), Some(teacher_val)) = (train.get(1), val.get(1)) {
        let (teacher_few, _) = teacher.images.split(shots, seed);
        let head = probe
            .fit(
                &teacher_few.features,
                &teacher_few.labels,
                classes,
                teacher.source.as_ref(),
            )?
            .head;
        let accuracy = right(head.predict(&teacher_val.images.features)?);
        found.push(("the teacher itself", accuracy));
        let lesson = Lesson {
            x: &student.images.features,
            few: &few,
            teacher: &teacher.images.features,
            seed,
        };
        let distilled = lesson.distil(&head, &test.features)?;
        found.push(("distilled from the teacher", right(distilled)));
        let (few_e, test_e) = lesson.relations(&test.features)?;
        found.push((
            "class means, relations of the teacher",
            centroids(&few_e, &test_e)?,
        ));
    }
    Ok(found)
}

fn few_labels(seen: &Seen, shots: usize, seed: u64) -> Vec<usize> {
    seen.images.split(shots, seed).0.labels
}

/// Data that a student learns from: all images without labels, and few with.
struct Lesson<'a> {
    x: &'a Features,
    few: &'a Images,
    teacher: &'a Features,
    seed: u64,
}

const STEPS: usize = 200;
const BATCH: usize = 32;

#[derive(Module, Debug)]
struct Student {
    layer: Linear,
}

impl Lesson<'_> {
    /// Predictions of a head that learnt the teacher's probabilities of all images, and the few labels.
    fn distil(&self, head: &LinearHead, test: &Features) -> Result<Vec<usize>, Failure> {
        let classes = head.classes();
        let logits = head
            .logits(self.teacher)?
            .into_iter()
            .map(|logit| logit as f32);
        let logits = Features::new(logits.collect(), classes)?;
        let device = Device::flex().autodiff();
        let (few, teacher) = (
            tensor(&self.few.features, &device),
            tensor_as_is(&logits, &device),
        );
        let labels: Vec<i64> = self.few.labels.iter().map(|label| *label as i64).collect();
        let labels = TensorData::new(labels, [self.few.labels.len(), 1]);
        let labels = Tensor::<2, Int>::from_data(labels, &device);
        let student = self.train(classes, &device, |student, rows| {
            let few = log_softmax(student.layer.forward(few.clone()), 1);
            let known = few.gather(1, labels.clone()).mean().neg();
            let guess = student.layer.forward(select(self.x, rows, &device));
            let teacher = pick(&teacher, rows);
            Ok(known + distillation_loss(guess, teacher, 2.0)?)
        })?;
        let logits = student.valid().layer.forward(tensor(test, &Device::flex()));
        let found: Vec<i64> = logits.argmax(1).into_data().iter::<i64>().collect();
        Ok(found.into_iter().map(|class| class as usize).collect())
    }

    /// The few images and `test` in a space of 64 dimensions that has the teacher's distances and angles.
    fn relations(&self, test: &Features) -> Result<(Features, Features), Failure> {
        let device = Device::flex().autodiff();
        let teacher = tensor(self.teacher, &device);
        let student = self
            .train(64, &device, |student, rows| {
                let guess = student.layer.forward(select(self.x, rows, &device));
                let teacher = pick(&teacher, rows);
                let angles = rkd_angle_loss(guess.clone(), teacher.clone())?;
                Ok(rkd_distance_loss(guess, teacher)? + angles.mul_scalar(2.0))
            })?
            .valid();
        let embed = |features: &Features| {
            let z = student.layer.forward(tensor(features, &Device::flex()));
            Features::new(z.into_data().iter::<f32>().collect(), 64)
        };
        Ok((embed(&self.few.features)?, embed(test)?))
    }

    fn train(
        &self,
        outputs: usize,
        device: &Device,
        loss: impl Fn(&Student, &[usize]) -> Result<Tensor<1>, Failure>,
    ) -> Result<Student, Failure> {
        device.seed(self.seed);
        let layer = LinearConfig::new(self.x.dim(), outputs).init(device);
        let mut student = Student { layer };
        let mut optimizer = AdamConfig::new().init();
        let mut draws = StdRng::seed_from_u64(self.seed);
        let mut rows: Vec<usize> = (0..self.x.len()).collect();
        for _ in 0..STEPS {
            rows.shuffle(&mut draws);
            let loss = loss(&student, &rows[..BATCH.min(rows.len())])?;
            let gradients = GradientsParams::from_grads(loss.backward(), &student);
            student = optimizer.step(1e-3, student, gradients);
        }
        Ok(student)
    }
}

/// Rows scaled to a length of half the root of their number of values.
fn tensor(features: &Features, device: &Device) -> Tensor<2> {
    let scale = (features.dim() as f64).sqrt() / 2.0;
    tensor_as_is(&features.l2_normalized(), device).mul_scalar(scale)
}

fn tensor_as_is(features: &Features, device: &Device) -> Tensor<2> {
    let shape = [features.len(), features.dim()];
    Tensor::from_data(TensorData::new(features.values().to_vec(), shape), device)
}

fn select(features: &Features, rows: &[usize], device: &Device) -> Tensor<2> {
    tensor(&features.select(rows), device)
}

fn pick(x: &Tensor<2>, rows: &[usize]) -> Tensor<2> {
    let rows: Vec<i64> = rows.iter().map(|row| *row as i64).collect();
    let count = rows.len();
    let rows = Tensor::<1, Int>::from_data(TensorData::new(rows, [count]), &x.device());
    x.clone().select(0, rows)
}
