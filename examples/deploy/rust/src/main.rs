//! Answers to pictures by a model that `rekindle export --with-preprocessing` wrote.
//!
//! `ORT_DYLIB_PATH=.../libonnxruntime.so cargo run --release -- model.onnx picture.jpg ...` prints one JSON object per picture,
//! as `rekindle predict --json` does.

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use image::{DynamicImage, ImageDecoder, ImageReader, RgbImage};
use ort::session::Session;
use ort::value::Tensor;
use serde_json::json;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let usage = "usage: rekindle-deploy MODEL.onnx PICTURE...";
    let model = arguments.next().ok_or(usage)?;
    let mut session = Session::builder()?.commit_from_file(&model)?;
    let classes = session.metadata()?.custom("classes")?;
    let classes: Vec<String> = match classes {
        Some(names) => serde_json::from_str(&names)?,
        None => Vec::new(),
    };
    for path in arguments {
        let picture = pixels(Path::new(&path)).map_err(|error| format!("{path}: {error}"))?;
        let (width, height) = picture.dimensions();
        let shape = [1, height as usize, width as usize, 3];
        let input = Tensor::from_array((shape, picture.into_raw()))?;
        let outputs = session.run(ort::inputs!["pixels" => input])?;
        let (_, probabilities) = outputs["probabilities"].try_extract_tensor::<f32>()?;
        let best = probabilities.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
        let (class, probability) = best.ok_or("the model gives no probabilities")?;
        let name = classes.get(class).cloned().unwrap_or_else(|| format!("class {class}"));
        let answer = json!({"class": name, "probability": probability});
        println!("{}", json!({"path": path, "predictions": [answer]}));
    }
    Ok(())
}

/// Decodes a picture and turns it upright.
fn pixels(path: &Path) -> Result<RgbImage, Box<dyn Error>> {
    let mut decoder = ImageReader::open(path)?.with_guessed_format()?.into_decoder()?;
    let orientation = decoder.orientation()?;
    let mut picture = DynamicImage::from_decoder(decoder)?;
    picture.apply_orientation(orientation);
    Ok(picture.into_rgb8())
}
