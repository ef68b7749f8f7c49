//! A classifier in a web page: weights in, a picture in, probabilities out. Everything runs on the visitor's machine.

use std::path::Path;

use burn::tensor::activation::softmax;
use burn::tensor::{Device, Tensor, TensorData};
use rekindle_imagefolder::rng::{SampleRng, Stream};
use rekindle_imagefolder::{DecodeOptions, Pipeline};
use rekindle_models::Pretrained;
use wasm_bindgen::prelude::*;

/// Device that computes: the visitor's processor (feature `flex`) or graphics processor (`webgpu`).
#[wasm_bindgen]
pub struct Compute {
    device: Device,
}

#[wasm_bindgen]
impl Compute {
    /// Gets hold of the device; once a page.
    ///
    /// # Errors
    ///
    /// Why the browser gives no device, as a sentence.
    pub async fn open() -> Result<Compute, JsError> {
        #[cfg(feature = "webgpu")]
        let device = burn::tensor::wgpu::WgpuOptions::default()
            .init_async()
            .await?;
        #[cfg(not(feature = "webgpu"))]
        let device = Device::flex();
        Ok(Self { device })
    }
}

/// A network with its class names and preprocessing, from one file and nothing else.
#[wasm_bindgen]
pub struct Classifier {
    pretrained: Pretrained,
    pipeline: Pipeline,
    device: Device,
}

#[wasm_bindgen]
impl Classifier {
    /// Reads a safetensors file, such as training leaves as `best.safetensors`.
    ///
    /// # Errors
    ///
    /// A sentence on the problem with the file.
    #[wasm_bindgen(constructor)]
    pub fn new(weights: Vec<u8>, compute: &Compute) -> Result<Classifier, JsError> {
        let device = compute.device.clone();
        let pretrained = Pretrained::from_safetensors("the dropped file", weights, &device)?;
        if pretrained.model.num_classes() == 0 {
            return Err(JsError::new("these weights have no classifier"));
        }
        Ok(Self {
            pipeline: Pipeline::imagenet_eval(&pretrained.preprocess),
            pretrained,
            device,
        })
    }

    /// The network and its classes, as JSON: `{"architecture": "...", "classes": ["..."]}`.
    pub fn describe(&self) -> String {
        let classes: Vec<String> = (0..self.pretrained.model.num_classes())
            .map(|class| self.name(class))
            .collect();
        serde_json::json!({
            "architecture": self.pretrained.architecture, "classes": classes,
        })
        .to_string()
    }

    /// Classifies a picture file (JPEG, PNG, WebP, ...). Returns JSON: `[{"class": "...", "probability": 0.9}, ...]`,
    /// the most probable first.
    ///
    /// # Errors
    ///
    /// Why the file can't be decoded or the device didn't answer, as a sentence.
    pub async fn classify(&self, file: Vec<u8>) -> Result<String, JsError> {
        let path = Path::new("the dropped file");
        let (options, mut unused) = (DecodeOptions::default(), SampleRng::keyed(0, Stream::User, &[]));
        let image = self.pipeline.apply_to_file(path, &file, &options, &mut unused)?;
        let shape = [1, image.channels(), image.height, image.width];
        let input = Tensor::<4>::from_data(TensorData::new(image.values, shape), &self.device);
        let logits = self.pretrained.model.forward(input);
        // A page can't wait for the graphics processor, only be called back by it.
        let answer = softmax(logits, 1).into_data_async().await?;
        let row: Vec<f32> = answer.iter::<f32>().collect();
        let mut order: Vec<usize> = (0..row.len()).collect();
        order.sort_by(|a, b| row[*b].total_cmp(&row[*a]));
        let answer: Vec<serde_json::Value> = order
            .into_iter()
            .take(10)
            .map(|class| serde_json::json!({"class": self.name(class), "probability": row[class]}))
            .collect();
        Ok(serde_json::json!(answer).to_string())
    }

    fn name(&self, class: usize) -> String {
        let names = self.pretrained.classes.as_ref();
        let name = names.and_then(|names| names.get(class));
        name.cloned().unwrap_or_else(|| format!("class {class}"))
    }
}
