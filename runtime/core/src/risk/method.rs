//! What can be promised, by which method, and what comes of it.

use serde::{Deserialize, Serialize};

use crate::gate::Threshold;
use crate::risk::Counts;

/// How a threshold is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Risk-controlling prediction sets (Bates et al., 2021): with probability 1 - delta over the draw of the calibration
    /// samples, harms are at most epsilon of all frames, and so is the drop.
    Rcps,
    /// Learn then Test (Angelopoulos et al., 2021), fixed sequence: with probability 1 - delta the drop itself, harms less
    /// helps, is at most epsilon.
    LearnThenTest,
    /// Selection with guaranteed risk (Geifman and El-Yaniv, 2017): with probability 1 - delta at most epsilon of the saver's
    /// *accepted* answers are wrong. Says nothing of the base.
    Sgr,
    /// Conformal risk control (Angelopoulos et al., 2022): harms are at most epsilon on average over calibration sets. About
    /// every second one breaks it.
    ConformalRiskControl,
    /// The TinySaver paper's way: the lowest threshold at which these very samples keep within epsilon. No promise.
    Sweep,
}

impl Method {
    /// Every method, the recommended one first.
    pub const ALL: [Self; 5] = [Self::Rcps, Self::LearnThenTest, Self::Sgr, Self::ConformalRiskControl, Self::Sweep];

    /// The name that the command line takes.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Rcps => "rcps",
            Self::LearnThenTest => "ltt",
            Self::Sgr => "sgr",
            Self::ConformalRiskControl => "crc",
            Self::Sweep => "sweep",
        }
    }

    /// What the result promises on frames that nobody has seen, in a few words.
    #[must_use]
    pub fn promises(self) -> &'static str {
        match self {
            Self::Rcps | Self::LearnThenTest => "holds with probability 1 - delta",
            Self::Sgr => "holds with probability 1 - delta, for accepted answers",
            Self::ConformalRiskControl => "in expectation only",
            Self::Sweep => "not a guarantee",
        }
    }

    /// Whether what it promises of its threshold holds of every higher one, too: harms only fall with it, and Learn then
    /// Test has accepted all of them on its way down.
    #[must_use]
    pub fn holds_above(self) -> bool {
        matches!(self, Self::Rcps | Self::LearnThenTest)
    }

    /// Whether a threshold of this method may call itself certified.
    #[must_use]
    pub fn is_certificate(self) -> bool {
        matches!(self, Self::Rcps | Self::LearnThenTest | Self::Sgr)
    }
}

/// What is asked for: at most `epsilon`, except with probability `delta`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Promise {
    epsilon: f64,
    delta: f64,
}

/// No promise can be meant.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum PromiseError {
    /// Epsilon is a share of all frames.
    #[error("epsilon {0} is no share: it must lie between 0 and 1, such as 0.005 for half a percentage point")]
    Epsilon(f64),
    /// Delta is a probability.
    #[error("delta {0} is no probability: it must lie between 0 and 1, such as 0.05")]
    Delta(f64),
}

impl Promise {
    /// Checks both.
    ///
    /// # Errors
    /// One of them is not strictly between 0 and 1.
    pub fn new(epsilon: f64, delta: f64) -> Result<Self, PromiseError> {
        let is_inside = |value: f64| value > 0.0 && value < 1.0;
        if !is_inside(epsilon) {
            return Err(PromiseError::Epsilon(epsilon));
        }
        if !is_inside(delta) {
            return Err(PromiseError::Delta(delta));
        }
        Ok(Self { epsilon, delta })
    }

    /// Share of all frames (of accepted ones for SGR).
    #[must_use]
    pub fn epsilon(&self) -> f64 {
        self.epsilon
    }

    /// Probability that the promise is broken.
    #[must_use]
    pub fn delta(&self) -> f64 {
        self.delta
    }
}

/// A threshold, and what the calibration samples say of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Choice {
    /// Exit iff the confidence is above it.
    pub threshold: Threshold,
    /// Calibration samples that it was chosen on.
    pub samples: u64,
    /// What it does to them.
    pub counts: Counts,
    /// What the method bounds, at this threshold: at most epsilon.
    pub bound: f64,
}

/// The samples cannot support the promise at any threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "{samples} samples cannot support this promise at any threshold: even without a single harm, {needed} are needed; \
     calibrate on more, or ask for a larger epsilon or delta"
)]
pub struct Refusal {
    /// How many there are.
    pub samples: u64,
    /// How many there would have to be.
    pub needed: u64,
}
