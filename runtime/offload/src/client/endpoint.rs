//! One server over time: questions, and watching over it while it is in trouble.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tinysaver_core::route::{Change, RemoteEnd};
use tokio::sync::Notify;

use super::agreement::{Agreement, usable};
use super::exchange::Peer;
use super::probe::{agree, confirm};
use super::{EndpointOptions, Question, RemoteFailure, Shared, lock};

pub(super) struct Endpoint {
    index: usize,
    peer: Peer,
    options: EndpointOptions,
    shared: Arc<Shared>,
    agreement: Mutex<Option<Arc<Agreement>>>,
    /// Wakes the watcher when frames have failed.
    trouble: Notify,
}

impl Endpoint {
    pub fn new(index: usize, peer: Peer, options: EndpointOptions, shared: Arc<Shared>) -> Self {
        Self { index, peer, options, shared, agreement: Mutex::new(None), trouble: Notify::new() }
    }

    /// Looks for the server whenever its breaker says so.
    pub async fn watch(self: Arc<Self>) {
        let mut settled = false;
        loop {
            let retry_at = self.shared.router().retry_at(self.index);
            let Some(retry_at) = retry_at else {
                self.trouble.notified().await;
                continue;
            };
            tokio::time::sleep(retry_at.saturating_sub(self.shared.now())).await;
            if !self.shared.router().trying(self.index, self.shared.now()) {
                continue;
            }
            let result = self.look().await;
            let now = self.shared.now();
            let change = self.shared.router().tried(self.index, now, result.is_ok(), random());
            match (&result, change) {
                (Ok(agreement), _) => log::info!(
                    "base {}: answers, model '{}', {} over {}",
                    self.peer.url,
                    agreement.model,
                    agreement.form.name(),
                    agreement.transport.name()
                ),
                // The first one is news; that it is still not there is not.
                (Err(failure), _) if !settled => log::warn!("base {}: {failure}; looking again", self.peer.url),
                (Err(failure), _) => log::debug!("base {}: {failure}", self.peer.url),
            }
            if !std::mem::replace(&mut settled, true) {
                self.shared.settle_one();
            }
        }
    }

    /// Finds out how to speak to the server, or whether what was found out still holds.
    async fn look(&self) -> Result<Arc<Agreement>, RemoteFailure> {
        self.peer.disconnect();
        let until = Instant::now() + self.shared.patience.probe;
        let known = lock(&self.agreement).clone();
        let looked = tokio::time::timeout_at(until.into(), async {
            match known {
                Some(agreement) => match confirm(&self.peer, &self.options, &agreement, until).await {
                    Ok(()) => Ok(agreement),
                    // Another server may have taken its place.
                    Err(RemoteFailure::Server(_)) => agree(&self.peer, &self.options, until).await.map(Arc::new),
                    Err(other) => Err(other),
                },
                None => agree(&self.peer, &self.options, until).await.map(Arc::new),
            }
        });
        let agreement = looked.await.unwrap_or(Err(RemoteFailure::Deadline))?;
        *lock(&self.agreement) = Some(Arc::clone(&agreement));
        self.shared.agree(self.index, Some(Arc::clone(&agreement)));
        Ok(agreement)
    }

    /// Asks, answers the frame at its deadline at the latest, and learns from what comes after it.
    pub async fn ask(self: Arc<Self>, question: Question) {
        let Question { sequence, payload, deadline, answer } = question;
        let started = Instant::now();
        let left = deadline.saturating_duration_since(started);
        let sent_bytes = payload.len() as u64;
        let exchange = async {
            let agreement = lock(&self.agreement).clone();
            let agreement = agreement.ok_or_else(|| RemoteFailure::Link("not connected yet".into()))?;
            let id = format!("f{sequence}");
            let timeout_us = u64::try_from(left.as_micros()).unwrap_or(u64::MAX);
            let request = agreement.request(&id, &payload, timeout_us)?;
            self.shared.counters.sent_bytes.fetch_add(sent_bytes, Ordering::Relaxed);
            let received = self.peer.infer(agreement.transport, &agreement.model, &request, left).await?;
            self.shared.counters.received_bytes.fetch_add(received.bytes, Ordering::Relaxed);
            Ok((usable(&received.reply, &id, self.options.classes)?, received.bytes))
        };
        let mut exchange = std::pin::pin!(exchange);
        let Ok(result) = tokio::time::timeout_at(deadline.into(), exchange.as_mut()).await else {
            let answered = Err(RemoteFailure::Deadline);
            self.shared.counters.ended(&answered);
            answer(answered);
            let rest = tokio::time::timeout(self.shared.patience.late, exchange.as_mut()).await;
            return self.learn_late(started, rest.unwrap_or(Err(RemoteFailure::Deadline)), sent_bytes);
        };
        let end = self.end(started, &result, sent_bytes);
        let answered = result.map(|(logits, _)| logits);
        self.shared.counters.ended(&answered);
        // Whoever has the answer must find what was learnt from it.
        self.learn(end, answered.as_ref().err().map(ToString::to_string));
        answer(answered);
    }

    fn learn_late(&self, started: Instant, result: Result<(Vec<f32>, u64), RemoteFailure>, sent_bytes: u64) {
        if result.is_ok() {
            self.shared.counters.late.fetch_add(1, Ordering::Relaxed);
        }
        let end = self.end(started, &result, sent_bytes);
        self.learn(end, result.err().map(|failure| failure.to_string()));
    }

    fn end(&self, started: Instant, result: &Result<(Vec<f32>, u64), RemoteFailure>, sent_bytes: u64) -> RemoteEnd {
        match result {
            Ok((_, received)) => {
                RemoteEnd::Answered { round_trip: started.elapsed(), bytes: sent_bytes.saturating_add(*received) }
            }
            Err(RemoteFailure::Deadline) => RemoteEnd::Silent,
            Err(RemoteFailure::Link(_)) => RemoteEnd::Link,
            Err(RemoteFailure::Server(_) | RemoteFailure::Busy(_)) => RemoteEnd::Server,
        }
    }

    fn learn(&self, end: RemoteEnd, why: Option<String>) {
        let now: Duration = self.shared.now();
        let change = self.shared.router().remote_ended(self.index, now, end, random());
        if change == Some(Change::Opened) {
            let why = why.unwrap_or_default();
            log::warn!("base {}: left alone for now: {why}", self.peer.url);
            self.trouble.notify_one();
        }
    }
}

/// Spreads the retries of many boards; nobody's secret depends on it.
#[expect(clippy::cast_precision_loss, reason = "53 bits are enough")]
fn random() -> f64 {
    (RandomState::new().build_hasher().finish() >> 11) as f64 / (1u64 << 53) as f64
}
