//! Memory over a long run.

use crate::common::{classifier, data, recipe};
use rekindle_trainer::{Event, Observer, Recipe, Trainer};

/// The process's memory after each epoch, in bytes.
struct Watch<'a>(&'a mut Vec<usize>);

impl Observer for Watch<'_> {
    fn on_event(&mut self, event: &Event) {
        if let Event::EpochEnded { .. } = event {
            let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
            let resident = pages.split_whitespace().nth(1).unwrap();
            self.0.push(resident.parse::<usize>().unwrap() * 4096);
        }
    }
}

#[test]
#[ignore = "a minute"]
fn memory_is_flat_over_epochs() {
    let folder = tempfile::tempdir().unwrap();
    let mut resident = Vec::new();
    let recipe = Recipe {
        epochs: 600,
        ..recipe()
    };
    Trainer::new(classifier(), data())
        .recipe(recipe)
        .run_directory(folder.path().join("run"))
        .observer(Watch(&mut resident))
        .fit()
        .unwrap();
    let most = |epochs: std::ops::Range<usize>| resident[epochs].iter().max().copied().unwrap();
    let (early, late) = (most(50..150), most(500..600));
    println!("{early} bytes in epochs 50 to 150, {late} in 500 to 600");
    assert!(late < early + early / 20, "{early} became {late}");
}
