//! Every format gives the same tensors, and what goes out comes back.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::pytorch::{Nesting, Stored, floats, longs, write_legacy, write_zip};
use half::{bf16, f16};
use rekindle_preprocess::Preprocess;
use rekindle_weights::{
    CheckOptions, ElementType, Error, Format, ModelInfo, TensorOut, check, read, write_burnpack,
    write_safetensors,
};

/// Written by PyTorch. Before the end of an archive it writes a record of 76 bytes, and behind a name of 21 characters so
/// many lie between the first two entries: what guesses where an archive begins takes one for the other.
#[test]
fn an_archive_whose_name_has_any_length_is_read() {
    let path = test_support::reference_path("twenty-one-characters.pth");
    let checkpoint = read(&path).unwrap();
    assert_eq!(checkpoint.format, Format::PytorchZip);
    let found = checkpoint.read_f32("weight").unwrap();
    assert_eq!(found, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
}

const WEIGHT: [f32; 6] = [1.0, -2.5, 0.0, 3.25, 1e-8, -65504.0];

fn tensors(prefix: &str) -> Vec<Stored> {
    vec![
        floats(&format!("{prefix}conv1.weight"), &[2, 3, 1, 1], &WEIGHT),
        floats(&format!("{prefix}bn1.running_var"), &[2], &[0.5, 2.0]),
        longs(&format!("{prefix}bn1.num_batches_tracked"), &[], &[7]),
    ]
}

fn assert_is_the_state_dict(path: &Path, format: Format, prefix: &str) {
    let checkpoint = read(path).unwrap();
    assert_eq!(checkpoint.format, format);
    let names = ["bn1.num_batches_tracked", "bn1.running_var", "conv1.weight"];
    let [tracked, variance, weight] = names.map(|name| format!("{prefix}{name}"));
    for name in [&tracked, &variance, &weight] {
        assert!(checkpoint.tensors.contains_key(name), "{name}");
    }
    assert_eq!(checkpoint.shape(&weight).unwrap(), [2, 3, 1, 1]);
    assert_eq!(checkpoint.read_f32(&weight).unwrap(), WEIGHT);
    assert_eq!(checkpoint.read_f32(&variance).unwrap(), [0.5, 2.0]);
    let counter = checkpoint.get(&tracked).unwrap();
    assert_eq!(counter.shape(), [0; 0]);
    assert_eq!(counter.read_i64().unwrap(), [7]);
}

/// Files by PyTorch 2.15 itself; `data/make.py` says what is in them.
#[test]
fn files_that_pytorch_wrote() {
    let data = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data"));
    let names = [
        "bn1.bias",
        "bn1.num_batches_tracked",
        "bn1.running_mean",
        "bn1.running_var",
        "bn1.weight",
        "conv1.weight",
    ];
    for (file, format, prefix) in [
        ("zip.pth", Format::PytorchZip, ""),
        ("legacy.pth", Format::PytorchLegacy, ""),
        ("half.pth", Format::PytorchZip, "state_dict.module."),
        ("module.pth", Format::PytorchZip, ""),
        ("training.pth", Format::PytorchZip, "model."),
    ] {
        let mut checkpoint = read(data.join(file)).unwrap();
        assert_eq!(checkpoint.format, format, "{file}");
        let tensors = std::mem::take(&mut checkpoint.tensors).into_iter();
        checkpoint.tensors = tensors
            .filter_map(|(name, tensor)| Some((name.strip_prefix(prefix)?.to_string(), tensor)))
            .collect();
        assert_eq!(
            checkpoint.tensors.keys().collect::<Vec<_>>(),
            names,
            "{file}"
        );
        assert_eq!(
            checkpoint.shape("conv1.weight").unwrap(),
            [2, 3, 1, 1],
            "{file}"
        );
        let weight = checkpoint.read_f32("conv1.weight").unwrap();
        assert_eq!(weight, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0], "{file}");
        for name in [
            "bn1.bias",
            "bn1.running_mean",
            "bn1.running_var",
            "bn1.weight",
        ] {
            assert_eq!(
                checkpoint.read_f32(name).unwrap(),
                [0.0, 1.0],
                "{file} {name}"
            );
        }
        let tracked = checkpoint.get("bn1.num_batches_tracked").unwrap();
        assert_eq!(tracked.read_i64().unwrap(), [7], "{file}");
    }

    let views = read(data.join("views.pth")).unwrap();
    assert_eq!(views.shape("transposed").unwrap(), [4, 3]);
    let transposed = [0., 4., 8., 1., 5., 9., 2., 6., 10., 3., 7., 11.];
    assert_eq!(views.read_f32("transposed").unwrap(), transposed);
    assert_eq!(views.read_f32("slice").unwrap(), [4., 5., 6., 7.]);
    assert_eq!(
        views.read_f32("one").unwrap(),
        views.read_f32("two").unwrap()
    );
}

#[test]
fn both_pytorch_containers_plain_and_nested() {
    let folder = tempfile::tempdir().unwrap();
    let nestings = [
        (Nesting::Plain, ""),
        (Nesting::Under("state_dict"), "state_dict."),
        (Nesting::Under("anything"), "anything."),
    ];
    for (case, (nesting, key)) in nestings.into_iter().enumerate() {
        for prefix in ["", "module.", "module.backbone."] {
            let full = format!("{key}{prefix}");
            // The extension lies, on purpose.
            let path = folder.path().join(format!("{case}.safetensors"));
            write_zip(&path, &tensors(prefix), nesting);
            assert_is_the_state_dict(&path, Format::PytorchZip, &full);
            write_legacy(&path, &tensors(prefix), nesting);
            assert_is_the_state_dict(&path, Format::PytorchLegacy, &full);
        }
    }
}

#[test]
fn written_files_come_back_equal_and_the_bytes_are_reproducible() {
    let folder = tempfile::tempdir().unwrap();
    let out = || {
        vec![
            TensorOut::f32("conv1.weight", [2, 3, 1, 1], &WEIGHT),
            TensorOut::i64("bn1.num_batches_tracked", [], &[7]),
            TensorOut::f32("bn1.running_var", [2], &[0.5, 2.0]),
        ]
    };
    let info = ModelInfo {
        architecture: Some("resnet18".into()),
        classes: Some(vec!["ants".into(), "bees \"quoted\" é".into()]),
        preprocess: Some(Preprocess::IMAGENET_V2),
        temperature: Some(1.0 / 3.0),
        ..ModelInfo::default()
    };
    let metadata = info.to_metadata();

    let safetensors = folder.path().join("a.safetensors");
    write_safetensors(&safetensors, out(), &metadata).unwrap();
    assert_is_the_state_dict(&safetensors, Format::Safetensors, "");
    assert_eq!(read(&safetensors).unwrap().info().unwrap(), info);
    // The reference implementation agrees that it is a valid file, aligned for every type.
    let bytes = fs::read(&safetensors).unwrap();
    let parsed = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(parsed.tensor("conv1.weight").unwrap().shape(), [2, 3, 1, 1]);
    assert_eq!(
        parsed.tensor("bn1.num_batches_tracked").unwrap().data(),
        7i64.to_le_bytes()
    );

    let mut shuffled = out();
    shuffled.rotate_left(1);
    write_safetensors(&safetensors, shuffled, &metadata).unwrap();
    assert_eq!(fs::read(&safetensors).unwrap(), bytes);

    let burnpack = folder.path().join("a.bpk");
    write_burnpack(&burnpack, out(), &metadata).unwrap();
    assert_is_the_state_dict(&burnpack, Format::Burnpack, "");
    assert_eq!(read(&burnpack).unwrap().info().unwrap(), info);

    // Nothing but the two files is left: no temporary names.
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[test]
fn a_failed_write_leaves_the_old_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.safetensors");
    fs::write(&path, "old").unwrap();
    let twice = vec![
        TensorOut::f32("fc.bias", [1], &[0.0]),
        TensorOut::f32("fc.bias", [1], &[1.0]),
    ];
    let error = write_safetensors(&path, twice, &BTreeMap::new()).unwrap_err();
    assert!(matches!(error, Error::DuplicateTensor { .. }), "{error}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "old");

    let nowhere = folder.path().join("no/such/folder/a.safetensors");
    let error = write_safetensors(&nowhere, Vec::new(), &BTreeMap::new()).unwrap_err();
    assert!(matches!(error, Error::Write { .. }), "{error}");
}

#[test]
fn narrower_and_wider_floats_convert() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.pth");
    let halves: Vec<u8> = WEIGHT
        .iter()
        .flat_map(|&v| f16::from_f32(v).to_le_bytes())
        .collect();
    let brains: Vec<u8> = WEIGHT
        .iter()
        .flat_map(|&v| bf16::from_f32(v).to_le_bytes())
        .collect();
    let doubles: Vec<u8> = WEIGHT
        .iter()
        .flat_map(|&v| f64::from(v).to_le_bytes())
        .collect();
    let stored = |name: &str, storage, bytes| Stored {
        name: name.to_string(),
        storage,
        shape: vec![2, 3],
        bytes,
    };
    write_zip(
        &path,
        &[
            stored("half", "HalfStorage", halves),
            stored("brain", "BFloat16Storage", brains),
            stored("double", "DoubleStorage", doubles),
        ],
        Nesting::Plain,
    );
    let checkpoint = read(&path).unwrap();
    assert_eq!(
        checkpoint.get("brain").unwrap().element_type(),
        ElementType::BF16
    );
    assert_eq!(checkpoint.read_f32("double").unwrap(), WEIGHT);
    let half = checkpoint.read_f32("half").unwrap();
    // 11 and 8 significant bits; 1e-8 lies below f16's smallest number.
    assert_eq!(half, [1.0, -2.5, 0.0, 3.25, 0.0, -65504.0]);
    for (got, wanted) in checkpoint.read_f32("brain").unwrap().iter().zip(WEIGHT) {
        assert!(
            (got - wanted).abs() <= wanted.abs() / 256.0,
            "{got} for {wanted}"
        );
    }
}

#[test]
fn f16_output_halves_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.safetensors");
    let out = vec![TensorOut::f16("conv1.weight", [2, 3, 1, 1], &WEIGHT)];
    write_safetensors(&path, out, &BTreeMap::new()).unwrap();
    let tensor = read(&path).unwrap().tensors["conv1.weight"].clone();
    assert_eq!(tensor.element_type(), ElementType::F16);
    assert_eq!(tensor.read_bytes().unwrap().len(), 12);
}

#[test]
fn a_mismatch_lists_everything_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.pth");
    let file = [
        floats("conv1.weight", &[2, 3, 1, 1], &WEIGHT),
        floats("fc.weight", &[3, 2], &WEIGHT),
        longs("fc.bias", &[3], &[1, 2, 3]),
        floats("aux.weight", &[1], &[0.0]),
        longs("bn1.num_batches_tracked", &[], &[7]),
    ];
    write_zip(&path, &file, Nesting::Plain);
    let checkpoint = read(&path).unwrap();
    assert_eq!(checkpoint.classes("fc"), Some(3));
    let expected: Vec<(String, Vec<usize>)> = [
        ("conv1.weight", vec![2, 3, 1, 1]),
        ("bn1.weight", vec![2]),
        ("bn1.num_batches_tracked", vec![]),
        ("bn2.num_batches_tracked", vec![]),
        ("fc.weight", vec![1000, 2]),
        ("fc.bias", vec![3]),
    ]
    .map(|(name, shape)| (name.to_string(), shape))
    .into();

    let error = check(&checkpoint, &expected, "fc", CheckOptions::default()).unwrap_err();
    let message = error.to_string();
    let Error::Mismatch(mismatch) = error else {
        panic!("{error}");
    };
    assert_eq!(mismatch.missing, ["bn1.weight"]);
    assert_eq!(mismatch.extra, ["aux.weight"]);
    assert_eq!(mismatch.misshapen.len(), 1);
    assert_eq!(mismatch.misshapen[0].expected, [1000, 2]);
    assert_eq!(mismatch.misshapen[0].found, [3, 2]);
    assert_eq!(mismatch.wrong_type, [("fc.bias".to_string(), "i64")]);
    for part in [
        "weights.pth",
        "`bn1.weight`",
        "`aux.weight`",
        "[1000, 2]",
        "[3, 2]",
        "i64",
    ] {
        assert!(message.contains(part), "{part} is not in: {message}");
    }

    // With a head of its own, the model does not care about the file's.
    let headless: Vec<_> = expected
        .iter()
        .filter(|(name, _)| name != "bn1.weight")
        .cloned()
        .chain([("aux.weight".to_string(), vec![1])])
        .collect();
    let options = CheckOptions { ignore_head: true };
    check(&checkpoint, &headless, "fc", options).unwrap();
    let error = check(&checkpoint, &headless, "fc", CheckOptions::default()).unwrap_err();
    assert!(!error.to_string().contains("aux"), "{error}");
}

#[test]
fn not_finite_values_name_tensor_and_index() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.pth");
    let beyond = Stored {
        storage: "DoubleStorage",
        bytes: [1.0f64, 1e300]
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect(),
        ..floats("double", &[2], &[0.0; 2])
    };
    let file = [
        floats("nan", &[3], &[0.0, 1.0, f32::NAN]),
        floats("inf", &[2], &[f32::NEG_INFINITY, 1.0]),
        beyond,
    ];
    write_zip(&path, &file, Nesting::Plain);
    let checkpoint = read(&path).unwrap();
    for (name, at, message) in [
        ("nan", 2, "holds NaN at index 2"),
        ("inf", 0, "holds -inf at index 0"),
        ("double", 1, "index 1"),
    ] {
        let error = checkpoint.read_f32(name).unwrap_err();
        assert!(
            matches!(&error, Error::NotFinite { index, .. } if *index == at),
            "{error}"
        );
        assert!(error.to_string().contains(message), "{error}");
    }
    let error = checkpoint.get("nan").unwrap().read_i64().unwrap_err();
    assert!(matches!(error, Error::WrongElementType { .. }), "{error}");
}

#[test]
fn bad_metadata_names_the_entry() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.safetensors");
    let metadata = BTreeMap::from([("classes".to_string(), "ants, bees".to_string())]);
    write_safetensors(
        &path,
        vec![TensorOut::f32("fc.bias", [1], &[0.0])],
        &metadata,
    )
    .unwrap();
    let error = read(&path).unwrap().info().unwrap_err();
    assert!(
        matches!(error, Error::InvalidMetadata { key: "classes", .. }),
        "{error}"
    );
}
