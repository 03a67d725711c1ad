//! Every base there is, and what comes back from them.

use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tinysaver_core::route::Degraded;
use tinysaver_offload::client::{Client, Question, RemoteAnswer};

use super::local::{LocalBase, LocalQuestion};

/// The end of one question.
pub struct Message {
    /// Of the frame.
    pub sequence: u64,
    /// When it came.
    pub at: Instant,
    /// Since the question was asked.
    pub took: Duration,
    /// What came.
    pub end: End,
}

/// From whom, and what.
pub enum End {
    /// A server's logits or probabilities, or why there are none.
    Remote(RemoteAnswer),
    /// The local base's logits, or why there are none.
    Local(Result<Vec<f32>, Degraded>),
}

/// The bases on other machines and, if there is one, that on this board.
pub struct Bases {
    /// Those on other machines.
    pub client: Client,
    local: Option<LocalBase>,
    messages: Mutex<Sender<Message>>,
}

impl Bases {
    /// Answers come as messages.
    pub fn new(client: Client, local: Option<LocalBase>, messages: Sender<Message>) -> Self {
        Self { client, local, messages: Mutex::new(messages) }
    }

    /// Whether this board has a base.
    pub fn has_local(&self) -> bool {
        self.local.is_some()
    }

    /// Sends a frame to a server; its end comes as a message in any case, at the deadline at the latest.
    pub fn ask_remote(&self, endpoint: usize, sequence: u64, payload: bytes::Bytes, deadline: Instant) {
        let end = self.messenger(sequence);
        let answer = Box::new(move |answer| end(End::Remote(answer)));
        self.client.ask(endpoint, Question { sequence, payload, deadline, answer });
    }

    /// Starts the base on this board with a frame; its end comes as a message in any case.
    pub fn ask_local(&self, sequence: u64, pixels: &Arc<Vec<u8>>, deadline: Instant) {
        let end = self.messenger(sequence);
        let answer = Box::new(move |answer| end(End::Local(answer)));
        let question = LocalQuestion { pixels: Arc::clone(pixels), deadline, answer };
        let taken = self.local.as_ref().is_some_and(|local| local.ask(question));
        if !taken {
            self.messenger(sequence)(End::Local(Err(Degraded::Busy)));
        }
    }

    fn messenger(&self, sequence: u64) -> impl FnOnce(End) + Send + use<> {
        let sender = self.messages.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let asked_at = Instant::now();
        move |end| {
            let at = Instant::now();
            // Whoever listened may have left at the end of the run.
            let _ = sender.send(Message { sequence, at, took: at - asked_at, end });
        }
    }
}
