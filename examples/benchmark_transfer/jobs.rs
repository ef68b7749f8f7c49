//! Lists the jobs, in the order of the guide's map.

use crate::Failure;
use crate::gather::{self, Row};
use crate::kept::{Kept, Network};

/// One example, on one or several sets.
pub struct Part {
    pub name: &'static str,
    pub example: &'static str,
    /// Sets whose features are needed.
    pub sets: Vec<(&'static str, Network)>,
    /// Arguments of each run; results of the same name are runs of one method.
    pub calls: Vec<Vec<String>>,
    /// Parser for the output of a run.
    pub read: fn(&str) -> Result<Vec<Row>, Failure>,
}

impl Part {
    /// The first of the commands.
    pub fn command(&self) -> String {
        let arguments = self
            .calls
            .first()
            .map_or(String::new(), |call| call.join(" "));
        format!(
            "cargo run --release --example {} -- {arguments}",
            self.example
        )
    }
}

const PACS: [&str; 4] = [
    "pacs/photo",
    "pacs/art_painting",
    "pacs/cartoon",
    "pacs/sketch",
];
const OFFICE: [&str; 2] = ["office_caltech10/amazon", "office_caltech10/webcam"];
const SMALL: Network = Network::ResNet18;
const LARGE: Network = Network::ResNet50;

pub fn parts(kept: &Kept) -> Vec<Part> {
    [
        sharing(kept),
        adaptation(kept),
        features(kept),
        instances(kept),
        without_labels(kept),
        few_and_zero_shot(kept),
        knowledge(kept),
        advice(kept),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn sharing(kept: &Kept) -> Vec<Part> {
    let files = files(kept, &PACS, LARGE);
    vec![
        Part {
            name: "multi-task learning: class and style of PACS",
            example: "multi_task",
            sets: of(&PACS, LARGE),
            calls: vec![call(&["--shots", "8", "--seeds", "3", "--json"], &files)],
            read: gather::tasks,
        },
        Part {
            name: "combining sources: PACS, each domain in turn left out",
            example: "combining_sources",
            sets: of(&PACS, LARGE),
            calls: vec![call(&["--seeds", "3", "--json"], &files)],
            read: |printed| {
                let mut rows = gather::seeds(printed)?;
                rows.retain(|row| row.name.ends_with(", mean"));
                Ok(rows)
            },
        },
    ]
}

fn adaptation(kept: &Kept) -> Vec<Part> {
    let some = ["--objectives", "source-only,mcc", "--seeds", "3", "--json"];
    let one_view = |sets: &[&'static str]| call(&some, &files(kept, sets, LARGE));
    let two_views = |sets: &[&'static str]| {
        let mut call = call(&some, &files(kept, sets, LARGE));
        call.push("--beside".into());
        call.extend(files(kept, sets, SMALL));
        call
    };
    let both = |sets: &[&'static str]| [of(sets, LARGE), of(sets, SMALL)].concat();
    let part = |name, sets, call| Part {
        name,
        example: "domain_adaptation_objectives",
        sets,
        calls: vec![call],
        read: gather::objectives,
    };
    vec![
        part(
            "objectives of domain adaptation: PACS",
            of(&PACS, LARGE),
            one_view(&PACS),
        ),
        part(
            "objectives of domain adaptation: amazon and webcam",
            of(&OFFICE, LARGE),
            one_view(&OFFICE),
        ),
        part(
            "objectives of domain adaptation, two networks side by side: PACS",
            both(&PACS),
            two_views(&PACS),
        ),
        part(
            "objectives of domain adaptation, two networks side by side: amazon and webcam",
            both(&OFFICE),
            two_views(&OFFICE),
        ),
    ]
}

fn features(kept: &Kept) -> Vec<Part> {
    let pair = |source: &str, target: &str| {
        let (source, target) = (kept.file(source, LARGE), kept.file(target, LARGE));
        ["--source", &source, "--target", &target, "--json"]
            .map(String::from)
            .to_vec()
    };
    let pairs = PACS.iter().flat_map(|source| {
        let others = PACS.iter().filter(move |target| *target != source);
        others.map(move |target| pair(source, target))
    });
    vec![
        Part {
            name: "features of one domain mapped onto another: twelve pairs of PACS",
            example: "domain_adaptation_features",
            sets: of(&PACS, LARGE),
            calls: pairs.collect(),
            read: gather::figures,
        },
        Part {
            name: "features of one domain mapped onto another: amazon to webcam",
            example: "domain_adaptation_features",
            sets: of(&OFFICE, LARGE),
            calls: vec![pair(OFFICE[0], OFFICE[1])],
            read: gather::figures,
        },
    ]
}

fn instances(kept: &Kept) -> Vec<Part> {
    let file = |set| kept.file(set, LARGE);
    let biased = ["--data", &file(OFFICE[0]), "--seeds", "10", "--json"];
    let drawn = [
        "--data",
        &file(PACS[1]),
        "--target",
        &file(PACS[2]),
        "--seeds",
        "10",
        "--json",
    ];
    let part = |name, sets: &[&'static str], call: &[&str]| Part {
        name,
        example: "instance_weights",
        sets: of(sets, LARGE),
        calls: vec![call.iter().map(ToString::to_string).collect()],
        read: gather::seeds,
    };
    vec![
        part(
            "instance weights: a biased sample of amazon",
            &OFFICE[..1],
            &biased,
        ),
        part(
            "instance weights: a biased sample of art_painting, and a few labels of cartoon",
            &PACS[1..3],
            &drawn,
        ),
    ]
}

fn without_labels(kept: &Kept) -> Vec<Part> {
    let part = |name, set| Part {
        name,
        example: "clustering",
        sets: of(&[set], LARGE),
        calls: vec![
            ["--data", &kept.file(set, LARGE), "--seeds", "3", "--json"]
                .map(String::from)
                .to_vec(),
        ],
        read: gather::seeds,
    };
    vec![
        part("clustering: webcam", OFFICE[1]),
        part("clustering: amazon", OFFICE[0]),
        part("clustering: animal_photos", "animal_photos"),
    ]
}

fn few_and_zero_shot(kept: &Kept) -> Vec<Part> {
    let webcam = kept.file(OFFICE[1], LARGE);
    let mut episodes = Vec::new();
    for (ways, shots) in [("5", "1"), ("5", "5"), ("10", "1")] {
        for seed in ["0", "1", "2"] {
            let task = [
                "--data", &webcam, "--ways", ways, "--shots", shots, "--seed", seed, "--json",
            ];
            episodes.push(task.map(String::from).to_vec());
        }
    }
    let animals = kept.file("animal_photos", LARGE);
    let (awa, weights) = (kept.folder("awa"), kept.weights(LARGE));
    let zero_shot = [
        "--data",
        &animals,
        "--attributes",
        &awa,
        "--weights",
        &weights,
        "--json",
    ];
    vec![
        Part {
            name: "few-shot: webcam, 600 episodes a seed",
            example: "few_shot",
            sets: of(&OFFICE[1..], LARGE),
            calls: episodes,
            read: gather::figures,
        },
        Part {
            name: "zero-shot: six unseen classes of animal_photos",
            example: "zero_shot",
            sets: of(&["animal_photos"], LARGE),
            calls: vec![zero_shot.map(String::from).to_vec()],
            read: gather::figures,
        },
    ]
}

fn knowledge(kept: &Kept) -> Vec<Part> {
    let (insects, small, large, cache) = (
        kept.folder("hymenoptera"),
        kept.weights(SMALL),
        kept.weights(LARGE),
        kept.cache(),
    );
    let relational = [
        "--data",
        &insects,
        "--weights",
        &small,
        "--teacher",
        &large,
        "--cache",
        &cache,
        "--seeds",
        "5",
        "--json",
    ];
    let (mnist, usps) = (kept.folder("mnist"), kept.folder("usps"));
    let heterogeneous = [
        "--mnist",
        &mnist,
        "--usps",
        &usps,
        "--weights",
        &small,
        "--seeds",
        "5",
        "--json",
    ];
    vec![
        Part {
            name: "relational knowledge: hymenoptera, ResNet-18 taught by ResNet-50",
            example: "relational",
            sets: Vec::new(),
            calls: vec![relational.map(String::from).to_vec()],
            read: gather::seeds,
        },
        Part {
            name: "heterogeneous transfer: features of MNIST, pixels of USPS",
            example: "heterogeneous",
            sets: Vec::new(),
            calls: vec![heterogeneous.map(String::from).to_vec()],
            read: gather::seeds,
        },
    ]
}

fn advice(kept: &Kept) -> Vec<Part> {
    let (small, large, cache) = (kept.weights(SMALL), kept.weights(LARGE), kept.cache());
    let sets = ["hymenoptera", OFFICE[1], PACS[0], PACS[1], PACS[2], PACS[3]];
    let call = |set: &str| {
        let data = kept.folder(set);
        let drawings = "assets/drawings-source.safetensors";
        let weights = ["--data", &data, "--weights", &small, &large, drawings];
        let rest = ["--cache", &cache, "--check", "3", "--json"];
        weights.into_iter().chain(rest).map(String::from).collect()
    };
    vec![Part {
        name: "advice from half of the images, checked on the other half: six sets, three backbones",
        example: "advise",
        sets: Vec::new(),
        calls: sets.into_iter().map(call).collect(),
        read: gather::advice,
    }]
}

fn of(sets: &[&'static str], network: Network) -> Vec<(&'static str, Network)> {
    sets.iter().map(|set| (*set, network)).collect()
}

fn files(kept: &Kept, sets: &[&str], network: Network) -> Vec<String> {
    sets.iter().map(|set| kept.file(set, network)).collect()
}

/// Positional arguments first, so that no option swallows them.
fn call(options: &[&str], files: &[String]) -> Vec<String> {
    let options = options.iter().map(ToString::to_string);
    files.iter().cloned().chain(options).collect()
}
