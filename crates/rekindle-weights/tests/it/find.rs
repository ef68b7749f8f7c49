//! The finder with families that only these tests know.

use std::collections::BTreeMap;
use std::path::Path;

use rekindle_weights::{
    Error, Expected, Family, HeadNames, LoadOptions, Network, Proposal, RemoteFile, Shapes,
    TensorOut, read, write_safetensors,
};

/// Networks of one linear layer and a head, by their names.
struct Tiny(&'static [&'static str]);

impl Family for Tiny {
    type Config = (&'static str, usize);

    fn name(&self) -> &str {
        self.0[0]
    }

    fn signature(&self) -> String {
        format!("the tensors of {}", self.0.join(" or "))
    }

    fn anchors(&self) -> Vec<String> {
        vec!["body.weight".into()]
    }

    fn propose(&self, _: &str, shapes: &Shapes<'_>) -> Vec<Proposal<Self::Config>> {
        let Some(&[features, inputs]) = shapes.get("body.weight") else {
            return Vec::new();
        };
        let tensors = vec![
            Expected::new("body.weight", [features, inputs]),
            Expected::new("body.bias", [features]),
        ];
        let head = HeadNames::new("head", features);
        let proposal =
            |name: &&'static str| Proposal::new((*name, 0), *name, tensors.clone(), head.clone());
        self.0.iter().map(proposal).collect()
    }

    fn with_classes(&self, (name, _): Self::Config, classes: usize) -> Self::Config {
        (name, classes)
    }
}

fn write(path: &Path, prefix: &str, architecture: &str) {
    let tensor = |name: &str, shape: &[usize]| {
        let values = vec![0.5; shape.iter().product()];
        TensorOut::f32(format!("{prefix}{name}"), shape, &values)
    };
    let tensors = vec![
        tensor("body.weight", &[4, 3]),
        tensor("body.bias", &[4]),
        tensor("fc.weight", &[2, 4]),
        tensor("optimizer.step", &[1]),
    ];
    let metadata = BTreeMap::from([("architecture".to_string(), architecture.to_string())]);
    write_safetensors(path, tensors, &metadata).unwrap();
}

type Found = Result<Network<(&'static str, usize)>, Error>;

/// Finds a network with two families that share its names and shapes.
fn find(path: &Path) -> Found {
    let families: [&dyn Family<Config = _>; 2] = [&Tiny(&["a/one", "a/two"]), &Tiny(&["b/three"])];
    read(path)?.network(&families, &LoadOptions::default())
}

#[test]
fn equal_networks_are_told_apart_by_the_files_word_or_by_their_order() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.safetensors");
    for (said, name) in [
        ("", "a/one"),
        ("a/two", "a/two"),
        ("two", "a/two"),
        ("three", "b/three"),
        ("four", "a/one"),
    ] {
        write(&path, "module.", said);
        let found = find(&path).unwrap();
        assert_eq!(
            (found.config, found.name.as_str()),
            ((name, 2), name),
            "{said}"
        );
        let source = found.source;
        assert_eq!(source.prefix, "module.");
        assert_eq!(source.head.as_deref(), Some("module.fc"));
        assert_eq!(source.left_out[0].name, "module.optimizer.step");
        // The head has its published name, and the bias that the file lacks.
        let names: Vec<&String> = found.checkpoint.tensors.keys().collect();
        assert_eq!(
            names,
            ["body.bias", "body.weight", "head.bias", "head.weight"]
        );
        assert_eq!(found.checkpoint.read_f32("head.bias").unwrap(), [0.0; 2]);
    }
}

#[test]
fn what_no_family_knows_says_what_was_looked_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.safetensors");
    let out = vec![TensorOut::f32("encoder.weight", [1], &[0.0])];
    write_safetensors(&path, out, &BTreeMap::new()).unwrap();
    let text = find(&path).unwrap_err().to_string();
    assert!(
        text.ends_with(
            "holds 1 tensors but no a/one or b/three: under no prefix are there the tensors of a/one or a/two or the \
             tensors of b/three. Its first names are encoder.weight"
        ),
        "{text}"
    );
}

#[test]
fn a_remote_file_is_kept_under_the_end_of_its_address() {
    let file = RemoteFile::new("https://example.org/a/model.pth?download=true#top");
    assert_eq!(file.name, "model.pth");
    assert_eq!((file.sha256.clone(), file.size), (None, None));
    let file = file.with_name("mine.pth").with_sha256("00ff").with_size(7);
    assert_eq!((file.name.as_str(), file.size), ("mine.pth", Some(7)));
}
