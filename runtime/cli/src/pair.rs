//! A pair's description (`pair.toml`) and its files, checked against their hashes before they are used.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tinysaver_board::{ChannelOrder, Filter, Preprocess};
use tinysaver_core::{Temperature, Threshold};

use crate::config::read_toml;

/// The version of pair.toml that this program reads.
const SCHEMA: u32 = 1;

/// `pair.toml`, key by key; `models/README.md` says how to write one.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PairFile {
    schema: u32,
    name: String,
    #[serde(default)]
    description: String,
    default: Defaults,
    labels: LabelsFile,
    preprocess: PreprocessRule,
    policy: Policy,
    #[serde(rename = "model")]
    models: Vec<ModelEntry>,
    #[serde(default, rename = "source")]
    sources: Vec<Source>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Defaults {
    saver: String,
    base: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LabelsFile {
    file: PathBuf,
    sha256: String,
    classes: usize,
    #[serde(default)]
    source: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PreprocessRule {
    channels: ChannelOrder,
    filter: Filter,
    mean: [f32; 3],
    std: [f32; 3],
}

/// The gate's settings that belong to the pair.
#[derive(Debug, Clone, Copy, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// Threshold of the gate.
    pub threshold: Threshold,
    /// Temperature of the saver.
    pub temperature: Temperature,
    /// Whether the threshold was chosen on data, with a promise.
    pub calibrated: bool,
}

/// How a model's numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32-bit floats.
    F32,
    /// Quantised to 8 bits.
    Int8,
}

/// One model of the pool.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ModelEntry {
    /// The name that `--saver` and `--base` take.
    pub id: String,
    /// The ONNX file, relative to pair.toml.
    pub file: PathBuf,
    /// Of the file.
    pub sha256: String,
    /// Size of the file.
    #[serde(default)]
    pub bytes: Option<u64>,
    /// f32 or int8.
    pub precision: Precision,
    /// Side of the square input, in pixels.
    pub input: usize,
    /// Side of the centre square that is kept, as a share of the shorter side.
    pub crop_fraction: f64,
    /// Multiply-accumulates of one inference, if stated.
    #[serde(default)]
    pub macs: Option<u64>,
    /// Weights and biases, if stated.
    #[serde(default)]
    pub parameters: Option<u64>,
    /// Id of the `[[source]]` it was made from.
    #[serde(default)]
    pub source: Option<String>,
}

/// Where something in the pair comes from.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// Referred to by models and labels.
    pub id: String,
    /// weights, labels, photos or calibration.
    pub kind: String,
    /// Package that carries it.
    pub package: String,
    /// Version of the package.
    pub version: String,
    /// File name of the package.
    pub file: String,
    /// Of the package.
    pub sha256: String,
    /// Licence of what is inside.
    pub licence: String,
}

/// A pair, read and consistent in itself; its files are checked when they are loaded.
#[derive(Debug)]
pub struct Pair {
    path: PathBuf,
    file: PairFile,
}

/// A model file in memory, its hash as promised.
pub struct ModelBytes {
    /// Where it lies.
    pub path: PathBuf,
    /// All of it.
    pub bytes: Vec<u8>,
    /// First 16 hexadecimal digits of its SHA-256.
    pub short_hash: String,
}

impl Pair {
    /// Reads pair.toml.
    ///
    /// # Errors
    /// It cannot be read, says something impossible, or refers to a model that it does not list.
    pub fn read(path: &Path) -> Result<Self> {
        if !path.exists() {
            bail!(
                "{}: no such pair; build the default one with `make models`, or name another with --pair",
                path.display()
            );
        }
        let file: PairFile = read_toml(path)?;
        if file.schema != SCHEMA {
            bail!(
                "{}: schema {} is not known to this version, which reads schema {SCHEMA}",
                path.display(),
                file.schema
            );
        }
        let pair = Self { path: path.into(), file };
        for id in [&pair.file.default.saver, &pair.file.default.base] {
            pair.model(Some(id), "")?;
        }
        Ok(pair)
    }

    /// The pair's name.
    pub fn name(&self) -> &str {
        &self.file.name
    }

    /// What it is, in a line.
    pub fn description(&self) -> &str {
        &self.file.description
    }

    /// The gate's settings.
    pub fn policy(&self) -> Policy {
        self.file.policy
    }

    /// Every model of the pool.
    pub fn models(&self) -> &[ModelEntry] {
        &self.file.models
    }

    /// Where things come from.
    pub fn sources(&self) -> &[Source] {
        &self.file.sources
    }

    /// Id of the package that the labels come from.
    pub fn labels_source(&self) -> Option<&str> {
        self.file.labels.source.as_deref()
    }

    /// The saver's entry: the named one, or the pair's default.
    ///
    /// # Errors
    /// There is no model of that name.
    pub fn saver(&self, id: Option<&str>) -> Result<&ModelEntry> {
        self.model(id, &self.file.default.saver)
    }

    /// The base's entry: the named one, or the pair's default.
    ///
    /// # Errors
    /// There is no model of that name.
    pub fn base(&self, id: Option<&str>) -> Result<&ModelEntry> {
        self.model(id, &self.file.default.base)
    }

    fn model(&self, id: Option<&str>, default: &str) -> Result<&ModelEntry> {
        let id = id.unwrap_or(default);
        self.file.models.iter().find(|model| model.id == id).with_context(|| {
            let known: Vec<&str> = self.file.models.iter().map(|model| model.id.as_str()).collect();
            format!("{}: no model '{id}'; there are {}", self.path.display(), known.join(", "))
        })
    }

    /// What a model expects to be done to a picture.
    pub fn preprocess(&self, model: &ModelEntry) -> Preprocess {
        let PreprocessRule { channels, filter, mean, std } = self.file.preprocess;
        Preprocess { crop_fraction: model.crop_fraction, filter, channels, mean, std }
    }

    /// Reads a model's file and checks its hash.
    ///
    /// # Errors
    /// The file is missing or is another one than pair.toml means.
    pub fn load_model(&self, model: &ModelEntry) -> Result<ModelBytes> {
        let (path, bytes) = self.load(&model.file, &model.sha256)?;
        Ok(ModelBytes { path, bytes, short_hash: model.sha256.chars().take(16).collect() })
    }

    /// Reads the class names, one a line.
    ///
    /// # Errors
    /// The file is missing, is another one than pair.toml means, or does not hold one name a class.
    pub fn load_labels(&self) -> Result<Vec<String>> {
        let LabelsFile { file, sha256, classes, .. } = &self.file.labels;
        let (path, bytes) = self.load(file, sha256)?;
        let text = String::from_utf8(bytes).with_context(|| format!("{}: not UTF-8", path.display()))?;
        let labels: Vec<String> = text.lines().map(|line| line.trim().to_owned()).collect();
        if labels.len() != *classes {
            bail!("{}: {} names for {classes} classes; one name a line is wanted", path.display(), labels.len());
        }
        Ok(labels)
    }

    fn load(&self, file: &Path, sha256: &str) -> Result<(PathBuf, Vec<u8>)> {
        let path = self.path.parent().unwrap_or(Path::new("")).join(file);
        let bytes = fs::read(&path).with_context(|| {
            format!(
                "{}: cannot be read (named in {}; `make models` builds the default pair)",
                path.display(),
                self.path.display()
            )
        })?;
        let found: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        if !found.eq_ignore_ascii_case(sha256) {
            bail!(
                "{}: its SHA-256 is {found}, {} says {sha256}: the file is damaged or another one; build or copy it again",
                path.display(),
                self.path.display()
            );
        }
        Ok((path, bytes))
    }
}
