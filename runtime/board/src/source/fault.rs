//! Why a source can give no more frames.

use std::fmt;

use serde::Serialize;

/// The kind, for counting and for what to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// It is there and sends nothing.
    Timeout,
    /// Its driver, its connection or its process failed.
    Io,
    /// It was unplugged, or its node or server is not there.
    Gone,
    /// It now sends another format or size than was agreed.
    Changed,
    /// It ended by itself: the server closed the stream, the process ended.
    Ended,
    /// Somebody else uses it.
    Busy,
    /// It is there and cannot be used as asked: no permission, no usable format, not a camera, not a stream.
    Refused,
}

impl FaultKind {
    /// The name in logs, metrics and tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Io => "io",
            Self::Gone => "gone",
            Self::Changed => "changed",
            Self::Ended => "ended",
            Self::Busy => "busy",
            Self::Refused => "refused",
        }
    }
}

/// A source failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// How.
    pub kind: FaultKind,
    /// What happened, and what to try where that is known.
    pub detail: String,
}

impl Fault {
    /// A fault in words.
    pub fn new(kind: FaultKind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for Fault {}
