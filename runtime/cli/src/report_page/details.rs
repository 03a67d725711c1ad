//! What the page shows beyond the summary: exits over time and the frames worth a look. Bounded memory.

use std::cmp::Ordering;

use tinysaver_core::{Answer, Exit, Outcome, Record};

/// Columns of the plot over time.
const MOST_BINS: usize = 120;

/// Frames in each list.
const LISTED: usize = 5;

/// A stretch of the log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Bin {
    pub(super) frames: u64,
    pub(super) first_utc: String,
    pub(super) last_utc: String,
    /// In the order of [`Exit::ALL`].
    pub(super) exits: [u64; Exit::ALL.len()],
    pub(super) dropped: u64,
}

impl Bin {
    fn add(&mut self, record: &Record) {
        if self.frames == 0 {
            self.first_utc.clone_from(&record.time_utc);
        }
        self.frames += 1;
        self.last_utc.clone_from(&record.time_utc);
        match record.answer() {
            None => self.dropped += 1,
            Some(answer) => {
                let counts = Exit::ALL.iter().zip(&mut self.exits);
                counts.filter(|(exit, _)| **exit == answer.exit).for_each(|(_, count)| *count += 1);
            }
        }
    }

    fn merge(&mut self, later: &Self) {
        self.frames += later.frames;
        self.last_utc.clone_from(&later.last_utc);
        self.dropped += later.dropped;
        self.exits.iter_mut().zip(later.exits).for_each(|(count, more)| *count += more);
    }
}

/// Frames in log order, not on the clock: boards often start with a wrong clock, and a night without frames is no plot.
#[derive(Debug, Clone)]
pub(super) struct Timeline {
    pub(super) frames_per_bin: u64,
    pub(super) bins: Vec<Bin>,
}

impl Timeline {
    fn add(&mut self, record: &Record) {
        let begins = self.bins.last().is_none_or(|bin| bin.frames >= self.frames_per_bin);
        if begins && self.bins.len() >= MOST_BINS {
            self.halve();
        }
        if begins {
            self.bins.push(Bin::default());
        }
        if let Some(bin) = self.bins.last_mut() {
            bin.add(record);
        }
    }

    /// Pairs become one. All are full here, so they stay equally wide.
    fn halve(&mut self) {
        let pairs = self.bins.chunks(2).filter_map(|pair| {
            let (first, rest) = pair.split_first()?;
            let mut merged = first.clone();
            rest.iter().for_each(|later| merged.merge(later));
            Some(merged)
        });
        self.bins = pairs.collect();
        self.frames_per_bin *= 2;
    }
}

/// One frame in a list.
#[derive(Debug, Clone)]
pub(super) struct Frame {
    pub(super) source: String,
    pub(super) time_utc: String,
    pub(super) latency_us: u64,
    pub(super) answer: Answer,
    pub(super) correct: Option<bool>,
}

/// The first few frames in some order.
#[derive(Debug, Clone)]
struct Top {
    frames: Vec<Frame>,
    order: fn(&Frame, &Frame) -> Ordering,
}

impl Top {
    fn new(order: fn(&Frame, &Frame) -> Ordering) -> Self {
        Self { frames: Vec::with_capacity(LISTED + 1), order }
    }

    fn add(&mut self, frame: &Frame) {
        let place = self.frames.partition_point(|listed| (self.order)(listed, frame).is_le());
        if place < LISTED {
            self.frames.insert(place, frame.clone());
            self.frames.truncate(LISTED);
        }
    }
}

/// Collects the page's details record by record.
#[derive(Debug, Clone)]
pub struct Details {
    pub(super) timeline: Timeline,
    slowest: Top,
    least_sure: Top,
}

impl Default for Details {
    fn default() -> Self {
        Self {
            timeline: Timeline { frames_per_bin: 1, bins: Vec::new() },
            slowest: Top::new(|one, other| other.latency_us.cmp(&one.latency_us)),
            least_sure: Top::new(|one, other| one.answer.confidence.total_cmp(&other.answer.confidence)),
        }
    }
}

impl Details {
    /// Looks at one record.
    pub fn add(&mut self, record: &Record) {
        self.timeline.add(record);
        if let Outcome::Answered(answer) = &record.outcome {
            let frame = Frame {
                source: record.source.clone(),
                time_utc: record.time_utc.clone(),
                latency_us: record.latency_us,
                answer: answer.clone(),
                correct: record.correct(),
            };
            self.slowest.add(&frame);
            self.least_sure.add(&frame);
        }
    }

    pub(super) fn slowest(&self) -> &[Frame] {
        &self.slowest.frames
    }

    pub(super) fn least_sure(&self) -> &[Frame] {
        &self.least_sure.frames
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit_log::tests::sample;

    #[test]
    fn the_timeline_stays_bounded_and_loses_no_frame() {
        let mut details = Details::default();
        for sequence in 0..1000 {
            details.add(&sample(sequence));
            let bins = &details.timeline.bins;
            assert!(bins.len() <= MOST_BINS);
            assert_eq!(bins.iter().map(|bin| bin.exits[1]).sum::<u64>(), sequence + 1);
        }
        assert_eq!(details.timeline.frames_per_bin, 16);
        assert_eq!(details.timeline.bins.len(), 63);
        assert!(details.timeline.bins[..62].iter().all(|bin| bin.frames == 16));
    }

    #[test]
    fn lists_hold_the_extremes_and_the_earlier_of_equals() {
        let mut details = Details::default();
        for sequence in 0..50 {
            let mut record = sample(sequence);
            record.source = sequence.to_string();
            record.latency_us = [7, 100, 3][usize::try_from(sequence % 3).unwrap()] + u64::from(sequence == 30);
            details.add(&record);
        }
        let sources: Vec<_> = details.slowest().iter().map(|frame| frame.source.as_str()).collect();
        assert_eq!(sources, ["1", "4", "7", "10", "13"]);
        assert_eq!(details.least_sure().len(), 5);
    }
}
