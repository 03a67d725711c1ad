//! Records in the order of their frames, though some wait for a base and others do not.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use tinysaver_core::energy::FrameEnergy;
use tinysaver_core::route::{Action, Degraded, Event, PendingFrame};
use tinysaver_core::{Exit, Outcome, Prediction, Record, top1_of_scores};
use tinysaver_offload::client::ClientCounts;

use super::bases::{Bases, End, Message};

/// A record that is complete but for the base's answer: the saver's stands in it.
pub struct Draft {
    record: Box<Record>,
    made_at: Instant,
}

impl Draft {
    /// From a record that the saver answered, just now.
    pub fn new(record: Box<Record>) -> Self {
        Self { record, made_at: Instant::now() }
    }

    /// The frame's number.
    pub fn sequence(&self) -> u64 {
        self.record.sequence
    }

    /// How old the frame is.
    pub fn age(&self) -> Duration {
        Duration::from_micros(self.record.latency_us) + self.made_at.elapsed()
    }

    /// Adds to the time of scaling.
    pub fn add_resize_us(&mut self, more_us: u64) {
        let stage = &mut self.record.stages_us.resize;
        *stage = Some(stage.unwrap_or(0) + more_us);
    }

    /// Notes what went to a base elsewhere: how long coding it and handing it over took, and its bytes.
    pub fn sent(&mut self, encode_us: u64, transmit_us: u64, bytes: u64) {
        let stages = &mut self.record.stages_us;
        (stages.encode, stages.transmit, self.record.sent_bytes) = (Some(encode_us), Some(transmit_us), Some(bytes));
    }

    /// The record, answered by the saver for want of a base.
    pub fn fall_back(mut self, reason: Degraded, at: Instant) -> Box<Record> {
        if let Outcome::Answered(answer) = &mut self.record.outcome {
            answer.exit = Exit::Fallback;
            answer.degraded = Some(reason);
        }
        self.stamped(at)
    }

    fn answered(mut self, by: &BaseAnswer, at: Instant, labels: &[String]) -> Box<Record> {
        self.record.stages_us.base = Some(micros(by.took));
        if let Outcome::Answered(answer) = &mut self.record.outcome {
            answer.exit = by.exit;
            answer.class = by.prediction.class;
            answer.label = labels.get(by.prediction.class).cloned().unwrap_or_default();
            answer.probability = by.prediction.probability;
            answer.macs = answer.macs.saturating_add(by.macs);
        }
        self.stamped(at)
    }

    /// The answer was there at that moment, not when the draft was made.
    fn stamped(mut self, at: Instant) -> Box<Record> {
        let waited_us = micros(at.saturating_duration_since(self.made_at));
        self.record.latency_us = self.record.latency_us.saturating_add(waited_us);
        self.record.frame_age_us = self.record.frame_age_us.map(|age_us| age_us.saturating_add(waited_us));
        self.record.monotonic_us = self.record.monotonic_us.saturating_add(waited_us);
        let ago = SignedDuration::try_from(at.elapsed()).unwrap_or_default();
        let answered_at = Timestamp::now().checked_sub(ago).unwrap_or_else(|_| Timestamp::now());
        self.record.time_utc = answered_at.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string();
        self.record
    }
}

/// What a base said.
struct BaseAnswer {
    exit: Exit,
    prediction: Prediction,
    took: Duration,
    macs: u64,
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// A frame that waits.
pub struct Waiting {
    draft: Draft,
    frame: PendingFrame,
    pixels: Arc<Vec<u8>>,
    deadline: Instant,
}

impl Waiting {
    /// `pixels` are for the local base, `deadline` is the frame's.
    pub fn new(draft: Draft, frame: PendingFrame, pixels: Arc<Vec<u8>>, deadline: Instant) -> Self {
        Self { draft, frame, pixels, deadline }
    }
}

enum Slot {
    Ready(Box<Record>),
    Waiting(Box<Waiting>),
    /// Only while its content is being replaced.
    Empty,
}

/// Collects messages, gives records in order.
pub struct Answers {
    slots: VecDeque<(u64, Slot)>,
    bases: Arc<Bases>,
    base_macs: u64,
    waiting: usize,
}

impl Answers {
    /// `base_macs` are what the local base spends on a frame.
    pub fn new(bases: Arc<Bases>, base_macs: u64) -> Self {
        Self { slots: VecDeque::new(), bases, base_macs, waiting: 0 }
    }

    /// Frames that wait for a base.
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// What the client has counted.
    pub fn counts(&self) -> ClientCounts {
        self.bases.client.counts()
    }

    /// A frame that is done.
    pub fn done(&mut self, record: Box<Record>) {
        self.slots.push_back((record.sequence, Slot::Ready(record)));
    }

    /// What has been done for the newest frame, if it waits.
    pub fn newest(&self) -> Option<&Record> {
        match self.slots.back() {
            Some((_, Slot::Waiting(waiting))) => Some(&waiting.draft.record),
            _ => None,
        }
    }

    /// What the work on the newest frame cost, if it waits.
    pub fn book(&mut self, energy: FrameEnergy) {
        if let Some((_, Slot::Waiting(waiting))) = self.slots.back_mut() {
            waiting.draft.record.energy = Some(energy);
        }
    }

    /// A frame that waits.
    pub fn wait(&mut self, waiting: Box<Waiting>) {
        self.waiting += 1;
        self.slots.push_back((waiting.draft.sequence(), Slot::Waiting(waiting)));
    }

    /// The next record, if the oldest frame is done.
    pub fn next_record(&mut self) -> Option<Box<Record>> {
        match self.slots.pop_front()? {
            (_, Slot::Ready(record)) => Some(record),
            other => {
                self.slots.push_front(other);
                None
            }
        }
    }

    /// How long nothing but a message can change anything; `None` where nobody waits.
    pub fn quiet_for(&self) -> Option<Duration> {
        let wake_at = self.slots.iter().filter_map(|(_, slot)| match slot {
            Slot::Waiting(waiting) => waiting.frame.wake_at(),
            Slot::Ready(_) | Slot::Empty => None,
        });
        wake_at.min().map(|at| at.saturating_sub(self.bases.client.now()))
    }

    /// Takes a message in. One about a frame that has its answer changes nothing: late answers end here.
    pub fn take(&mut self, message: Message, labels: &[String]) {
        let Message { sequence, at, took, end } = message;
        let (event, scores, exit, macs) = match end {
            End::Remote(Ok(scores)) => (Event::RemoteAnswered, Some(scores), Exit::BaseRemote, 0),
            End::Remote(Err(failure)) => (Event::RemoteFailed(failure.degraded()), None, Exit::Fallback, 0),
            End::Local(Ok(scores)) => {
                self.bases.client.local_took(took);
                (Event::LocalAnswered, Some(scores), Exit::BaseLocal, self.base_macs)
            }
            End::Local(Err(why)) => (Event::LocalFailed(why), None, Exit::Fallback, 0),
        };
        let prediction = scores.and_then(|scores| top1_of_scores(&scores).ok());
        let answer = prediction.map(|prediction| BaseAnswer { exit, prediction, took, macs });
        self.on(sequence, event, answer, at, labels);
    }

    /// Looks after deadlines and hedges.
    pub fn tick(&mut self, labels: &[String]) {
        let now = Instant::now();
        let waiting = self.slots.iter().filter(|(_, slot)| matches!(slot, Slot::Waiting(_)));
        let waiting: Vec<u64> = waiting.map(|(sequence, _)| *sequence).collect();
        waiting.into_iter().for_each(|sequence| self.on(sequence, Event::Tick, None, now, labels));
    }

    fn on(&mut self, sequence: u64, event: Event, answer: Option<BaseAnswer>, at: Instant, labels: &[String]) {
        let Ok(index) = self.slots.binary_search_by_key(&sequence, |(sequence, _)| *sequence) else { return };
        let Some((_, slot)) = self.slots.get_mut(index) else { return };
        let waiting = match std::mem::replace(slot, Slot::Empty) {
            Slot::Waiting(waiting) => waiting,
            other => {
                *slot = other;
                return;
            }
        };
        *slot = step(waiting, event, answer, at, &self.bases, labels);
        if matches!(slot, Slot::Ready(_)) {
            self.waiting -= 1;
        }
    }
}

fn step(
    mut waiting: Box<Waiting>,
    event: Event,
    answer: Option<BaseAnswer>,
    at: Instant,
    bases: &Bases,
    labels: &[String],
) -> Slot {
    let left = waiting.deadline.saturating_duration_since(Instant::now());
    // By the clock of the event: what came in time counts, even if nobody looked until later.
    let now = bases.client.now().saturating_sub(at.elapsed());
    match (waiting.frame.on(now, event, bases.client.local_fits(left)), answer) {
        (Action::Wait, _) => Slot::Waiting(waiting),
        (Action::StartLocal, _) => {
            bases.ask_local(waiting.draft.sequence(), &waiting.pixels, waiting.deadline);
            Slot::Waiting(waiting)
        }
        (Action::TakeRemote | Action::TakeLocal, Some(answer)) => {
            Slot::Ready(waiting.draft.answered(&answer, at, labels))
        }
        // Numbers that say nothing are no answer.
        (Action::TakeRemote, None) => Slot::Ready(waiting.draft.fall_back(Degraded::Server, at)),
        (Action::TakeLocal, None) => Slot::Ready(waiting.draft.fall_back(Degraded::Local, at)),
        (Action::FallBack(reason), _) => Slot::Ready(waiting.draft.fall_back(reason, at)),
    }
}
