//! Whether the run is well: readiness follows frames, not the process.

use std::time::{Duration, Instant};

use serde::Serialize;
use tinysaver_board::{CaptureState, CaptureStatus};

/// The answer to `/v2/health/ready`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Readiness {
    pub ready: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Decides from plain values.
pub(super) fn readiness(
    answered: u64,
    last_at: Instant,
    now: Instant,
    stale: Duration,
    capture: Option<&CaptureStatus>,
) -> Readiness {
    let no = |reason: String| Readiness { ready: false, reason: Some(reason) };
    if let Some(CaptureStatus { state: CaptureState::Reopening, last_fault, .. }) = capture {
        let fault = last_fault.as_deref().unwrap_or("it failed");
        return no(format!("the source is being opened again: {fault}"));
    }
    let silent = now.saturating_duration_since(last_at);
    if answered == 0 {
        return no(format!("no frame was answered yet, {:.1} s after the start", silent.as_secs_f64()));
    }
    if silent > stale {
        return no(format!("no frame was answered for {:.1} s", silent.as_secs_f64()));
    }
    Readiness { ready: true, reason: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readiness_follows_frames() {
        let start = Instant::now();
        let check = |answered, seconds, state: Option<CaptureState>| {
            let status =
                state.map(|state| CaptureStatus { state, last_fault: Some("EIO".into()), ..CaptureStatus::default() });
            readiness(answered, start, start + Duration::from_secs(seconds), Duration::from_secs(10), status.as_ref())
        };
        assert_eq!(check(1, 10, None), Readiness { ready: true, reason: None });
        assert!(check(5, 0, Some(CaptureState::Streaming)).ready);
        let reason = |readiness: Readiness| readiness.reason.unwrap();
        assert!(reason(check(1, 11, None)).contains("no frame was answered for 11.0 s"));
        assert!(reason(check(0, 1, Some(CaptureState::Opened))).contains("no frame was answered yet"));
        assert!(reason(check(9, 0, Some(CaptureState::Reopening))).contains("opened again: EIO"));
    }
}
