//! What a live source is doing, for health checks, metrics and summaries.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::source::{Fault, FaultKind};

/// Whether frames can be expected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CaptureState {
    /// Opened; no frame yet.
    #[default]
    Opened,
    /// Frames come.
    Streaming,
    /// It failed and is being opened again.
    Reopening,
}

/// A live source's counters.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct CaptureStatus {
    /// What it is doing.
    pub state: CaptureState,
    /// Frames that it delivered, dropped ones not counted.
    pub frames: u64,
    /// How often it was opened again.
    pub reopens: u64,
    /// Faults by kind, failed tries to open it included.
    pub faults: BTreeMap<FaultKind, u64>,
    /// The last fault in words.
    pub last_fault: Option<String>,
    /// When the last frame came, on the capturing clock's scale.
    #[serde(skip)]
    pub last_frame_at: Option<Duration>,
    /// What was agreed with the camera, and why.
    pub description: String,
}

impl CaptureStatus {
    pub(super) fn fault(&mut self, fault: &Fault) {
        self.state = CaptureState::Reopening;
        let count = self.faults.entry(fault.kind).or_default();
        *count = count.saturating_add(1);
        self.last_fault = Some(fault.detail.clone());
    }
}
