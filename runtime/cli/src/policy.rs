//! A gate's policy as a file: `calibrate` writes it with its certificate, `run` and `replay` use it.

use std::path::Path;

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};
use tinysaver_core::risk::Method;
use tinysaver_core::{Gate, Score, Temperature, Threshold};

use crate::config::read_toml;

/// The version of policy.toml that this program reads and writes.
pub const POLICY_SCHEMA: u32 = 1;

/// `policy.toml`; `docs/calibration.md` explains every key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyFile {
    /// [`POLICY_SCHEMA`].
    pub schema: u32,
    /// Exit iff the score is above this.
    pub threshold: Threshold,
    /// Divides the saver's logits.
    pub temperature: Temperature,
    /// What is compared with the threshold.
    pub score: Score,
    /// The models that it holds for.
    pub saver: PolicyModel,
    /// The models that it holds for.
    pub base: PolicyModel,
    /// What it rests on.
    pub certificate: Certificate,
}

/// One of the pair.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyModel {
    /// Its name when it was calibrated.
    pub id: String,
    /// Of its file; empty if the records did not say.
    pub sha256: String,
}

/// What the threshold was chosen on, and what that promises.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// How it was chosen.
    pub method: Method,
    /// In words: what that promises on frames nobody has seen.
    pub promises: String,
    /// Share of frames (of accepted ones for sgr) that the promise allows.
    pub epsilon: f64,
    /// Probability that the promise is broken.
    pub delta: f64,
    /// Samples that the threshold was chosen on.
    pub samples: u64,
    /// Samples that temperature and score were fitted on; none of them is among the others.
    pub fitted_on: u64,
    /// Whether right answers were known; if not, the base's were taken for them.
    pub labelled: bool,
    /// Samples that exit at the threshold.
    pub exits: u64,
    /// Of these, the base is right and the saver wrong.
    pub harms: u64,
    /// Of these, the reverse.
    pub helps: u64,
    /// What the method bounds.
    pub bound: f64,
    /// Share of frames that the saver will answer, if they are like the samples.
    pub expected_exit_ratio: f64,
    /// SHA-256 over the samples' contents and labels.
    pub data_sha256: String,
}

impl PolicyFile {
    /// Reads one.
    ///
    /// # Errors
    /// It cannot be read, says something impossible, or is of another schema.
    pub fn read(path: &Path) -> Result<Self> {
        let policy: Self = read_toml(path)?;
        if policy.schema != POLICY_SCHEMA {
            bail!(
                "{}: schema {} is not known to this version, which reads schema {POLICY_SCHEMA}",
                path.display(),
                policy.schema
            );
        }
        Ok(policy)
    }

    /// Refuses other models than it was made for.
    ///
    /// # Errors
    /// A hash differs, or the policy names none.
    pub fn check_models(&self, path: &Path, saver: (&str, &str), base: (&str, &str)) -> Result<()> {
        for (role, made_for, (id, sha256)) in [("saver", &self.saver, saver), ("base", &self.base, base)] {
            if made_for.sha256.is_empty() {
                bail!(
                    "{}: it does not say which {role} it was made for, because the imported records did not; import \
                     them again with --model-hash {}=SHA256",
                    path.display(),
                    made_for.id
                );
            }
            if !made_for.sha256.eq_ignore_ascii_case(sha256) {
                bail!(
                    "{}: made for the {role} '{}' ({}...), but the pair's {role} '{id}' is {}...: its promise does not \
                     hold for other models; calibrate again, or choose that {role} with --{role}",
                    path.display(),
                    made_for.id,
                    start(&made_for.sha256),
                    start(sha256)
                );
            }
        }
        Ok(())
    }

    /// The gate that it describes.
    pub fn gate(&self) -> Gate {
        Gate { threshold: self.threshold, temperature: self.temperature, score: self.score }
    }
}

fn start(hash: &str) -> &str {
    hash.get(..16).unwrap_or(hash)
}
