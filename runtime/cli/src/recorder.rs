//! Records of one run: what they have in common, and the frames' numbers.

use std::path::Path;
use std::time::Instant;

use jiff::Timestamp;
use tinysaver_core::spend::BudgetInForce;
use tinysaver_core::{Answer, Outcome, RECORD_SCHEMA, Record, StageMicros};

use crate::cascade::Cascade;
use crate::energy::BoardWatch;
use crate::feed::Feed;
use crate::frames::{Drop, micros_since};
use crate::truth::Truth;

/// Makes the records of a run.
pub struct Recorder {
    /// When the run began.
    pub started: Instant,
    run: String,
    truth: Truth,
    saver_model: String,
    base_model: String,
    board: BoardWatch,
    /// The budget under which the next frame is decided.
    pub budget: Option<BudgetInForce>,
    next_sequence: u64,
}

impl Recorder {
    /// For a run that begins now.
    pub fn new(cascade: &Cascade, truth: Truth, board: BoardWatch) -> Self {
        Self {
            started: Instant::now(),
            run: format!("{}-{}", Timestamp::now().strftime("%Y%m%dT%H%M%SZ"), std::process::id()),
            truth,
            saver_model: cascade.saver.short_hash.clone(),
            base_model: cascade.base.short_hash.clone(),
            board,
            budget: None,
            next_sequence: 0,
        }
    }

    /// The number of the frame in hand.
    pub fn sequence(&self) -> u64 {
        self.next_sequence
    }

    /// So many frames have their records.
    pub fn advance(&mut self, frames: u64) {
        self.next_sequence = self.next_sequence.saturating_add(frames);
    }

    /// The frame in hand has an answer.
    pub fn answered(&self, feed: &Feed, answer: Answer, stages: StageMicros) -> Box<Record> {
        self.record(feed.frame().name.clone(), Outcome::Answered(answer), stages, feed.age_and_latency_us())
    }

    /// The frame in hand has none.
    pub fn dropped(&self, feed: &Feed, Drop { reason, detail }: Drop, stages: StageMicros) -> Box<Record> {
        let name = feed.frame().name.clone();
        log::info!("{name}: {detail}");
        let outcome = Outcome::Dropped { reason, detail, frames: 1 };
        self.record(name, outcome, stages, feed.age_and_latency_us())
    }

    /// Frames that the source dropped.
    pub fn lost(&self, feed: &Feed, outcome: Outcome) -> Box<Record> {
        self.record(feed.address().to_owned(), outcome, StageMicros::default(), (None, 0))
    }

    fn record(
        &self,
        source: String,
        outcome: Outcome,
        stages_us: StageMicros,
        (frame_age_us, latency_us): (Option<u64>, u64),
    ) -> Box<Record> {
        let threshold = match &outcome {
            Outcome::Answered(answer) => Some(answer.threshold),
            Outcome::Dropped { .. } => None,
        };
        Box::new(Record {
            schema: RECORD_SCHEMA,
            run: self.run.clone(),
            sequence: self.next_sequence,
            time_utc: Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string(),
            monotonic_us: micros_since(self.started),
            truth: self.truth.class(Path::new(&source)),
            source,
            outcome,
            stages_us,
            latency_us,
            frame_age_us,
            sent_bytes: None,
            throttle: self.board.throttle_bits(),
            energy: None,
            budget: self.budget.map(|budget| budget.of_frame(threshold)),
            saver_model: self.saver_model.clone(),
            base_model: self.base_model.clone(),
        })
    }
}
