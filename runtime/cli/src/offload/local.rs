//! The base on this board, on a thread of its own: it may take seconds, and the saver must not wait for it.

use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::time::Instant;

use anyhow::Result;
use tinysaver_core::route::Degraded;

use crate::cascade::Stage;

/// As many as a server takes at the same time. Those whose deadline passes while they wait are not run.
const MAX_WAITING: usize = 4;

/// A frame for the base.
pub struct LocalQuestion {
    /// Its pixels, cropped and scaled.
    pub pixels: std::sync::Arc<Vec<u8>>,
    /// After this nobody waits for it.
    pub deadline: Instant,
    /// Takes the logits, on the base's thread.
    pub answer: Box<dyn FnOnce(Result<Vec<f32>, Degraded>) + Send>,
}

/// The base's thread, which ends when this is dropped.
pub struct LocalBase {
    questions: Option<SyncSender<LocalQuestion>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl LocalBase {
    /// Starts it.
    ///
    /// # Errors
    /// The system refuses a thread.
    pub fn start(mut base: Stage) -> std::io::Result<Self> {
        let (questions, receiver) = sync_channel::<LocalQuestion>(MAX_WAITING);
        let thread = std::thread::Builder::new().name("base".into()).spawn(move || {
            for question in receiver {
                if Instant::now() >= question.deadline {
                    (question.answer)(Err(Degraded::Deadline));
                    continue;
                }
                let answer = base.infer_pixels(&question.pixels).map(<[f32]>::to_vec).map_err(|error| {
                    log::warn!("the base failed on a frame: {error:#}");
                    Degraded::Local
                });
                (question.answer)(answer);
            }
        })?;
        Ok(Self { questions: Some(questions), thread: Some(thread) })
    }

    /// Asks; false where it has too much to do already, and then `answer` is never called.
    pub fn ask(&self, question: LocalQuestion) -> bool {
        match &self.questions {
            Some(questions) => {
                !matches!(questions.try_send(question), Err(TrySendError::Full(_) | TrySendError::Disconnected(_)))
            }
            None => false,
        }
    }
}

impl Drop for LocalBase {
    fn drop(&mut self) {
        self.questions = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("the base's thread panicked");
        }
    }
}
