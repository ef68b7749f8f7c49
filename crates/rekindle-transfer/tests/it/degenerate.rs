//! Every estimator on input that it can't do anything sensible with: an error or a finite answer, never NaN or a panic.

use burn::tensor::Device;
use rekindle_transfer::TransferError;
use rekindle_transfer::advise::*;
use rekindle_transfer::features::*;
use rekindle_transfer::objective::*;
use rekindle_transfer::tuning::{ensemble_probabilities, stacked_features, stacking};

/// A labelled source and a target without labels.
struct Case {
    name: &'static str,
    x: Features,
    labels: Vec<usize>,
    classes: usize,
    target: Features,
}

type Found = Result<Vec<f64>, TransferError>;
/// A name, what is wrong with its input by itself, and what it finds.
type Estimator = (&'static str, &'static [&'static str], fn(&Case) -> Found);

/// Cases that whatever learns from labels must refuse.
const LABELS: &[&str] = &[
    "one class",
    "one image",
    "a class without an image",
    "no image",
];
/// Cases that whatever looks at both domains must refuse.
const DOMAINS: &[&str] = &["no target", "no image"];
/// Both.
const BOTH: &[&str] = &[
    "one class",
    "one image",
    "a class without an image",
    "no image",
    "no target",
];

fn wave(rows: usize, dim: usize, phase: f32) -> Features {
    let value = |i: usize| (i as f32 * 0.77 + phase).sin() + (i as f32 * 0.13).cos();
    Features::new((0..rows * dim).map(value).collect(), dim).unwrap()
}

fn filled(rows: usize, value: f32) -> Features {
    Features::new(vec![value; rows * 3], 3).unwrap()
}

fn cases() -> Vec<Case> {
    let two = |rows: usize| (0..rows).map(|i| i % 2).collect::<Vec<_>>();
    let ramp = |rows: usize, scale: f32| {
        let values = (0..rows).flat_map(|i| [1.0, 2.0, 3.0].map(|v| v * scale * (i as f32 + 1.0)));
        Features::new(values.collect(), 3).unwrap()
    };
    let case = |name, x: Features, labels, classes, target| Case {
        name,
        x,
        labels,
        classes,
        target,
    };
    let (x, t) = (wave(12, 3, 0.0), wave(10, 3, 1.0));
    let twice = x.select(&[0, 0, 0, 0, 1, 1, 1, 1, 0, 0, 1, 1]);
    vec![
        case("ordinary", x.clone(), two(12), 2, t.clone()),
        case("one class", x.clone(), vec![0; 12], 1, t.clone()),
        case("one image", wave(1, 3, 0.0), vec![0], 1, t.clone()),
        case("a class without an image", x.clone(), two(12), 3, t.clone()),
        case("no image", filled(0, 0.0), vec![], 2, t.clone()),
        case("no target", x.clone(), two(12), 2, filled(0, 0.0)),
        case("one target image", x.clone(), two(12), 2, wave(1, 3, 0.3)),
        case("one image a class", x.select(&[0, 1]), two(2), 2, t.clone()),
        case("constant", filled(12, 0.7), two(12), 2, filled(10, 0.7)),
        case("constant source", filled(12, 0.7), two(12), 2, t.clone()),
        case("zeros", filled(12, 0.0), two(12), 2, filled(10, 0.0)),
        case("zero target", x.clone(), two(12), 2, filled(10, 0.0)),
        case("rank one", ramp(12, 1.0), two(12), 2, ramp(10, 2.0)),
        case("duplicates", twice, two(12), 2, t.clone()),
        case(
            "more dimensions than images",
            wave(4, 40, 0.0),
            two(4),
            2,
            wave(5, 40, 1.0),
        ),
        case("tiny", ramp(12, 1e-30), two(12), 2, ramp(10, 1e-30)),
        case("huge", ramp(12, 1e12), two(12), 2, ramp(10, 1e12)),
        case("equal domains", x.clone(), two(12), 2, x),
    ]
}

fn values(features: &Features) -> Vec<f64> {
    features.values().iter().map(|v| f64::from(*v)).collect()
}

fn head(head: &LinearHead) -> Vec<f64> {
    head.weight
        .iter()
        .chain(&head.bias)
        .map(|v| f64::from(*v))
        .collect()
}

/// Signatures of the classes and of one that no image shows.
fn signatures(case: &Case) -> Features {
    wave(case.classes + 1, 4, 2.0)
}

fn known(labels: &[usize]) -> Vec<Option<usize>> {
    labels.iter().copied().map(Some).collect()
}

const ESTIMATORS: &[Estimator] = &[
    ("logistic regression", LABELS, |c| {
        Ok(head(
            &LogisticRegression::new(1e-2).fit(&c.x, &c.labels, c.classes)?,
        ))
    }),
    ("logistic regression without a penalty", LABELS, |c| {
        Ok(head(
            &LogisticRegression::new(0.0).fit(&c.x, &c.labels, c.classes)?,
        ))
    }),
    ("prior probe", LABELS, |c| {
        let fitted = PriorProbe::default().fit(&c.x, &c.labels, c.classes, None)?;
        Ok([head(&fitted.head), fitted.log_losses, fitted.accuracies].concat())
    }),
    ("category relationship", LABELS, |c| {
        CategoryRelationship::default().fit(&c.x, &c.labels, c.classes)
    }),
    ("CORAL", DOMAINS, |c| {
        Ok(values(
            &Coral::default().fit(&c.x, &c.target)?.transform(&c.x)?,
        ))
    }),
    ("subspace alignment", DOMAINS, |c| {
        let maps = SubspaceAlignment::default().fit(&c.x, &c.target)?;
        let source = values(&maps.transform_source(&c.x)?);
        Ok([source, values(&maps.transform_target(&c.target)?)].concat())
    }),
    ("TCA", DOMAINS, |c| {
        let shared = Tca::default().fit(&c.x, &c.target)?;
        Ok([values(&shared.source), values(&shared.target)].concat())
    }),
    ("KMM", DOMAINS, |c| Kmm::default().weights(&c.x, &c.target)),
    ("KLIEP", DOMAINS, |c| {
        Ok(Kliep::default().fit(&c.x, &c.target)?.weights)
    }),
    ("density ratio", DOMAINS, |c| {
        DensityRatio::default().weights(&c.x, &c.target)
    }),
    ("TrAdaBoost", BOTH, |c| {
        let few = vec![0; c.target.len()];
        let boosted = TrAdaBoost::default().fit((&c.x, &c.labels), (&c.target, &few), c.classes)?;
        Ok([boosted.votes(&c.target)?, boosted.source_weights].concat())
    }),
    ("statistics of a domain", &["no image"], |c| {
        Ok(values(&DomainStatistics::new(&c.x, 0.01)?.transform(&c.x)?))
    }),
    (
        "prototype refinement",
        &["no target", "one class", "one image"],
        |c| {
            let guesses = vec![1.0 / c.classes as f64; c.target.len() * c.classes];
            let refined =
                PrototypeRefinement { steps: 3 }.refine(&guesses, c.classes, &c.target)?;
            Ok([refined.cosines, values(&refined.centroids)].concat())
        },
    ),
    ("label propagation", &["no image"], |c| {
        let graph = NeighborGraph::new(&c.x, 3)?;
        let mut votes = vec![0.0; c.x.len() * c.classes];
        votes.iter_mut().take(1).for_each(|vote| *vote = 1.0);
        LabelPropagation::default().propagate(&graph, &votes, c.classes)
    }),
    ("prototypes", LABELS, |c| {
        Prototypes::fit(&c.x, &c.labels, c.classes, Distance::Cosine)?.logits(&c.target)
    }),
    ("prototypes, Euclidean", LABELS, |c| {
        Prototypes::fit(&c.x, &c.labels, c.classes, Distance::SquaredEuclidean)?.logits(&c.target)
    }),
    ("SimpleShot", LABELS, |c| {
        let shot = SimpleShot::new(&c.x)?;
        shot.fit(&c.x, &c.labels, c.classes)?
            .logits(&shot.transform(&c.target)?)
    }),
    ("matching", LABELS, |c| {
        Matching::fit(&c.x, &c.labels, c.classes, 0.1)?.probabilities(&c.target)
    }),
    ("ESZSL", &["one class", "one image", "no image"], |c| {
        let map = Eszsl::default().fit(&c.x, &c.labels, &signatures(c))?;
        map.scores(&c.target, &signatures(c))
    }),
    (
        "visual exemplars",
        &["one class", "one image", "no image"],
        |c| {
            let map = VisualExemplars::default().fit(&c.x, &c.labels, &signatures(c))?;
            map.scores(&c.target, &signatures(c))
        },
    ),
    (
        "direct attribute prediction",
        &["one class", "one image", "no image"],
        |c| {
            let learner = LogisticRegression::new(1e-2);
            DirectAttributePrediction::fit(&c.x, &c.labels, &signatures(c), &learner)?
                .scores(&c.target, &signatures(c))
        },
    ),
    ("ConSE", &[], |c| {
        let known = signatures(c).select(&(0..c.classes).collect::<Vec<_>>());
        let shares = vec![0.0; c.x.len() * c.classes];
        Conse::default().scores(&shares, &known, &signatures(c))
    }),
    (
        "PCA",
        &["no image", "constant", "zeros", "constant source"],
        |c| {
            let found = Pca { components: 2 }.fit(&c.x)?;
            Ok([values(&found.transform(&c.x)?), found.variances.clone()].concat())
        },
    ),
    ("k-means", &["no image", "one image"], |c| {
        let found = KMeans::new(2).fit(&c.x)?;
        Ok([values(&found.means), vec![found.inertia]].concat())
    }),
    ("NMI and ARI", &["no image"], |c| {
        let ones = vec![1; c.labels.len()];
        Ok(vec![
            normalized_mutual_information(&c.labels, &ones)?,
            adjusted_rand_index(&c.labels, &ones)?,
        ])
    }),
    ("CCA", &["no image", "one image"], |c| {
        let maps = Cca::default().fit(&c.x, &c.x)?;
        Ok([values(&maps.transform_x(&c.x)?), maps.correlations].concat())
    }),
    (
        "manifold alignment",
        &["one class", "one image", "no image", "no target"],
        |c| {
            let some = known(
                &(0..c.target.len())
                    .map(|i| i % c.classes)
                    .collect::<Vec<_>>(),
            );
            let maps = ManifoldAlignment::default().fit(
                (&c.x, &known(&c.labels)),
                (&c.target, &some),
                c.classes,
            )?;
            Ok(values(&maps.transform_target(&c.target)?))
        },
    ),
    ("LogME", LABELS, |c| {
        Ok(vec![LogMe::default().score(&c.x, &c.labels, c.classes)?])
    }),
    ("H-score", LABELS, |c| {
        Ok(vec![HScore::default().score(&c.x, &c.labels, c.classes)?])
    }),
    ("LEEP and NCE", &["no image"], |c| {
        let shares = vec![1.0 / 3.0; c.labels.len() * 3];
        Ok(vec![
            leep(&shares, 3, &c.labels)?,
            nce(&shares, 3, &c.labels)?,
        ])
    }),
    ("proxy A-distance", DOMAINS, |c| {
        Ok(vec![ProxyADistance::default().between(&c.x, &c.target)?])
    }),
    ("advice", LABELS, |c| {
        let candidate = Candidate {
            name: "only",
            features: &c.x,
            source: None,
        };
        let advice = Advisor::default().advise(&[candidate], Some(&c.x), &c.labels, c.classes)?;
        let best = &advice.backbones[0];
        let expected = advice
            .expected
            .map_or(vec![], |e| vec![e.accuracy, e.low, e.high]);
        Ok([expected, vec![best.log_me, best.h_score]].concat())
    }),
    ("ensemble and stacking", &[], |c| {
        let logits = values(&c.target);
        let members = [logits.clone(), logits];
        let labels: Vec<usize> = (0..c.target.len()).map(|i| i % c.target.dim()).collect();
        let mean = ensemble_probabilities(&members, c.target.dim())?;
        let stack = stacking(&members, &labels, c.target.dim(), 1e-2)?;
        let stacked = stacked_features(&members, c.target.dim())?;
        Ok([mean, stack.logits(&stacked)?].concat())
    }),
];

#[test]
fn estimators_give_errors_or_finite_numbers() {
    let mut silent = Vec::new();
    for case in cases() {
        for (name, refused, estimate) in ESTIMATORS {
            let what = format!("{name} on {}", case.name);
            let found = std::panic::catch_unwind(|| estimate(&case));
            match found {
                Err(_) => silent.push(format!("{what} panicked")),
                Ok(Err(error)) => {
                    let text = error.to_string();
                    if case.name == "ordinary" {
                        silent.push(format!("{what}: {text}"));
                    }
                    if text.len() < 15 || text.contains("NaN") && !text.contains("NaN or infinite")
                    {
                        silent.push(format!("{what} says too little: {text}"));
                    }
                }
                Ok(Ok(values)) => {
                    if refused.contains(&case.name) {
                        silent.push(format!("{what} should be refused"));
                    }
                    if values.iter().any(|value| !value.is_finite()) {
                        silent.push(format!("{what} is not finite"));
                    }
                }
            }
        }
    }
    assert!(silent.is_empty(), "{}", silent.join("\n"));
}

#[test]
fn objectives_on_features_give_errors_or_finite_numbers() {
    let mut silent = Vec::new();
    let refused = ["one class", "one image", "no image", "no target"];
    for case in cases() {
        for objective in DomainObjective::all() {
            let what = format!("{} on {}", objective.name(), case.name);
            let settings = Adaptation {
                hidden: Some(4),
                steps: 3,
                batch_size: 4,
                ..Adaptation::new(objective)
            };
            let source = LabelledRows {
                features: &case.x,
                labels: &case.labels,
                classes: case.classes,
                weights: None,
            };
            let found = settings
                .fit(source, &case.target, &Device::flex())
                .and_then(|head| head.logits(&case.x));
            match found {
                Err(error) if case.name == "ordinary" => silent.push(format!("{what}: {error}")),
                Err(_) => {}
                Ok(_) if refused.contains(&case.name) => {
                    silent.push(format!("{what} should be refused"));
                }
                Ok(logits) if logits.iter().any(|value| !value.is_finite()) => {
                    silent.push(format!("{what} is not finite"));
                }
                Ok(_) => {}
            }
        }
    }
    assert!(silent.is_empty(), "{}", silent.join("\n"));
}
