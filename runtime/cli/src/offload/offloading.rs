//! Bases on other machines, and the frames that wait for them.

use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::Result;
use tinysaver_core::Record;
use tinysaver_core::energy::FrameEnergy;
use tinysaver_core::route::RoutePrices;
use tinysaver_offload::client::ClientCounts;

use super::answers::{Answers, Draft};
use super::bases::Message;
use super::escalator::{Escalated, Escalator};
use super::settings::OffloadSettings;
use crate::cascade::Cascade;
use crate::frames::{Drop, Image};
use crate::pair::Pair;

/// Sends frames off and gives their records back, all in the order of the frames.
pub struct Offload {
    escalator: Escalator,
    answers: Answers,
    messages: Receiver<Message>,
    labels: Vec<String>,
}

impl Offload {
    /// Looks for the servers; takes the local base out of the cascade onto a thread of its own.
    ///
    /// # Errors
    /// Certificates or a pair that cannot be used. Servers need not be there.
    pub fn start(
        pair: &Pair,
        cascade: &mut Cascade,
        settings: &OffloadSettings,
        prices: Option<RoutePrices>,
    ) -> Result<Self> {
        let (sender, messages) = channel();
        let local = cascade.local_base.take();
        let labels = cascade.labels.clone();
        let escalator = Escalator::start(pair, &cascade.base.entry, labels.len(), settings, prices, local, sender)?;
        let answers = Answers::new(escalator.bases(), cascade.base.macs);
        Ok(Self { escalator, answers, messages, labels })
    }

    /// Sends a frame on its way; gives the record back where no base can help. `coded` is the JPEG that the frame came
    /// as, if it did.
    ///
    /// # Errors
    /// The frame cannot be scaled or coded.
    pub fn escalate(&mut self, image: &Image, coded: Option<&[u8]>, draft: Draft) -> Result<Option<Box<Record>>, Drop> {
        match self.escalator.escalate(image, coded, draft).map_err(|error| Drop::from(&error))? {
            Escalated::Waits(waiting) => {
                self.answers.wait(waiting);
                Ok(None)
            }
            Escalated::Falls(draft, reason) => Ok(Some(draft.fall_back(reason, Instant::now()))),
        }
    }

    /// A frame that is done; its record waits for those before it.
    pub fn done(&mut self, record: Box<Record>) {
        self.answers.done(record);
    }

    /// What has been done for the frame that was just sent off.
    pub fn newest(&self) -> Option<&Record> {
        self.answers.newest()
    }

    /// What the work on the frame that was just sent off cost.
    pub fn book(&mut self, energy: FrameEnergy) {
        self.answers.book(energy);
    }

    /// Takes in what bases have said meanwhile, and looks after deadlines and hedges.
    pub fn collect(&mut self) {
        let Self { answers, messages, labels, .. } = self;
        messages.try_iter().for_each(|message| answers.take(message, labels));
        answers.tick(labels);
    }

    /// The next record, if the oldest frame is done.
    pub fn next_record(&mut self) -> Option<Box<Record>> {
        self.answers.next_record()
    }

    /// Whether frames wait.
    pub fn is_waiting(&self) -> bool {
        self.answers.waiting() > 0
    }

    /// Whether no base can take another frame.
    pub fn is_full(&self) -> bool {
        self.answers.waiting() >= self.escalator.max_waiting()
    }

    /// How long nothing but a message can change anything.
    pub fn quiet_for(&self) -> Duration {
        self.answers.quiet_for().unwrap_or(Duration::MAX)
    }

    /// Waits for a message, or until something else is due, but no longer than that.
    pub fn wait(&mut self, longest: Duration) {
        // The answers hold a sender themselves, so the channel is never closed.
        match self.messages.recv_timeout(self.quiet_for().min(longest)) {
            Ok(message) => self.answers.take(message, &self.labels),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
        }
    }

    /// What the client has counted.
    pub fn counts(&self) -> ClientCounts {
        self.answers.counts()
    }
}
