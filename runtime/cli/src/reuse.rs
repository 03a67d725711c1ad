//! Exit `reused`: the last answer once more, while a camera shows the same scene. The change gate itself is in core.

use std::collections::VecDeque;

use tinysaver_core::{
    Answer, Change, ChangeGate, Exit, InputWay, LumaGrid, Outcome, Record, ReuseCheck, ReuseSettings,
};

/// The change gate, and the answer that may be given again.
pub struct Reuse {
    gate: ChangeGate,
    last: Option<Answer>,
    /// Frames whose answer is not there yet: as many as bases work on.
    waiting: VecDeque<Waiting>,
}

/// A frame that is being classified.
struct Waiting {
    sequence: u64,
    grid: LumaGrid,
    at_us: u64,
    /// Of a frame that is classified only to check: what would have been answered.
    instead_of: Option<usize>,
}

impl Reuse {
    /// Nothing was seen yet.
    pub fn new(settings: ReuseSettings) -> Self {
        Self { gate: ChangeGate::new(settings), last: None, waiting: VecDeque::new() }
    }

    /// The last answer, if frame `sequence` shows the same. If not, the frame is to be classified, and its record shown
    /// to [`Self::learn`].
    pub fn again(&mut self, sequence: u64, grid: LumaGrid, at_us: u64, input: InputWay) -> Option<Answer> {
        let change = self.gate.judge(&grid, at_us);
        if let (Change::Same, Some(last)) = (change, &self.last) {
            let last = last.clone();
            return Some(Answer { exit: Exit::Reused, input: Some(input), reuse_check: None, macs: 0, ..last });
        }
        let instead_of = self.last.as_ref().filter(|_| change == Change::Recheck).map(|last| last.class);
        self.waiting.push_back(Waiting { sequence, grid, at_us, instead_of });
        None
    }

    /// Takes in what a frame was answered; a frame that was to be checked gets its result. Records come in the order of
    /// their frames. What a missing base left to the saver is not given again: the next frame asks anew.
    pub fn learn(&mut self, record: &mut Record) {
        if self.waiting.front().is_none_or(|seen| seen.sequence != record.sequence) {
            return;
        }
        let Some(seen) = self.waiting.pop_front() else { return };
        match &mut record.outcome {
            Outcome::Answered(answer) if answer.exit != Exit::Fallback => {
                let check = |class| ReuseCheck { class, differs: class != answer.class };
                answer.reuse_check = seen.instead_of.map(check);
                self.gate.classified(&seen.grid, seen.at_us);
                self.last = Some(answer.clone());
            }
            Outcome::Answered(_) | Outcome::Dropped { .. } => {
                self.gate.forget();
                self.last = None;
            }
        }
    }
}

#[cfg(test)]
#[path = "reuse_tests.rs"]
mod tests;
