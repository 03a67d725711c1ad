//! Saver, gate and base, loaded and ready: a picture in, an answer out.

use std::time::Instant;

use anyhow::{Context, Result, bail};
use tinysaver_board::{FramePreprocessor, Preprocessor, Tensor};
use tinysaver_core::{Answer, DropReason, Exit, Gate, StageMicros, Temperature, top1};
use tinysaver_engine::{Engine, Input, KernelChoice, load_best};

use crate::config::Settings;
use crate::frames::{Drop, Image, micros_since};
use crate::pair::{ModelEntry, Pair};

/// A model with the tensor it wants and the logits it gave.
pub struct Stage {
    /// The model's entry in pair.toml.
    pub entry: ModelEntry,
    /// The backend that runs it.
    pub engine: Box<dyn Engine>,
    /// First 16 hexadecimal digits of the file's SHA-256.
    pub short_hash: String,
    of_stills: Preprocessor,
    of_frames: FramePreprocessor,
    logits: Vec<f32>,
}

impl Stage {
    fn load(pair: &Pair, entry: &ModelEntry, classes: usize, kernel: KernelChoice) -> Result<Self> {
        let (engine, short_hash) = load_engine(pair, entry, classes, kernel)?;
        let (rule, name) = (pair.preprocess(entry), || format!("model '{}'", entry.id));
        let of_stills = Preprocessor::new(&rule, engine.input()).with_context(name)?;
        let of_frames = FramePreprocessor::new(&rule, engine.input()).with_context(name)?;
        let logits = vec![0.0; engine.classes()];
        Ok(Self { entry: entry.clone(), engine, short_hash, of_stills, of_frames, logits })
    }

    /// Fills the tensor and runs the model; adds what each took to `resize_us` and `infer_us`.
    fn infer(&mut self, image: &Image, resize_us: &mut Option<u64>, infer_us: &mut Option<u64>) -> Result<()> {
        let started = Instant::now();
        let tensor = match image {
            Image::Still(picture) => self.of_stills.tensor(picture)?,
            Image::Frame(view) => self.of_frames.tensor(view)?,
        };
        *resize_us = Some(resize_us.unwrap_or(0) + micros_since(started));
        let started = Instant::now();
        let input = match tensor {
            Tensor::F32(values) => Input::F32(values),
            Tensor::U8(values) => Input::U8(values),
        };
        let result = self.engine.infer(input, &mut self.logits);
        *infer_us = Some(micros_since(started));
        Ok(result?)
    }
}

/// Loads a model's file for the engine that suits it; gives the first digits of the file's hash as well.
///
/// # Errors
/// The file is missing, damaged, or no classifier of that many classes.
pub fn load_engine(
    pair: &Pair,
    entry: &ModelEntry,
    classes: usize,
    kernel: KernelChoice,
) -> Result<(Box<dyn Engine>, String)> {
    let model = pair.load_model(entry)?;
    let engine = load_best(&model.path, model.bytes, Some((entry.input, entry.input)), kernel)?.engine;
    if engine.classes() != classes {
        bail!("{}: the model has {} classes, the labels name {classes}", model.path.display(), engine.classes());
    }
    Ok((engine, model.short_hash))
}

/// A pair at work.
pub struct Cascade {
    /// The tiny model.
    pub saver: Stage,
    /// The large one.
    pub base: Stage,
    /// Decides between them.
    pub gate: Gate,
    /// Class names.
    pub labels: Vec<String>,
}

impl Cascade {
    /// Loads both models, checks hashes, sizes and labels.
    ///
    /// # Errors
    /// Anything that does not fit, named.
    pub fn load(pair: &Pair, settings: &Settings) -> Result<Self> {
        let labels = pair.load_labels()?;
        let kernel = settings.kernel;
        let saver = Stage::load(pair, pair.saver(settings.saver.as_deref())?, labels.len(), kernel).context("saver")?;
        let base = Stage::load(pair, pair.base(settings.base.as_deref())?, labels.len(), kernel).context("base")?;
        let policy = pair.policy();
        let gate = Gate {
            threshold: settings.threshold.unwrap_or(policy.threshold),
            temperature: settings.temperature.unwrap_or(policy.temperature),
        };
        Ok(Self { saver, base, gate, labels })
    }

    /// Classifies one picture or frame. The base's input is made only if the saver is not sure, from the same pixels.
    pub fn answer(&mut self, image: &Image, stages: &mut StageMicros) -> Result<Answer, Drop> {
        self.try_answer(image, stages)
            .map_err(|error| Drop { reason: DropReason::Engine, detail: format!("{error:#}") })
    }

    fn try_answer(&mut self, image: &Image, stages: &mut StageMicros) -> Result<Answer> {
        self.saver.infer(image, &mut stages.resize, &mut stages.saver)?;
        let decision = self.gate.decide(&self.saver.logits)?;
        let (macs_saver, macs_base) = (self.saver.engine.macs(), self.base.engine.macs());
        let (exit, prediction, macs) = if decision.exits {
            (Exit::Saver, decision.saver, macs_saver)
        } else {
            self.base.infer(image, &mut stages.resize, &mut stages.base)?;
            let base = top1(&self.base.logits, Temperature::ONE)?;
            (Exit::BaseLocal, base, macs_saver.saturating_add(macs_base))
        };
        Ok(Answer {
            exit,
            class: prediction.class,
            label: self.labels.get(prediction.class).cloned().unwrap_or_default(),
            probability: prediction.probability,
            saver_class: decision.saver.class,
            confidence: decision.saver.probability,
            threshold: self.gate.threshold,
            temperature: self.gate.temperature,
            macs,
            macs_always_base: macs_base,
        })
    }
}
