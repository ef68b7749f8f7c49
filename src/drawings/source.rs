//! The source task: thirty drawn creatures and things, none an ant or a bee.

use image::RgbImage;

use super::canvas::Canvas;
use super::colour::Coat;
use super::random::Draws;
use super::{DrawingTask, Split, beetles, crawlers, flyers, others, scene};

type Subject = fn(&mut Canvas, &Coat, &mut Draws);

/// Thirty kinds of drawn creatures and things: a task to pretrain on.
///
/// Its classes are made of the parts that tell ants from bees (segments, waists,
/// wings, legs, antennae), but neither is among them.
#[derive(Clone, Copy, Debug, Default)]
pub struct SourceTask;

const NAMES: [&str; 30] = [
    "bird",
    "butterfly",
    "caterpillar",
    "centipede",
    "cicada",
    "cockroach",
    "crab",
    "crane_fly",
    "dragonfly",
    "earwig",
    "fish",
    "flower",
    "grasshopper",
    "ground_beetle",
    "harvestman",
    "housefly",
    "ladybird",
    "leaf",
    "lizard",
    "longhorn_beetle",
    "moth",
    "mushroom",
    "scorpion",
    "silverfish",
    "snail",
    "spider",
    "stag_beetle",
    "wasp",
    "water_strider",
    "woodlouse",
];

/// In the order of [`NAMES`].
const SUBJECTS: [Subject; 30] = [
    others::bird,
    flyers::butterfly,
    crawlers::caterpillar,
    crawlers::centipede,
    flyers::cicada,
    beetles::cockroach,
    others::crab,
    flyers::crane_fly,
    flyers::dragonfly,
    beetles::earwig,
    others::fish,
    others::flower,
    crawlers::grasshopper,
    beetles::ground_beetle,
    crawlers::harvestman,
    flyers::housefly,
    beetles::ladybird,
    others::leaf,
    others::lizard,
    beetles::longhorn_beetle,
    flyers::moth,
    others::mushroom,
    crawlers::scorpion,
    crawlers::silverfish,
    others::snail,
    crawlers::spider,
    beetles::stag_beetle,
    flyers::wasp,
    crawlers::water_strider,
    beetles::woodlouse,
];

/// Drawn from the side: tilted, but never upside down.
const UPRIGHT: [&str; 2] = ["mushroom", "snail"];

impl DrawingTask for SourceTask {
    fn class_names(&self) -> &'static [&'static str] {
        &NAMES
    }

    fn draw(&self, class: usize, split: Split, index: usize, seed: u64) -> RgbImage {
        let mut draws = Draws::new(&[seed, 1, class as u64, split as u64, index as u64]);
        let upright = UPRIGHT.contains(&NAMES[class]);
        scene::compose(&mut draws, upright, SUBJECTS[class])
    }
}
