//! Writes small valid inputs into `corpus/TARGET`, to begin from.

#[path = "../crates/rekindle-weights/tests/common/pytorch.rs"]
mod pytorch;

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::io::{Cursor, Read, Write};
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use image::{DynamicImage, ImageFormat, RgbImage};
use prost::Message;
use pytorch::{Nesting, floats, longs, write_legacy, write_zip};
use rekindle_nn::onnx::proto::ModelProto;
use rekindle_weights::{TensorOut, write_burnpack, write_safetensors};
use rekindle_trainer::{ClassesRecord, RunRecord};
use rekindle_transfer::features::{CacheKey, FeatureCache, Row};

fn main() -> Result<(), Box<dyn Error>> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let folder = |target: &str| -> Result<PathBuf, Box<dyn Error>> {
        let folder = corpus.join(target);
        fs::create_dir_all(&folder)?;
        Ok(folder)
    };
    weights(&folder("weights")?)?;
    images(&folder("image")?)?;
    feature_cache(&folder("feature_cache")?)?;
    run_directory(&folder("run_directory")?)?;
    hub_response(&folder("hub_response")?)?;
    archive(&folder("archive")?)?;
    onnx(&folder("onnx")?)
}

/// Other programs' graphs with few blocks, their large weights zero.
fn onnx(folder: &Path) -> Result<(), Box<dyn Error>> {
    let exports = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/reference/exports.zip");
    let mut exports = zip::ZipArchive::new(fs::File::open(exports)?)?;
    for index in 0..exports.len() {
        let mut file = exports.by_index(index)?;
        let name = file.name()?.replace('/', "_");
        if !name.ends_with(".onnx") {
            continue;
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let mut model = ModelProto::decode(bytes.as_slice())?;
        let graph = model.graph.as_mut().ok_or("no graph")?;
        let elements = |dims: &[i64]| dims.iter().product::<i64>() as usize;
        if graph.initializer.iter().any(|tensor| elements(&tensor.dims) > 20_000) {
            continue;
        }
        for tensor in &mut graph.initializer {
            let is_bare = tensor.float_data.is_empty() && tensor.int64_data.is_empty();
            if tensor.raw_data.as_ref().is_none_or(Vec::is_empty) && is_bare {
                tensor.raw_data = Some(vec![0; 4 * elements(&tensor.dims)]);
            }
        }
        fs::write(folder.join(name), model.encode_to_vec())?;
    }
    Ok(())
}

fn weights(folder: &Path) -> Result<(), Box<dyn Error>> {
    let values = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
    let tensors = [
        floats("conv1.weight", &[2, 3, 1, 1], &values),
        longs("bn1.num_batches_tracked", &[], &[7]),
    ];
    write_zip(&folder.join("zip"), &tensors, Nesting::Plain);
    write_legacy(&folder.join("legacy"), &tensors, Nesting::Plain);
    let out = || {
        vec![
            TensorOut::f32("conv1.weight", [2, 3, 1, 1], &values),
            TensorOut::i64("bn1.num_batches_tracked", [], &[7]),
        ]
    };
    let metadata = BTreeMap::from([("classes".to_string(), "[\"ants\",\"bees\"]".to_string())]);
    write_safetensors(folder.join("safetensors"), out(), &metadata)?;
    write_burnpack(folder.join("burnpack"), out(), &metadata)?;
    network(folder)
}

/// The smallest network there is, under a prefix and with a loss's weight beside it, and PyTorch's own files.
fn network(folder: &Path) -> Result<(), Box<dyn Error>> {
    let tensor = |name: &str, shape: &[usize]| {
        let values = vec![0.5; shape.iter().product()];
        TensorOut::f32(format!("state_dict.model.{name}"), shape, &values)
    };
    let mut tensors = vec![tensor("conv1.weight", &[1, 1, 7, 7]), tensor("criterion.weight", &[2])];
    let mut norms = vec![("bn1".to_string(), 1)];
    for (stage, inputs) in [(1, 1), (2, 1), (3, 2), (4, 4)] {
        let (name, planes) = (format!("layer{stage}.0"), 1 << (stage - 1));
        tensors.push(tensor(&format!("{name}.conv1.weight"), &[planes, inputs, 3, 3]));
        tensors.push(tensor(&format!("{name}.conv2.weight"), &[planes, planes, 3, 3]));
        norms.extend([(format!("{name}.bn1"), planes), (format!("{name}.bn2"), planes)]);
        if stage > 1 {
            tensors.push(tensor(&format!("{name}.downsample.0.weight"), &[planes, inputs, 1, 1]));
            norms.push((format!("{name}.downsample.1"), planes));
        }
    }
    for (name, width) in norms {
        let fields = ["weight", "bias", "running_mean", "running_var"];
        tensors.extend(fields.map(|field| tensor(&format!("{name}.{field}"), &[width])));
    }
    tensors.extend([tensor("fc.weight", &[2, 8]), tensor("fc.bias", &[2])]);
    write_safetensors(folder.join("network"), tensors, &BTreeMap::new())?;
    let made = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/rekindle-models/tests/reference/checkpoints");
    for file in ["lightning.ckpt", "optimizer-object.pth", "children.pth"] {
        fs::copy(made.join(file), folder.join(file))?;
    }
    Ok(())
}

fn images(folder: &Path) -> Result<(), Box<dyn Error>> {
    let picture = RgbImage::from_fn(19, 17, |x, y| {
        image::Rgb([(x * 13) as u8, (y * 15) as u8, (x * y) as u8])
    });
    let picture = DynamicImage::from(picture);
    let formats = [
        ("jpeg", ImageFormat::Jpeg),
        ("png", ImageFormat::Png),
        ("gif", ImageFormat::Gif),
        ("bmp", ImageFormat::Bmp),
        ("webp", ImageFormat::WebP),
        ("tiff", ImageFormat::Tiff),
        ("pnm", ImageFormat::Pnm),
        ("ico", ImageFormat::Ico),
    ];
    for (name, format) in formats {
        let mut bytes = Cursor::new(Vec::new());
        picture.write_to(&mut bytes, format)?;
        fs::write(folder.join(name), bytes.into_inner())?;
    }
    // One of each kind that the tests know.
    let mut bytes = Vec::new();
    let known = "../crates/rekindle-imagefolder/tests/reference/pictures.safetensors.gz";
    let known = fs::File::open(Path::new(env!("CARGO_MANIFEST_DIR")).join(known))?;
    GzDecoder::new(known).read_to_end(&mut bytes)?;
    for (name, tensor) in safetensors::SafeTensors::deserialize(&bytes)?.tensors() {
        if !name.ends_with(".pixels") {
            fs::write(folder.join(name), tensor.data())?;
        }
    }
    let mut grey = Cursor::new(Vec::new());
    DynamicImage::from(picture.to_luma8()).write_to(&mut grey, ImageFormat::Jpeg)?;
    fs::write(folder.join("grey.jpeg"), grey.into_inner())?;
    Ok(())
}

fn feature_cache(folder: &Path) -> Result<(), Box<dyn Error>> {
    let key = CacheKey::from_parts("", "");
    let made = folder.join("made");
    let chunks = made.join(key.digest());
    let mut cache = FeatureCache::open(&made, key)?;
    for (image, values) in [("a", [1.0, 2.0]), ("b", [3.0, 4.0])] {
        let row = Row {
            content: image.into(),
            draw: None,
        };
        cache.insert(row, &[2], &values)?;
    }
    cache.save()?;
    for chunk in fs::read_dir(chunks)? {
        fs::copy(chunk?.path(), folder.join("chunk"))?;
    }
    Ok(fs::remove_dir_all(made)?)
}

fn run_directory(folder: &Path) -> Result<(), Box<dyn Error>> {
    let classes = ClassesRecord::new(vec!["ants".into(), "bees".into()], serde_json::Value::Null);
    let texts = [
        serde_json::to_string(&RunRecord::new("ants and bees"))?,
        serde_json::to_string(&classes)?,
        "{\"event\":\"epoch_started\",\"epoch\":1,\"epochs\":2,\"batches\":3,\"images\":4}\n"
            .to_string(),
        "{\"format\":1,\"epochs\":1,\"batches\":0,\"best_epoch\":1,\"files\":{\"model\":4}}"
            .to_string(),
    ];
    for (choice, text) in texts.iter().enumerate() {
        let bytes = [&[choice as u8], text.as_bytes()].concat();
        fs::write(folder.join(choice.to_string()), bytes)?;
    }
    Ok(())
}

fn hub_response(folder: &Path) -> Result<(), Box<dyn Error>> {
    let answers = [
        "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabcd",
        "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 2-3/4\r\nContent-Length: 2\r\n\r\ncd",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html></html>",
        "HTTP/1.1 503 Busy\r\nRetry-After: 1\r\n\r\n",
    ];
    for (number, answer) in answers.iter().enumerate() {
        fs::write(folder.join(number.to_string()), answer)?;
    }
    Ok(())
}

fn archive(folder: &Path) -> Result<(), Box<dyn Error>> {
    let mut archive = zip::ZipWriter::new(fs::File::create(folder.join("zip"))?);
    for name in ["data/train/ants/1.jpg", "../outside.txt"] {
        archive.start_file(name, zip::write::SimpleFileOptions::default())?;
        archive.write_all(name.as_bytes())?;
    }
    archive.finish()?;
    Ok(())
}
