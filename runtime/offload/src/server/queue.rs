//! One bounded queue a model, emptied by its workers, which are threads: inference keeps a core busy, the network must
//! not wait for it.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::failure::Failure;
use super::{Worker, WorkerError};
use crate::protocol::{InferRequest, Tensor};

/// A result and where its time went.
#[derive(Debug)]
pub(super) struct Done {
    pub outputs: Vec<Tensor>,
    pub waited: Duration,
    pub computed: Duration,
}

struct Job {
    request: InferRequest,
    since: Instant,
    /// Nobody waits any longer after this.
    until: Instant,
    reply: oneshot::Sender<Result<Done, Failure>>,
}

/// The queue's end that the network holds. Dropping it ends the workers once the queue is empty.
pub(super) struct Queue {
    shared: Arc<Shared>,
    length: usize,
    workers: u64,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    more: Condvar,
    /// Moving average of one inference.
    compute_us: AtomicU64,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    closed: bool,
}

impl Queue {
    /// Starts a thread for each worker.
    pub fn start(name: &str, workers: Vec<Box<dyn Worker>>, length: usize) -> io::Result<Self> {
        let queue = Self { shared: Arc::default(), length, workers: workers.len() as u64 };
        for (index, worker) in workers.into_iter().enumerate() {
            let shared = Arc::clone(&queue.shared);
            std::thread::Builder::new().name(format!("{name}-{index}")).spawn(move || work(&shared, worker))?;
        }
        Ok(queue)
    }

    /// Requests that wait.
    pub fn waiting(&self) -> usize {
        self.shared.lock().jobs.len()
    }

    /// Waits in line for a result, at the longest until `until`. Dropping the future takes the request out.
    pub async fn run(&self, request: InferRequest, until: Instant) -> Result<Done, Failure> {
        let (reply, result) = oneshot::channel();
        self.push(Job { request, since: Instant::now(), until, reply })?;
        match tokio::time::timeout_at(until.into(), result).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(Failure::Model("its worker is gone".into())),
            Err(_) => Err(Failure::Deadline),
        }
    }

    fn push(&self, job: Job) -> Result<(), Failure> {
        let mut state = self.shared.lock();
        if state.jobs.len() >= self.length {
            return Err(Failure::Busy("the queue is full"));
        }
        // Telling somebody now that it will be too late is better than making everybody wait for it.
        let ahead = state.jobs.len() as u64 / self.workers.max(1);
        let compute_us = self.shared.compute_us.load(Ordering::Relaxed);
        if job.since + Duration::from_micros(ahead.saturating_mul(compute_us)) > job.until {
            return Err(Failure::Busy("the queue is longer than the deadline"));
        }
        state.jobs.push_back(job);
        drop(state);
        self.shared.more.notify_one();
        Ok(())
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.more.notify_all();
    }
}

impl Shared {
    /// The state is whole between any two of its changes, so a panic elsewhere does not spoil it.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self) -> Option<Job> {
        let mut state = self.lock();
        loop {
            while let Some(job) = state.jobs.pop_front() {
                if !job.reply.is_closed() && Instant::now() < job.until {
                    return Some(job);
                }
            }
            if state.closed {
                return None;
            }
            state = self.more.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn note(&self, computed: Duration) {
        let new = u64::try_from(computed.as_micros()).unwrap_or(u64::MAX);
        let old = self.compute_us.load(Ordering::Relaxed);
        let average = if old == 0 { new } else { old - old / 8 + new / 8 };
        self.compute_us.store(average, Ordering::Relaxed);
    }
}

fn work(shared: &Shared, mut worker: Box<dyn Worker>) {
    while let Some(job) = shared.next() {
        let started = Instant::now();
        // One request that a backend stumbles over must not take the others' worker away.
        let result = catch_unwind(AssertUnwindSafe(|| worker.infer(&job.request)))
            .unwrap_or_else(|_| Err(WorkerError::Model("it panicked".into())));
        let computed = started.elapsed();
        if result.is_ok() {
            shared.note(computed);
        }
        let done = result.map(|outputs| Done { outputs, waited: started - job.since, computed });
        // Whoever asked may have left meanwhile.
        let _ = job.reply.send(done.map_err(Failure::from));
    }
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
