//! The page on recipe files says all keys, and its example can be read.

use rekindle_trainer::{Loss, Optimizer, Recipe};

/// Returns the example of `docs/recipe.md`.
fn example() -> String {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/recipe.md");
    let page = std::fs::read_to_string(page).unwrap();
    let (_, from) = page.split_once("```toml\n").unwrap();
    from.split_once("```").unwrap().0.to_string()
}

#[test]
fn the_page_on_recipes_has_every_key_and_can_be_read() {
    let example = example();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("recipe.toml");
    std::fs::write(&path, &example).unwrap();
    let recipe = Recipe::open(&path).unwrap();
    assert_eq!(recipe.optimizer, Optimizer::AdamW { weight_decay: 0.01 });
    assert_eq!(recipe.schedule, Recipe::modern().schedule);
    assert_eq!(recipe.loss, Some(Loss::CrossEntropy));
    assert_eq!(recipe.class_weights["ant"], 2.0);
    let fields = serde_json::to_value(&recipe).unwrap();
    for key in fields.as_object().unwrap().keys() {
        let is_said = example.lines().any(|line| {
            line.starts_with(&format!("{key} = ")) || line.starts_with(&format!("[{key}]"))
        });
        assert!(is_said, "{key}");
    }
}

/// What stands in brackets behind a key that the tutorial sets.
#[test]
fn the_page_on_recipes_says_the_tutorials_values() {
    let tutorial = serde_json::to_value(Recipe::tutorial()).unwrap();
    let mut seen = 0;
    for line in example().lines() {
        let Some((key, rest)) = line.split_once(" = ") else {
            continue;
        };
        let Some((_, said)) = rest.trim_end_matches(']').rsplit_once('[') else {
            continue;
        };
        let said = match (said.parse::<f64>(), said) {
            (Ok(number), _) => Some(number),
            (_, "none") => None,
            (_, word) => {
                assert_eq!(tutorial[key].to_string().trim_matches('"'), word, "{key}");
                seen += 1;
                continue;
            }
        };
        assert_eq!(tutorial[key].as_f64(), said, "{key}");
        seen += 1;
    }
    assert_eq!(seen, 18);
}
