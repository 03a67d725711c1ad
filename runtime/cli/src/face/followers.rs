//! Those who follow the answers of a run, and the pictures that they want.

use std::collections::VecDeque;
use std::sync::Arc;

use tinysaver_board::FrameBuffer;
use tinysaver_core::Record;

/// An answered frame as a follower gets it.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Its record.
    pub record: Record,
    /// The frame itself, for those who wanted it.
    pub picture: Option<Arc<FrameBuffer>>,
}

/// Somebody who follows. Called in the thread that infers: only quick work is allowed.
pub trait Follower {
    /// Whether the frame that was just taken up should be kept.
    fn wants_picture(&self) -> bool {
        false
    }

    /// A frame's record is there: answered or dropped.
    fn take(&mut self, record: &Record, picture: Option<&Arc<FrameBuffer>>);

    /// The run is over.
    fn finish(&mut self) {}
}

/// Pictures that wait for their answers, at most: a base elsewhere may take its time, and memory is small.
const MOST_WAITING: usize = 4;

/// All of them.
#[derive(Default)]
pub struct Followers {
    list: Vec<Box<dyn Follower>>,
    waiting: VecDeque<(u64, Arc<FrameBuffer>)>,
}

impl Followers {
    /// One more.
    pub fn add(&mut self, follower: impl Follower + 'static) {
        self.list.push(Box::new(follower));
    }

    /// A frame is taken up: it is copied if somebody wants it.
    pub fn see(&mut self, sequence: u64, frame: &FrameBuffer) {
        if self.waiting.len() < MOST_WAITING && self.list.iter().any(|follower| follower.wants_picture()) {
            self.waiting.push_back((sequence, Arc::new(frame.clone())));
        }
    }

    /// A record is there. Records come in the order of their frames.
    pub fn take(&mut self, record: &Record) {
        let mut picture = None;
        while let Some((sequence, _)) = self.waiting.front()
            && *sequence <= record.sequence
        {
            let (sequence, frame) = self.waiting.pop_front().unzip();
            picture = frame.filter(|_| sequence == Some(record.sequence));
        }
        for follower in &mut self.list {
            follower.take(record, picture.as_ref());
        }
    }

    /// The run is over.
    pub fn finish(&mut self) {
        for follower in &mut self.list {
            follower.finish();
        }
    }
}

#[cfg(test)]
pub mod tests {
    use std::sync::Mutex;

    use serde_json::json;
    use tinysaver_core::Exit;

    use super::*;

    /// A record for tests, as an exit log holds it.
    pub fn record(sequence: u64, exit: Exit) -> Record {
        let line = json!({
            "schema": 2, "run": "r", "sequence": sequence, "time_utc": "", "monotonic_us": sequence * 100_000,
            "source": "s", "outcome": "answered", "exit": exit, "class": 1, "label": "lion", "probability": 0.75,
            "saver_class": 1, "confidence": 0.75, "threshold": 0.7, "temperature": 1.0, "macs": 100,
            "macs_always_base": 400, "stages_us": {}, "latency_us": 10_000, "saver_model": "", "base_model": "",
        });
        serde_json::from_value(line).unwrap()
    }

    type Got = Arc<Mutex<Vec<(u64, Option<String>)>>>;

    struct Collector(Got, bool);

    impl Follower for Collector {
        fn wants_picture(&self) -> bool {
            self.1
        }

        fn take(&mut self, record: &Record, picture: Option<&Arc<FrameBuffer>>) {
            self.0.lock().unwrap().push((record.sequence, picture.map(|frame| frame.name.clone())));
        }
    }

    #[test]
    fn a_late_answer_gets_the_picture_of_its_own_frame() {
        let got = Got::default();
        let mut followers = Followers::default();
        followers.add(Collector(Arc::clone(&got), true));
        let frame = |name: &str| FrameBuffer { name: name.into(), ..FrameBuffer::default() };
        for sequence in 0..6 {
            followers.see(sequence, &frame(&format!("frame {sequence}")));
        }
        for sequence in [0, 1, 3, 4] {
            followers.take(&record(sequence, Exit::Saver));
        }
        let expected =
            [(0, Some("frame 0".into())), (1, Some("frame 1".into())), (3, Some("frame 3".into())), (4, None)];
        assert_eq!(*got.lock().unwrap(), expected, "frame 4 came when four waited");
    }

    #[test]
    fn nothing_is_copied_for_those_who_want_no_picture() {
        let got = Got::default();
        let mut followers = Followers::default();
        followers.add(Collector(Arc::clone(&got), false));
        followers.see(0, &FrameBuffer::default());
        followers.take(&record(0, Exit::Saver));
        assert_eq!(*got.lock().unwrap(), [(0, None)]);
    }
}
