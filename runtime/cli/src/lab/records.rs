//! What models said of the samples of a data set.

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tinysaver_core::{Distribution, Temperature};

/// How many of the best classes are kept of each answer.
pub const TOP: usize = 5;

/// A sample, the same for all models.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// A path, or a number within a file.
    pub name: String,
    /// 64 bits of the SHA-256 of what the sample is made of: equal samples have equal ones.
    pub content: u64,
    /// The right class, where it is known.
    pub label: Option<u32>,
}

/// What is known of a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelInfo {
    /// Its name in the pair, or the one it was imported under.
    pub id: String,
    /// Of its file, in hexadecimal digits; empty where nobody said.
    pub sha256: String,
    /// Multiply-accumulates of one inference; 0 where nobody said.
    pub macs: u64,
    /// How many classes it tells apart.
    pub classes: usize,
    /// Median wall time of one inference while recording, where it was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_us: Option<f64>,
    /// Joules of one inference, where somebody measured them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub energy_joules: Option<f64>,
}

/// What one model said, a row a sample.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelRecords {
    /// Which model.
    pub info: ModelInfo,
    /// Best classes, [`TOP`] or as many as there are a row, best first.
    pub top: Vec<i32>,
    /// Largest probability, at temperature 1.
    pub confidence: Vec<f32>,
    /// Second largest probability.
    pub second: Vec<f32>,
    /// In nats.
    pub entropy: Vec<f32>,
    /// All logits, or none.
    pub logits: Vec<f32>,
}

impl ModelRecords {
    /// Nothing said yet.
    pub fn new(info: ModelInfo) -> Self {
        let (top, logits) = (Vec::new(), Vec::new());
        Self { info, top, confidence: Vec::new(), second: Vec::new(), entropy: Vec::new(), logits }
    }

    /// Rows so far.
    pub fn len(&self) -> usize {
        self.confidence.len()
    }

    /// How many best classes a row has.
    pub fn width(&self) -> usize {
        self.info.classes.min(TOP)
    }

    /// Adds a row.
    ///
    /// # Errors
    /// Another number of logits than the model has classes, or one that is no finite number.
    pub fn push(&mut self, logits: &[f32], keep_logits: bool) -> Result<()> {
        ensure!(
            logits.len() == self.info.classes,
            "{} logits of a model of {} classes",
            logits.len(),
            self.info.classes
        );
        let distribution = Distribution::of(logits, Temperature::ONE)?;
        let mut best: Vec<usize> = (0..logits.len()).collect();
        let order = |a: &usize, b: &usize| {
            let of = |class: &usize| logits.get(*class).copied().unwrap_or(f32::NEG_INFINITY);
            of(b).total_cmp(&of(a)).then(a.cmp(b))
        };
        let width = self.width();
        if width < best.len() {
            best.select_nth_unstable_by(width, order);
            best.truncate(width);
        }
        best.sort_unstable_by(order);
        for class in best {
            self.top.push(i32::try_from(class)?);
        }
        self.confidence.push(distribution.first.probability);
        self.second.push(distribution.second);
        self.entropy.push(distribution.entropy);
        if keep_logits {
            self.logits.extend_from_slice(logits);
        }
        Ok(())
    }

    /// The answer to each sample.
    pub fn answers(&self) -> impl Iterator<Item = u32> + '_ {
        self.top
            .chunks(self.width().max(1))
            .map(|best| best.first().and_then(|class| u32::try_from(*class).ok()).unwrap_or(u32::MAX))
    }

    /// Logits of each sample, if they were kept.
    pub fn logit_rows(&self) -> Option<impl Iterator<Item = &[f32]>> {
        (!self.logits.is_empty()).then(|| self.logits.chunks(self.info.classes.max(1)))
    }

    /// Adds the rows of a later part.
    pub fn append(&mut self, other: Self) {
        self.top.extend(other.top);
        self.confidence.extend(other.confidence);
        self.second.extend(other.second);
        self.entropy.extend(other.entropy);
        self.logits.extend(other.logits);
    }
}

/// Samples and what models said of them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Records {
    /// Which samples, in the data set's order.
    pub samples: Vec<Sample>,
    /// A model each.
    pub models: Vec<ModelRecords>,
}

impl Records {
    /// Checks that everything belongs together.
    ///
    /// # Errors
    /// No samples, rows missing, models of different numbers of classes, labels out of range: named by row.
    pub fn check(&self, name: &str) -> Result<()> {
        ensure!(!self.samples.is_empty(), "{name}: there are no samples");
        let first = self.models.first().with_context(|| format!("{name}: there is no model"))?;
        for model in &self.models {
            let id = &model.info.id;
            ensure!(
                model.len() == self.samples.len(),
                "{name}: model '{id}' has {} rows for {} samples",
                model.len(),
                self.samples.len()
            );
            ensure!(
                model.info.classes == first.info.classes,
                "{name}: model '{id}' has {} classes, '{}' has {}",
                model.info.classes,
                first.info.id,
                first.info.classes
            );
        }
        let classes = first.info.classes;
        for (row, sample) in self.samples.iter().enumerate() {
            if let Some(label) = sample.label.filter(|label| *label as usize >= classes) {
                bail!("{name}: row {row} ({}): label {label} is no class: there are {classes}, from 0", sample.name);
            }
        }
        Ok(())
    }

    /// A model by its id.
    ///
    /// # Errors
    /// There is none.
    pub fn model(&self, id: &str) -> Result<&ModelRecords> {
        self.models.iter().find(|model| model.info.id == id).with_context(|| {
            let known: Vec<&str> = self.models.iter().map(|model| model.info.id.as_str()).collect();
            format!("no model '{id}' in the records; there are {}", known.join(", "))
        })
    }

    /// What is known of a model, to be changed.
    ///
    /// # Errors
    /// There is none of this id.
    pub fn info_mut(&mut self, id: &str) -> Result<&mut ModelInfo> {
        self.model(id)?;
        let model = self.models.iter_mut().find(|model| model.info.id == id);
        model.map(|model| &mut model.info).with_context(|| format!("no model '{id}'"))
    }

    /// Adds samples of the same models.
    ///
    /// # Errors
    /// The models are others, or other files of the same names.
    pub fn append(&mut self, other: Self) -> Result<()> {
        let names = |records: &Self| -> Vec<(String, String)> {
            records.models.iter().map(|model| (model.info.id.clone(), model.info.sha256.clone())).collect()
        };
        ensure!(
            names(self) == names(&other),
            "records of other models cannot be joined: {:?} and {:?}",
            names(self),
            names(&other)
        );
        self.samples.extend(other.samples);
        for (model, more) in self.models.iter_mut().zip(other.models) {
            ensure!(
                model.logits.is_empty() == more.logits.is_empty(),
                "model '{}': one file holds logits and the other does not",
                model.info.id
            );
            model.append(more);
        }
        Ok(())
    }

    /// Whether every sample has a label.
    pub fn is_labelled(&self) -> bool {
        self.samples.iter().all(|sample| sample.label.is_some())
    }

    /// SHA-256 over contents and labels, in order.
    pub fn data_hash(&self) -> String {
        let mut hash = Sha256::new();
        for sample in &self.samples {
            hash.update(sample.content.to_le_bytes());
            hash.update(sample.label.map_or(-1, i64::from).to_le_bytes());
        }
        hexadecimal(&hash.finalize())
    }
}

/// Bytes as hexadecimal digits.
pub fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// 64 bits that tell contents apart.
pub fn content_of(bytes: &[u8]) -> u64 {
    Sha256::digest(bytes).first_chunk::<8>().map_or(0, |first| u64::from_le_bytes(*first))
}
