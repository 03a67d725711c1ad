//! Which sensor or which profile a figure comes from, as a word that logs and tables can carry.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What a sensor sees, so that a rail is not read as the whole board.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Domain {
    /// Everything that the board draws.
    BoardInput,
    /// A compute module without its carrier board.
    Module,
    /// What the power management chip's rails give, without what does not go through it (USB, 5 V loads) and its losses.
    Rails,
    /// One rail: the processor's, the GPU's.
    Rail,
    /// A processor with its caches and memory controller.
    Package,
    /// What a battery gives.
    Battery,
    /// Whatever somebody wired the sensor to.
    AsWired,
    /// A meter outside, as its owner placed it.
    Outside,
}

impl Domain {
    /// Every domain, from the one that sees most of a board.
    pub const ALL: [Self; 8] = [
        Self::BoardInput,
        Self::Outside,
        Self::Module,
        Self::AsWired,
        Self::Rails,
        Self::Battery,
        Self::Package,
        Self::Rail,
    ];

    /// In words.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::BoardInput => "board input",
            Self::Module => "module",
            Self::Rails => "sum of rails",
            Self::Rail => "one rail",
            Self::Package => "processor package",
            Self::Battery => "battery",
            Self::AsWired => "as wired",
            Self::Outside => "outside meter",
        }
    }
}

/// A sensor or a profile. Its text is `measured:SENSOR [DOMAIN]` or `modelled:PROFILE`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EnergySource {
    /// Read from a sensor.
    Measured {
        /// Its chip and rail.
        sensor: Arc<str>,
        /// What it sees.
        domain: Domain,
    },
    /// Computed by a board's profile.
    Modelled {
        /// The profile's name.
        profile: Arc<str>,
    },
}

/// A text that names no source.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no energy source: 'measured:SENSOR [DOMAIN]' or 'modelled:PROFILE'")]
pub struct SourceError(String);

impl EnergySource {
    /// Whether a sensor gave it.
    #[must_use]
    pub fn is_measured(&self) -> bool {
        matches!(self, Self::Measured { .. })
    }
}

impl fmt::Display for EnergySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Measured { sensor, domain } => write!(f, "measured:{sensor} [{}]", domain.name()),
            Self::Modelled { profile } => write!(f, "modelled:{profile}"),
        }
    }
}

impl FromStr for EnergySource {
    type Err = SourceError;

    fn from_str(text: &str) -> Result<Self, SourceError> {
        let error = || SourceError(text.chars().take(80).collect());
        if let Some(profile) = text.strip_prefix("modelled:").filter(|profile| !profile.is_empty()) {
            return Ok(Self::Modelled { profile: profile.into() });
        }
        let measured = text.strip_prefix("measured:").and_then(|rest| rest.strip_suffix(']')).ok_or_else(error)?;
        let (sensor, name) = measured.rsplit_once(" [").ok_or_else(error)?;
        let domain = Domain::ALL.into_iter().find(|domain| domain.name() == name).ok_or_else(error)?;
        if sensor.is_empty() { Err(error()) } else { Ok(Self::Measured { sensor: sensor.into(), domain }) }
    }
}

impl Serialize for EnergySource {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for EnergySource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn texts_that_name_nothing_are_errors() {
        for text in ["", "measured:", "measured:x", "measured: [module]", "measured:x [moon]", "modelled:", "pi4"] {
            assert!(text.parse::<EnergySource>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_source_reads_back(name in "[ -~]{1,40}", domain in 0usize..8, is_measured: bool) {
            let source = if is_measured {
                EnergySource::Measured { sensor: name.as_str().into(), domain: Domain::ALL[domain] }
            } else {
                EnergySource::Modelled { profile: name.as_str().into() }
            };
            prop_assert_eq!(source.to_string().parse::<EnergySource>(), Ok(source));
        }
    }
}
