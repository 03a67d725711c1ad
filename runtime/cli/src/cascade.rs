//! Saver, gate and base, loaded and ready: a picture in, an answer out.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tinysaver_board::{FramePreprocessor, FrameWay, Preprocessor, Tensor};
use tinysaver_core::energy::{EnergyStage, FrameWork};
use tinysaver_core::risk::Method;
use tinysaver_core::{Answer, Decision, Exit, Gate, InputWay, LumaGrid, Score, StageMicros, Temperature, top1};
use tinysaver_engine::{Engine, Input, KernelChoice, Threads, load_best};

use crate::config::Settings;
use crate::frames::{Drop, Image, micros, micros_since};
use crate::pair::{ModelEntry, Pair};
use crate::policy::PolicyFile;

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
    /// Loads a model of the pair.
    ///
    /// # Errors
    /// As [`load_engine`], or a tensor that cannot be filled with pictures.
    pub fn load(
        pair: &Pair,
        entry: &ModelEntry,
        classes: usize,
        settings: &Settings,
        threads: &Threads,
    ) -> Result<Self> {
        let (mut engine, short_hash) = load_engine(pair, entry, classes, settings.kernel)?;
        engine.set_threads(threads);
        let (rule, name) = (pair.preprocess(entry), || format!("model '{}'", entry.id));
        let of_stills = Preprocessor::new(&rule, engine.input()).with_context(name)?;
        let of_frames = FramePreprocessor::new(&rule, engine.input()).with_context(name)?.with_limits(settings.limits);
        let of_frames = if settings.reuse.is_some() { of_frames.with_luma_grid() } else { of_frames };
        let logits = vec![0.0; engine.classes()];
        Ok(Self { entry: entry.clone(), engine, short_hash, of_stills, of_frames, logits })
    }

    /// Whether it computes with f32.
    pub fn is_f32(&self) -> bool {
        !self.engine.name().starts_with("int8")
    }

    /// Runs the model on pixels that were cropped and scaled elsewhere; gives the logits.
    pub fn infer_pixels(&mut self, rgb: &[u8]) -> Result<&[f32]> {
        let input = match self.of_stills.tensor_of_pixels(rgb)? {
            Tensor::F32(values) => Input::F32(values),
            Tensor::U8(values) => Input::U8(values),
        };
        self.engine.infer(input, &mut self.logits)?;
        Ok(&self.logits)
    }

    /// Runs the model on a picture; gives the logits and the microseconds of the inference alone.
    ///
    /// # Errors
    /// A picture that cannot be scaled, or a failure inside the engine.
    #[cfg(feature = "lab")]
    pub fn infer_image(&mut self, image: &Image) -> Result<(&[f32], u64)> {
        self.look(image, &mut StageMicros::default())?;
        let infer_us = self.infer(image)?;
        Ok((&self.logits, infer_us))
    }

    /// Fills the tensor; adds to `stages` what that took.
    fn look(&mut self, image: &Image, stages: &mut StageMicros) -> Result<()> {
        let started = Instant::now();
        let decoding = match image {
            Image::Still(picture) => self.of_stills.tensor(picture).map(|_| None)?,
            Image::Frame(view) => self.of_frames.timed_tensor(view)?.1,
        };
        let decode_us = decoding.map(micros);
        if let Some(decode_us) = decode_us {
            *stages.decode.get_or_insert(0) += decode_us;
        }
        *stages.resize.get_or_insert(0) += micros_since(started).saturating_sub(decode_us.unwrap_or(0));
        Ok(())
    }

    /// Runs the model on the tensor of `image`, which was looked at last; gives the microseconds that it took.
    fn infer(&mut self, image: &Image) -> Result<u64> {
        let started = Instant::now();
        let tensor = match image {
            Image::Still(_) => self.of_stills.last(),
            Image::Frame(_) => self.of_frames.last(),
        };
        let input = match tensor {
            Tensor::F32(values) => Input::F32(values),
            Tensor::U8(values) => Input::U8(values),
        };
        self.engine.infer(input, &mut self.logits)?;
        Ok(micros_since(started))
    }

    /// How the last frame's tensor was made.
    fn input_way(&self, image: &Image) -> InputWay {
        match (image, self.of_frames.way()) {
            (Image::Still(_), _) => InputWay::Still,
            (Image::Frame(_), FrameWay::Pixels) => InputWay::Pixels,
            (Image::Frame(_), FrameWay::Jpeg) => InputWay::Jpeg,
            (Image::Frame(_), FrameWay::WholePicture) => InputWay::WholeJpeg,
        }
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

/// Who has set the gate's threshold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GateOrigin {
    /// A policy file, by this method.
    Policy {
        /// The file.
        path: PathBuf,
        /// How the threshold was chosen.
        method: Method,
    },
    /// Flags or configuration.
    Operator,
    /// pair.toml.
    Pair,
}

/// The gate of a policy file, if one is named and made for these models, else of flags, configuration and pair.
fn gate(pair: &Pair, settings: &Settings, saver: &ModelEntry, base: &ModelEntry) -> Result<(Gate, GateOrigin)> {
    let Some(path) = &settings.policy else {
        let policy = pair.policy();
        let gate = Gate {
            threshold: settings.threshold.unwrap_or(policy.threshold),
            temperature: settings.temperature.unwrap_or(policy.temperature),
            score: Score::MaxSoftmax,
        };
        return Ok((gate, if settings.threshold.is_some() { GateOrigin::Operator } else { GateOrigin::Pair }));
    };
    if settings.threshold.is_some() || settings.temperature.is_some() {
        bail!(
            "{}: a policy has a threshold and a temperature of its own: leave the other settings out",
            path.display()
        );
    }
    let policy = PolicyFile::read(path)?;
    policy.check_models(path, (&saver.id, &saver.sha256), (&base.id, &base.sha256))?;
    Ok((policy.gate(), GateOrigin::Policy { path: path.clone(), method: policy.certificate.method }))
}

/// What is known of the base, wherever it runs.
pub struct Base {
    /// The model's entry in pair.toml.
    pub entry: ModelEntry,
    /// First 16 hexadecimal digits of the file's SHA-256.
    pub short_hash: String,
    /// Multiply-accumulates of one inference; 0 where nobody says.
    pub macs: u64,
}

/// A pair at work.
pub struct Cascade {
    /// The tiny model.
    pub saver: Stage,
    /// The large one.
    pub base: Base,
    /// The large one on this board, unless it is only elsewhere.
    pub local_base: Option<Stage>,
    /// Decides between them.
    pub gate: Gate,
    /// Who has set its threshold, before a budget moved it.
    pub gate_origin: GateOrigin,
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
        // Saver and base share them: the base may run while the saver goes on.
        let threads = settings.threads.start(1)?;
        let load = |entry| Stage::load(pair, entry, labels.len(), settings, &threads);
        let saver = load(pair.saver(settings.saver.as_deref())?).context("saver")?;
        let entry = pair.base(settings.base.as_deref())?;
        let is_local = settings.offload.as_ref().is_none_or(|offload| offload.local_base);
        let local = is_local.then(|| load(entry).context("base")).transpose()?;
        let base = Base {
            entry: entry.clone(),
            short_hash: entry.sha256.chars().take(16).collect(),
            macs: local.as_ref().map_or(entry.macs.unwrap_or(0), |local| local.engine.macs()),
        };
        let (gate, gate_origin) = gate(pair, settings, &saver.entry, &base.entry)?;
        Ok(Self { saver, base, local_base: local, gate, gate_origin, labels })
    }

    /// Makes the saver's input. Gives the luma grid of a camera's frame, if the change gate needs it.
    pub fn look(&mut self, image: &Image, stages: &mut StageMicros) -> Result<Option<LumaGrid>, Drop> {
        self.saver.look(image, stages).map_err(|error| Drop::from(&error))?;
        Ok(match image {
            Image::Still(_) => None,
            Image::Frame(_) => self.saver.of_frames.luma_grid(),
        })
    }

    /// Classifies on this board what was looked at last. The base's input is made only if the saver is not sure, from
    /// the same pixels.
    pub fn answer(&mut self, image: &Image, stages: &mut StageMicros) -> Result<Answer, Drop> {
        let (answer, exits) = self.saver_answer(image, stages)?;
        if exits {
            return Ok(answer);
        }
        self.base_answer(answer, image, stages).map_err(|error| Drop::from(&error))
    }

    /// What the saver says to what it looked at last, and whether the gate lets it stand.
    pub fn saver_answer(&mut self, image: &Image, stages: &mut StageMicros) -> Result<(Answer, bool), Drop> {
        self.try_saver(image, stages).map_err(|error| Drop::from(&error))
    }

    /// How the saver's last input was made.
    pub fn input_way(&self, image: &Image) -> InputWay {
        self.saver.input_way(image)
    }

    fn try_saver(&mut self, image: &Image, stages: &mut StageMicros) -> Result<(Answer, bool)> {
        stages.saver = Some(self.saver.infer(image)?);
        let Decision { saver, confidence, exits } = self.gate.decide(&self.saver.logits)?;
        let answer = Answer {
            exit: Exit::Saver,
            degraded: None,
            class: saver.class,
            label: self.label(saver.class),
            probability: saver.probability,
            saver_class: saver.class,
            confidence,
            threshold: self.gate.threshold,
            temperature: self.gate.temperature,
            input: Some(self.saver.input_way(image)),
            reuse_check: None,
            macs: self.saver.engine.macs(),
            macs_always_base: self.base.macs,
        };
        Ok((answer, exits))
    }

    fn base_answer(&mut self, saver: Answer, image: &Image, stages: &mut StageMicros) -> Result<Answer> {
        let base = self.local_base.as_mut().context("there is no base on this board")?;
        base.look(image, stages)?;
        stages.base = Some(base.infer(image)?);
        let prediction = top1(&base.logits, Temperature::ONE)?;
        Ok(Answer {
            exit: Exit::BaseLocal,
            class: prediction.class,
            label: self.label(prediction.class),
            probability: prediction.probability,
            macs: saver.macs.saturating_add(self.base.macs),
            ..saver
        })
    }

    /// What the ledger has to know of a frame's work on the thread that infers. A base that worked elsewhere, or on a
    /// thread of its own, was not a part of it.
    pub fn work(&self, stages: &StageMicros, sent_bytes: Option<u64>) -> FrameWork {
        let base_is_real = self.local_base.as_ref().map(Stage::is_f32);
        let mut work = FrameWork::default();
        let times = [
            (EnergyStage::Capture, stages.read, false),
            (EnergyStage::Decode, stages.decode, false),
            (EnergyStage::Preprocess, stages.resize, false),
            (EnergyStage::Saver, stages.saver, self.saver.is_f32()),
            (EnergyStage::Encode, stages.encode, false),
            (EnergyStage::Transmit, stages.transmit, false),
            (EnergyStage::BaseLocal, stages.base.filter(|_| base_is_real.is_some()), base_is_real == Some(true)),
        ];
        for (stage, micros, is_f32) in times {
            if let Some(micros) = micros {
                work.took(stage, Duration::from_micros(micros), is_f32);
            }
        }
        work.sent(sent_bytes.unwrap_or(0));
        work
    }

    fn label(&self, class: usize) -> String {
        self.labels.get(class).cloned().unwrap_or_default()
    }
}
