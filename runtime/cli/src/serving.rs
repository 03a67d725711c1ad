//! A model of a pair as the server offers it: photos as they come from a camera or a disk, scaled pixels, or normalised
//! floats in; logits out. Photos are treated by the pair's own rules, so that board and server cannot disagree.

use anyhow::{Context, Result};
use tinysaver_board::{DecodeLimits, Preprocessor, Tensor as ImageTensor, decode};
use tinysaver_core::{Element, InputSpec, Layout};
use tinysaver_engine::{Engine, Input, KernelChoice, Threads};
use tinysaver_offload::protocol::{
    Datatype, InferRequest, ModelMetadata, RequestedOutput, Tensor, TensorMetadata, join_byte_elements,
};
use tinysaver_offload::server::{ModelOffer, Worker, WorkerError};

use crate::cascade::load_engine;
use crate::pair::{ModelEntry, Pair};

/// The one input and the one output of every model that is served.
const INPUT: &str = "image";
const OUTPUT: &str = "logits";
/// Photos in one request: the engines take one at a time, so that more would only make others wait.
const MAX_BATCH: usize = 32;
/// Behind a model's name: the same model, described as one that takes photos.
const PHOTO_SUFFIX: &str = "_jpeg";

/// What runs each model.
pub struct Engines {
    /// Inferences at the same time, each with a copy of the model.
    pub workers: usize,
    /// Kernels of the int8 engine.
    pub kernel: KernelChoice,
    /// What all of them share.
    pub threads: Threads,
}

/// Loads a model once for each worker and describes it.
///
/// # Errors
/// The model cannot be used, or its labels do not fit.
pub fn offer(pair: &Pair, entry: &ModelEntry, engines: &Engines, limits: DecodeLimits) -> Result<ModelOffer> {
    let labels = pair.load_labels()?;
    let mut made: Vec<Box<dyn Worker>> = Vec::with_capacity(engines.workers);
    let mut described = None;
    for _ in 0..engines.workers {
        let (mut engine, _) =
            load_engine(pair, entry, labels.len(), engines.kernel).with_context(|| format!("model '{}'", entry.id))?;
        engine.set_threads(&engines.threads);
        let preprocessor = Preprocessor::new(&pair.preprocess(entry), engine.input())
            .with_context(|| format!("model '{}'", entry.id))?;
        described = Some((engine.input(), engine.name()));
        let logits = vec![0.0; engine.classes()];
        made.push(Box::new(PairWorker { engine, preprocessor, logits, limits, labels: labels.clone() }));
    }
    let (spec, platform) = described.context("no workers")?;
    Ok(ModelOffer { faces: faces(&entry.id, platform, &spec, labels.len()), workers: made })
}

fn faces(id: &str, platform: &str, spec: &InputSpec, classes: usize) -> Vec<ModelMetadata> {
    let axis = |size: usize| i64::try_from(size).unwrap_or(i64::MAX);
    let pixels = vec![-1, axis(spec.height), axis(spec.width), axis(spec.channels)];
    let face = |name: String, datatype: Datatype, shape: Vec<i64>| ModelMetadata {
        name,
        versions: None,
        platform: Some(format!("tinysaver_{}", platform.replace('-', "_"))),
        inputs: vec![TensorMetadata { name: INPUT.into(), datatype: datatype.name().into(), shape }],
        outputs: vec![TensorMetadata {
            name: OUTPUT.into(),
            datatype: Datatype::Fp32.name().into(),
            shape: vec![-1, axis(classes)],
        }],
    };
    vec![
        face(id.to_owned(), Datatype::Uint8, pixels),
        face(format!("{id}{PHOTO_SUFFIX}"), Datatype::Bytes, vec![-1, 1]),
    ]
}

struct PairWorker {
    engine: Box<dyn Engine>,
    preprocessor: Preprocessor,
    logits: Vec<f32>,
    limits: DecodeLimits,
    labels: Vec<String>,
}

fn refuse(detail: impl Into<String>) -> WorkerError {
    WorkerError::Request(detail.into())
}

fn model_failed(error: impl std::fmt::Display) -> WorkerError {
    WorkerError::Model(error.to_string())
}

impl Worker for PairWorker {
    fn infer(&mut self, request: &InferRequest) -> Result<Vec<Tensor>, WorkerError> {
        let [input] = request.inputs.as_slice() else {
            return Err(refuse(format!("{} inputs, the model has one: '{INPUT}'", request.inputs.len())));
        };
        if input.name() != INPUT {
            return Err(refuse(format!("unknown input '{}', the model has '{INPUT}'", input.name())));
        }
        if let Some(unknown) = request.outputs.iter().find(|output| output.name != OUTPUT) {
            return Err(refuse(format!("unknown output '{}', the model has '{OUTPUT}'", unknown.name)));
        }
        let mut all = Vec::new();
        let batch = self.each(input, &mut |logits| all.extend_from_slice(logits))?;
        let wanted = request.outputs.first().and_then(top_count);
        let axis = |size: usize| i64::try_from(size).unwrap_or(i64::MAX);
        let output = match wanted {
            Some(count) => self.best(&all, count).and_then(|(texts, count)| {
                Tensor::new(OUTPUT, Datatype::Bytes, &[axis(batch), axis(count)], texts).map_err(model_failed)
            }),
            None => Tensor::from_f32(OUTPUT, &[axis(batch), axis(self.logits.len())], &all).map_err(model_failed),
        };
        Ok(vec![output?])
    }
}

/// Triton's classification extension: how many of the best classes are wanted instead of all logits.
fn top_count(output: &RequestedOutput) -> Option<usize> {
    let count = output.parameters.get("classification")?;
    usize::try_from(count.as_u64()?).ok().filter(|&count| count > 0)
}

impl PairWorker {
    /// Runs every picture of the tensor; gives how many there were.
    fn each(&mut self, input: &Tensor, take: &mut dyn FnMut(&[f32])) -> Result<usize, WorkerError> {
        let spec = self.engine.input();
        let (height, width) = (spec.height as i64, spec.width as i64);
        let shape = input.shape();
        let wrong = |wanted: String| refuse(format!("shape {shape:?} of {}: wanted {wanted}", input.datatype().name()));
        match (input.datatype(), shape) {
            (Datatype::Bytes, [batch] | [batch, 1]) => {
                let batch = checked_batch(*batch)?;
                for photo in input.byte_elements().into_iter().flatten() {
                    self.photo(&photo.map_err(|error| refuse(error.to_string()))?)?;
                    take(&self.logits);
                }
                Ok(batch)
            }
            (Datatype::Uint8, [batch, h, w, 3]) if (*h, *w) == (height, width) => {
                let batch = checked_batch(*batch)?;
                for pixels in input.data().chunks_exact(spec.len()) {
                    let tensor = self.preprocessor.tensor_of_pixels(pixels).map_err(model_failed)?;
                    run(self.engine.as_mut(), tensor, &mut self.logits)?;
                    take(&self.logits);
                }
                Ok(batch)
            }
            (Datatype::Fp32, [batch, 3, h, w]) if (*h, *w) == (height, width) => {
                let batch = checked_batch(*batch)?;
                let values = input.f32_values().unwrap_or_default();
                if values.iter().any(|value| !value.is_finite()) {
                    return Err(refuse("the tensor holds numbers that are not finite"));
                }
                for picture in values.chunks_exact(spec.len()) {
                    run(self.engine.as_mut(), &arranged(picture, &spec), &mut self.logits)?;
                    take(&self.logits);
                }
                Ok(batch)
            }
            (Datatype::Bytes, _) => Err(wrong("[n] or [n, 1], one photo each".into())),
            (Datatype::Uint8, _) => Err(wrong(format!("[n, {height}, {width}, 3], R G B"))),
            (Datatype::Fp32, _) => Err(wrong(format!("[n, 3, {height}, {width}], normalised"))),
            (other, _) => Err(refuse(format!(
                "{} is not taken: send BYTES (JPEG, PNG or WebP), UINT8 pixels or FP32 normalised pixels",
                other.name()
            ))),
        }
    }

    fn photo(&mut self, bytes: &[u8]) -> Result<(), WorkerError> {
        let picture = decode(bytes, self.limits).map_err(|error| refuse(error.to_string()))?;
        let tensor = self.preprocessor.tensor(&picture).map_err(model_failed)?;
        run(self.engine.as_mut(), tensor, &mut self.logits)
    }

    /// `score:index:label` of the best classes of each picture.
    fn best(&self, all: &[f32], count: usize) -> Result<(bytes::Bytes, usize), WorkerError> {
        let count = count.min(self.logits.len());
        let mut texts = Vec::new();
        for logits in all.chunks_exact(self.logits.len()) {
            let mut order: Vec<(usize, f32)> = logits.iter().copied().enumerate().collect();
            // Equal logits: the first wins, as everywhere; the sort is stable.
            order.sort_by(|a, b| b.1.total_cmp(&a.1));
            texts.extend(order.iter().take(count).map(|(index, score)| {
                format!("{score}:{index}:{}", self.labels.get(*index).map_or("", String::as_str))
            }));
        }
        Ok((join_byte_elements(&texts).map_err(model_failed)?, count))
    }
}

fn checked_batch(batch: i64) -> Result<usize, WorkerError> {
    let size = usize::try_from(batch).unwrap_or_default();
    if (1..=MAX_BATCH).contains(&size) {
        Ok(size)
    } else {
        Err(refuse(format!("{batch} pictures in one request: 1 to {MAX_BATCH} are taken")))
    }
}

fn run(engine: &mut dyn Engine, tensor: &ImageTensor, logits: &mut [f32]) -> Result<(), WorkerError> {
    let input = match tensor {
        ImageTensor::F32(values) => Input::F32(values),
        ImageTensor::U8(values) => Input::U8(values),
    };
    engine.infer(input, logits).map_err(model_failed)
}

/// One normalised picture in NCHW as the engine wants it.
pub fn arranged(picture: &[f32], spec: &InputSpec) -> ImageTensor {
    let plane = spec.height * spec.width;
    let ordered: Vec<f32> = match spec.layout {
        Layout::Nchw => picture.to_vec(),
        Layout::Nhwc => (0..plane).flat_map(|at| picture.iter().skip(at).step_by(plane.max(1)).copied()).collect(),
    };
    match spec.element {
        Element::F32 => ImageTensor::F32(ordered),
        Element::U8 { scale, zero_point } => {
            ImageTensor::U8(ordered.iter().map(|value| Element::quantise(*value, scale, zero_point)).collect())
        }
    }
}
