//! Models in eight bits, from a run to the exported file.

use std::path::Path;

use crate::workshop::{rekindle, text, workshop};

#[test]
fn a_run_is_exported_in_eight_bits_with_what_that_costs() {
    let workshop = workshop();
    let folder = tempfile::tempdir().unwrap();
    let run = workshop.runs.join("features");
    let out = folder.path().join("model.onnx");
    let export = ["export", text(&run), "--out", text(&out), "--quantize"];
    // One of the validation files can't be read, hence 3.
    let told = rekindle(export.iter().chain(&["--json"]))
        .ends_with(3)
        .json();
    let cost = &told["quantization"];
    assert_eq!(cost["calibration_images"], 20);
    assert_eq!(cost["skipped"].as_array().unwrap().len(), 1);
    let measured = &cost["measured"];
    assert_eq!(
        (&measured["metric"], &measured["images"]),
        (&"accuracy".into(), &40.into())
    );
    let evaluated = rekindle(["evaluate", text(&run), text(&workshop.data), "--json"]);
    let evaluated = evaluated.ends_with(3).json();
    assert_eq!(measured["float"], evaluated["evaluation"]["accuracy"]);
    let [float, quantized, agreement] =
        ["float", "quantized", "agreement"].map(|name| measured[name].as_f64().unwrap());
    assert!(
        (float - quantized).abs() <= 1.0 - agreement + 1e-9,
        "{measured}"
    );
    assert!(agreement >= 0.9, "{measured}");
    let [bytes, in_f32] = ["bytes", "bytes_in_f32"].map(|name| cost[name].as_u64().unwrap());
    assert_eq!(bytes, std::fs::metadata(&out).unwrap().len());
    assert!(3 * bytes < in_f32, "{cost}");
    let said = rekindle(export).ends_with(3).stdout;
    assert!(
        said.contains("in eight bits on 40 validation images"),
        "{said}"
    );
    // What is read back answers.
    let picture = workshop.data.join("val/ants/0000.png");
    let answer = |model: &Path| {
        let call = ["predict", text(model), text(&picture), "--json"];
        rekindle(call).ends_with(0).json()["predictions"][0].clone()
    };
    let (found, expected) = (answer(&out), answer(&run));
    assert_eq!(found["class"], expected["class"]);
    let [p, q] = [&found, &expected].map(|answer| answer["probability"].as_f64().unwrap());
    assert!((p - q).abs() < 0.1, "{p} {q}");
}

#[test]
fn eight_bits_take_preprocessing_pictures_without_classes_and_moved_data() {
    let workshop = workshop();
    let folder = tempfile::tempdir().unwrap();
    let weights = workshop.trained["runs"][0]["weights"].as_str().unwrap();
    let out = folder.path().join("app.onnx");
    let pictures = workshop.data.join("val/ants");
    let quantize = |data: &Path| {
        rekindle([
            "export",
            weights,
            "--out",
            text(&out),
            "--quantize",
            "--data",
            text(data),
            "--with-preprocessing",
            "--json",
        ])
    };
    let told = quantize(&pictures).ends_with(0).json();
    let cost = &told["quantization"];
    assert_eq!(
        (&cost["calibration_images"], &cost["measured"]),
        (&20.into(), &().into())
    );
    let told = quantize(&workshop.data).ends_with(3).json();
    assert_eq!(told["quantization"]["measured"]["images"], 40);
    let Some(runtime) = test_support::OnnxRuntime::find() else {
        return;
    };
    let picture = pictures.join("0000.png");
    let call = ["predict", weights, text(&picture), "--json"];
    let expected = rekindle(call).ends_with(0).json()["predictions"][0].clone();
    let pixels = rekindle::imagefolder::decode_file(&picture, &Default::default()).unwrap();
    let found = runtime.run_on_pixels(&out, &[(pixels.height(), pixels.width(), pixels.as_raw())]);
    let classes = told["classes"].as_array().unwrap().iter();
    let answers = classes.zip(&found);
    let best = answers.max_by(|a, b| a.1.total_cmp(b.1)).unwrap();
    assert_eq!(*best.0, expected["class"]);
}

#[test]
fn eight_bits_are_for_onnx_and_need_images() {
    let workshop = workshop();
    let folder = tempfile::tempdir().unwrap();
    let [pack, onnx, nowhere] = ["a.bpk", "a.onnx", "nowhere"].map(|name| folder.path().join(name));
    let run = workshop.runs.join("features");
    let weights = workshop.trained["runs"][0]["weights"].as_str().unwrap();
    let refused = |model: &str, out: &Path, more: &[&str]| {
        let call = ["export", model, "--out", text(out)];
        rekindle(call.iter().chain(more)).ends_with(2).stderr
    };
    let said = refused(text(&run), &pack, &["--quantize"]);
    assert!(said.contains("--format onnx"), "{said}");
    let said = refused(weights, &onnx, &["--quantize"]);
    assert!(said.contains("--data DATA"), "{said}");
    let said = refused(text(&run), &onnx, &["--data", text(&workshop.data)]);
    assert!(said.contains("--quantize"), "{said}");
    let call = [
        "export",
        weights,
        "--out",
        text(&onnx),
        "--quantize",
        "--data",
        text(&nowhere),
    ];
    let said = rekindle(call).ends_with(3).stderr;
    assert!(said.contains("nowhere"), "{said}");
    assert!(!onnx.exists() && !pack.exists());
}
