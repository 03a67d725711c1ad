//! What has been answered so far, and lately: counts since the start, and a window of the last answers.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use serde::Serialize;
use tinysaver_core::{DropReason, Exit, Outcome, Record};

/// Answers in the window.
const WINDOW: usize = 512;
/// How far back the frame rate looks.
const RATE_SPAN: Duration = Duration::from_secs(3);

/// One answer of the window.
#[derive(Debug, Clone, Copy)]
struct Recent {
    at: Instant,
    latency_us: u64,
}

/// The tally of a run.
#[derive(Debug, Clone)]
pub struct Answers {
    exits: BTreeMap<Exit, u64>,
    dropped: BTreeMap<DropReason, u64>,
    macs: u128,
    macs_always_base: u128,
    recent: VecDeque<Recent>,
    started: Instant,
    last: Option<Record>,
}

/// Latency of the window.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct RecentLatency {
    /// How many answers.
    pub n: usize,
    /// Half were faster.
    pub p50_ms: f64,
    /// Nine of ten were.
    pub p90_ms: f64,
    /// Ninety-nine of a hundred were.
    pub p99_ms: f64,
}

impl Answers {
    /// None yet.
    pub fn new(now: Instant) -> Self {
        Self {
            exits: Exit::ALL.into_iter().map(|exit| (exit, 0)).collect(),
            dropped: BTreeMap::new(),
            macs: 0,
            macs_always_base: 0,
            recent: VecDeque::with_capacity(WINDOW),
            started: now,
            last: None,
        }
    }

    /// One more record.
    pub fn add(&mut self, record: &Record, now: Instant) {
        match &record.outcome {
            Outcome::Dropped { reason, frames, .. } => *self.dropped.entry(*reason).or_default() += frames,
            Outcome::Answered(answer) => {
                *self.exits.entry(answer.exit).or_default() += 1;
                self.macs += u128::from(answer.macs);
                self.macs_always_base += u128::from(answer.macs_always_base);
                if self.recent.len() == WINDOW {
                    self.recent.pop_front();
                }
                self.recent.push_back(Recent { at: now, latency_us: record.latency_us });
                self.last = Some(record.clone());
            }
        }
    }

    /// Answers by exit; every exit is there.
    pub fn exits(&self) -> &BTreeMap<Exit, u64> {
        &self.exits
    }

    /// Frames without an answer, by reason.
    pub fn dropped(&self) -> &BTreeMap<DropReason, u64> {
        &self.dropped
    }

    /// All answers.
    pub fn answered(&self) -> u64 {
        self.exits.values().sum()
    }

    /// The newest answer.
    pub fn last(&self) -> Option<&Record> {
        self.last.as_ref()
    }

    /// When the newest answer came, or the run began.
    pub fn last_at(&self) -> Instant {
        self.recent.back().map_or(self.started, |recent| recent.at)
    }

    /// The part of the base's operations that was not spent; `None` before the first answer.
    #[expect(clippy::cast_precision_loss, reason = "a ratio to look at")]
    pub fn saved_ratio(&self) -> Option<f64> {
        (self.macs_always_base > 0).then(|| 1.0 - self.macs as f64 / self.macs_always_base as f64)
    }

    /// Answers per second over the last seconds; `None` where there are fewer than two.
    pub fn frames_per_second(&self, now: Instant) -> Option<f64> {
        let is_recent = |recent: &&Recent| now.saturating_duration_since(recent.at) <= RATE_SPAN;
        let (count, first) = self
            .recent
            .iter()
            .rev()
            .take_while(is_recent)
            .fold((0u32, None), |(count, _), recent| (count + 1, Some(recent.at)));
        let span = self.recent.back()?.at.saturating_duration_since(first?).as_secs_f64();
        (count >= 2 && span > 0.0).then(|| f64::from(count - 1) / span)
    }

    /// Latency of the last answers; `None` before the first.
    pub fn latency(&self) -> Option<RecentLatency> {
        let mut sorted: Vec<u64> = self.recent.iter().map(|recent| recent.latency_us).collect();
        sorted.sort_unstable();
        let n = sorted.len();
        #[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
        let at = |percent: usize| {
            // The nearest rank: the smallest value that so many of a hundred do not exceed.
            let rank = (n * percent).div_ceil(100).max(1);
            sorted.get(rank - 1).map(|&us| us as f64 / 1e3)
        };
        Some(RecentLatency { n, p50_ms: at(50)?, p90_ms: at(90)?, p99_ms: at(99)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::face::followers::tests::record;

    #[test]
    fn counts_rates_and_percentiles() {
        let start = Instant::now();
        let mut answers = Answers::new(start);
        assert_eq!((answers.frames_per_second(start), answers.latency(), answers.last_at()), (None, None, start));
        for index in 0..100u64 {
            let mut one = record(index, if index % 4 == 0 { Exit::BaseLocal } else { Exit::Saver });
            one.latency_us = (index + 1) * 1000;
            answers.add(&one, start + Duration::from_millis(100 * index));
        }
        let now = answers.last_at();
        assert_eq!(now, start + Duration::from_millis(9900));
        let rate = answers.frames_per_second(now).unwrap();
        assert!((rate - 10.0).abs() < 1e-9, "{rate}");
        assert_eq!(answers.frames_per_second(now + Duration::from_secs(10)), None, "the past is no rate");
        assert_eq!(answers.latency().unwrap(), RecentLatency { n: 100, p50_ms: 50.0, p90_ms: 90.0, p99_ms: 99.0 });
        assert_eq!((answers.exits()[&Exit::Saver], answers.exits()[&Exit::Fallback], answers.answered()), (75, 0, 100));
        assert_eq!(answers.saved_ratio(), Some(0.75));
        let mut drop = record(100, Exit::Saver);
        drop.outcome = Outcome::Dropped { reason: DropReason::Superseded, detail: String::new(), frames: 7 };
        answers.add(&drop, now);
        assert_eq!((answers.dropped()[&DropReason::Superseded], answers.answered()), (7, 100));
    }

    #[test]
    fn the_window_forgets() {
        let start = Instant::now();
        let mut answers = Answers::new(start);
        for index in 0..2000 {
            answers.add(&record(index, Exit::Saver), start);
        }
        assert_eq!((answers.latency().unwrap().n, answers.answered()), (WINDOW, 2000));
    }
}
