//! Recipes that people write by hand: nothing in the file is ignored.

use std::path::Path;

use serde::Deserializer;
use serde_json::{Map, Value};

use crate::{Recipe, TrainerError};

impl Recipe {
    /// Reads a recipe from a file, TOML where its name ends in `.toml` and JSON otherwise; fields that are left out are the
    /// tutorial's.
    ///
    /// ```
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("recipe.json");
    /// std::fs::write(&path, r#"{"epochs": 10, "optimizer": {"name": "adam_w", "weight_decay": 0.01}}"#)?;
    /// assert_eq!(rekindle_trainer::Recipe::open(&path)?.epochs, 10);
    /// std::fs::write(&path, r#"{"epoch": 10}"#)?;
    /// let message = rekindle_trainer::Recipe::open(&path).unwrap_err().to_string();
    /// assert!(message.contains("did you mean `epochs`?"));
    ///
    /// # let path = folder.path().join("recipe.toml");
    /// std::fs::write(&path, "epochs = 10\n[optimizer]\nname = 'adam_w'\nweight_decay = 0.01\n")?;
    /// assert_eq!(rekindle_trainer::Recipe::open(&path)?.epochs, 10);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`TrainerError::InvalidRecipeFile`] for a file that can't be read, is no JSON or TOML, or holds a key that is unknown, there
    /// twice or of another type; those of [`validate`](Self::validate) for a value out of its range.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, TrainerError> {
        let path = path.as_ref();
        let wrong = |problem: String| TrainerError::InvalidRecipeFile {
            path: path.to_path_buf(),
            problem,
        };
        let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
        let is_toml = (path.extension()).is_some_and(|ending| ending.eq_ignore_ascii_case("toml"));
        let recipe = match is_toml {
            true => parse_toml(&text),
            false => parse(&text),
        };
        let recipe = recipe.map_err(wrong)?;
        recipe.validate().map_err(|error| match error {
            TrainerError::InvalidRecipe { .. } | TrainerError::InvalidSchedule { .. } => {
                wrong(error.to_string())
            }
            error => error,
        })?;
        Ok(recipe)
    }
}

fn parse(text: &str) -> Result<Recipe, String> {
    let given: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    // From the text, not from the value: a key that is there twice is an error too.
    read(&given, &mut serde_json::Deserializer::from_str(text))
}

/// Reads TOML, in which a key that is there twice is an error by itself.
fn parse_toml(text: &str) -> Result<Recipe, String> {
    let given: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        // With the line and a mark below it.
        error.to_string().trim_end().to_string()
    })?;
    let given = serde_json::to_value(given).map_err(|error| error.to_string())?;
    read(&given, given.clone())
}

/// Reads a recipe, of which `given` are the keys.
fn read<'de, D>(given: &Value, reader: D) -> Result<Recipe, String>
where
    D: Deserializer<'de>,
    D::Error: std::fmt::Display,
{
    let Value::Object(given) = given else {
        return Err("expected an object, such as {\"epochs\": 10}".into());
    };
    if given.contains_key("recipe") && given.contains_key("strategy") {
        return Err(
            "this is the record of a run; put the value of its `recipe` into a file of its own"
                .into(),
        );
    }
    let known = fields_of(&Recipe::default());
    if let Some(key) = given.keys().find(|key| !known.contains_key(*key)) {
        return Err(unknown("", key, known.keys()));
    }
    let recipe: Recipe = serde_path_to_error::deserialize(reader).map_err(|error| {
        let (path, problem) = (error.path().to_string(), error.inner().to_string());
        match path.as_str() {
            "." => problem,
            path => format!("`{path}`: {problem}"),
        }
    })?;
    // Variants without fields take any fields along.
    match first_extra(given, &fields_of(&recipe), "") {
        Some(problem) => Err(problem),
        None => Ok(recipe),
    }
}

/// Returns every field of a recipe: all of them are written.
fn fields_of(recipe: &Recipe) -> Map<String, Value> {
    match serde_json::to_value(recipe) {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(),
    }
}

/// Finds a key of `given` that is not in `read`, at any depth.
fn first_extra(
    given: &Map<String, Value>,
    read: &Map<String, Value>,
    place: &str,
) -> Option<String> {
    given
        .iter()
        .find_map(|(key, value)| match (value, read.get(key)) {
            (_, None) => Some(unknown(place, key, read.keys())),
            (Value::Object(given), Some(Value::Object(read))) => {
                first_extra(given, read, &format!("{place}{key}."))
            }
            _ => None,
        })
}

fn unknown<'a>(place: &str, key: &str, known: impl Iterator<Item = &'a String> + Clone) -> String {
    let near = known
        .clone()
        .map(|known| (strsim::jaro_winkler(known, key), known))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .filter(|(likeness, _)| *likeness > 0.8);
    let hint = match near {
        Some((_, name)) => format!("did you mean `{name}`?"),
        None => {
            let names: Vec<String> = known.map(|name| format!("`{name}`")).collect();
            format!("known here: {}", names.join(", "))
        }
    };
    format!("unknown key `{place}{key}`; {hint}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn whatever_a_recipe_writes_it_reads() {
        let mut recipe = Recipe::tutorial();
        assert_eq!(parse("{}").unwrap(), recipe);
        recipe.early_stopping = Some(crate::EarlyStopping::new(3));
        recipe.schedule = crate::Schedule::one_cycle().with_warmup(2.0);
        recipe.cache = crate::Cache::Disk("kept".into());
        recipe.mix = Some(rekindle_imagefolder::Mix::MixUp { alpha: 0.2 });
        let text = serde_json::to_string_pretty(&recipe).unwrap();
        assert_eq!(parse(&text).unwrap(), recipe);
    }

    #[test]
    fn nothing_in_the_file_is_ignored() {
        for (text, expected) in [
            (
                r#"{"epoch": 3}"#,
                "unknown key `epoch`; did you mean `epochs`?",
            ),
            (r#"{"lr": 3}"#, "unknown key `lr`; known here: "),
            (r#"{"Epochs": 3}"#, "did you mean `epochs`?"),
            (r#"{"epochs": 3, "epochs": 4}"#, "duplicate field `epochs`"),
            (r#"{"epochs": "3"}"#, "`epochs`: invalid type: string"),
            (
                r#"{"epochs": 2.5}"#,
                "`epochs`: invalid type: floating point",
            ),
            (r#"{"epochs": -1}"#, "`epochs`: invalid value: integer `-1`"),
            (
                r#"{"balance_classes": 1}"#,
                "`balance_classes`: invalid type",
            ),
            (
                r#"{"optimizer": {"name": "sgd", "momentun": 0.5, "nesterov": false, "weight_decay": 0}}"#,
                "`optimizer`: unknown field `momentun`, expected one of `momentum`",
            ),
            (
                r#"{"optimizer": {"name": "adamm"}}"#,
                "`optimizer.name`: unknown variant `adamm`",
            ),
            (
                r#"{"schedule": {"kind": "constant", "gamma": 0.5}}"#,
                "gamma`",
            ),
            (
                r#"{"early_stopping": {"patience": 3, "delta": 1}}"#,
                "unknown field `delta`, expected one of",
            ),
            ("[]", "expected an object"),
            ("epochs: 3", "expected value at line 1 column 1"),
            (r#"{"recipe": {}, "strategy": {}}"#, "the record of a run"),
        ] {
            let message = parse(text).unwrap_err();
            assert!(message.contains(expected), "{text}: {message}");
        }
    }

    #[test]
    fn toml_says_the_same_and_is_as_strict() {
        let text = "epochs = 7\nlearning_rate = 1\nclip_norm = 0.5\n\n[optimizer]\nname = \"rmsprop\"\nmomentum = 0.9\n\
                    weight_decay = 0\n\n[mix]\nname = \"mix_up\"\nalpha = 0.2\n\n[class_weights]\ndefect = 5\n";
        let json = r#"{"epochs": 7, "learning_rate": 1, "clip_norm": 0.5, "optimizer": {"name": "rmsprop", "momentum": 0.9,
                       "weight_decay": 0}, "mix": {"name": "mix_up", "alpha": 0.2}, "class_weights": {"defect": 5}}"#;
        assert_eq!(parse_toml(text).unwrap(), parse(json).unwrap());
        assert_eq!(parse_toml("").unwrap(), Recipe::tutorial());
        for (text, expected) in [
            ("epoch = 3", "unknown key `epoch`; did you mean `epochs`?"),
            ("epochs = 3\nepochs = 4", "duplicate key"),
            ("epochs = \"3\"", "`epochs`: invalid type: string"),
            (
                "[optimizer]\nname = \"sgdd\"",
                "`optimizer.name`: unknown variant `sgdd`",
            ),
            ("seed = 1\nepochs: 3", "line 2"),
            ("[recipe]\n[strategy]", "the record of a run"),
        ] {
            let message = parse_toml(text).unwrap_err();
            assert!(message.contains(expected), "{text}: {message}");
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mine.TOML");
        std::fs::write(&path, text).unwrap();
        assert_eq!(Recipe::open(&path).unwrap().epochs, 7);
    }

    /// Written by a machine, they must be read whatever else changes.
    #[test]
    fn records_of_version_0_1_are_read() {
        let record: crate::RunRecord =
            serde_json::from_str(include_str!("../tests/reference/run-0.1.json")).unwrap();
        let recipe: Recipe = serde_json::from_value(record.recipe).unwrap();
        assert_eq!((recipe.epochs, recipe.batch_size), (3, 5));
        let strategy: rekindle_transfer::Strategy =
            serde_json::from_value(record.strategy).unwrap();
        assert_eq!(strategy.to_string(), "discriminative-rates=0.5");
    }

    #[test]
    fn a_value_out_of_range_names_the_file_and_the_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mine.json");
        for (text, key) in [
            (r#"{"epochs": 0}"#, "epochs"),
            (r#"{"learning_rate": -1}"#, "learning_rate"),
            (r#"{"early_stopping": {"patience": 0}}"#, "patience"),
            (
                r#"{"schedule": {"kind": "step", "step_size": 0, "gamma": 0.1}}"#,
                "step_size",
            ),
        ] {
            std::fs::write(&path, text).unwrap();
            let message = Recipe::open(&path).unwrap_err().to_string();
            assert!(
                message.contains("mine.json") && message.contains(key),
                "{message}"
            );
        }
        let missing = Recipe::open(folder.path().join("none.json")).unwrap_err();
        assert!(missing.to_string().contains("none.json"));
    }
}
