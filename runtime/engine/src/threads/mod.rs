//! Threads that inferences share. Each inference keeps the thread that it was called on, and takes in helpers for steps
//! that are worth it: while other inferences run, so many fewer that all together never want more than there are cores.
//!
//! A step is cut into more parts than there are threads, and who is free takes the next one. So nobody waits for a
//! helper that the system has not woken yet: what it would have done is done by then, and its call is taken back.
//!
//! The caller takes parts from the front and the first helper from the back, so that each finds in its core's cache what it
//! wrote in the step before.

mod helper;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use helper::{Helper, Round};

/// Threads of an inference, and of all inferences together, are at most so many.
pub const MOST_THREADS: usize = 64;

/// Threads for inferences; a copy stands for the same ones. Helpers end with the last copy.
#[derive(Clone)]
pub struct Threads {
    /// `None`: each inference has the thread that it is called on.
    pool: Option<Arc<Pool>>,
}

struct Pool {
    /// Of one inference.
    most: usize,
    /// Of all inferences together.
    together: usize,
    helpers: Vec<Helper>,
    /// How many run now.
    inferences: AtomicUsize,
}

/// An inference that runs. Dropped when it is done.
pub(crate) struct Running<'a>(Option<&'a Pool>);

thread_local! {
    static CURRENT: RefCell<Threads> = const { RefCell::new(Threads::one()) };
}

impl Threads {
    /// One thread for each inference: that which it is called on.
    #[must_use]
    pub const fn one() -> Self {
        Self { pool: None }
    }

    /// At most `most` threads for an inference, and `together` for all inferences that share these; both are cut to
    /// [`MOST_THREADS`]. Helpers sleep until there is something to do.
    ///
    /// # Errors
    /// The system starts no more threads.
    pub fn new(most: NonZeroUsize, together: NonZeroUsize) -> io::Result<Self> {
        let together = together.get().min(MOST_THREADS);
        let most = most.get().min(together);
        if most == 1 {
            return Ok(Self::one());
        }
        let helpers = (1..together).map(Helper::start).collect::<io::Result<Vec<_>>>()?;
        Ok(Self { pool: Some(Arc::new(Pool { most, together, helpers, inferences: AtomicUsize::new(0) })) })
    }

    /// Threads of one inference, at most.
    #[must_use]
    pub fn most(&self) -> usize {
        self.pool.as_ref().map_or(1, |pool| pool.most)
    }

    /// Counts an inference until it is dropped.
    pub(crate) fn begin(&self) -> Running<'_> {
        let pool = self.pool.as_deref();
        if let Some(pool) = pool {
            pool.inferences.fetch_add(1, Ordering::Relaxed);
        }
        Running(pool)
    }

    /// How many threads a step of a running inference may have now.
    pub(crate) fn free(&self) -> usize {
        self.pool.as_deref().map_or(1, |pool| {
            let inferences = pool.inferences.load(Ordering::Relaxed).max(1);
            (pool.together / inferences).clamp(1, pool.most)
        })
    }

    /// Does each of `parts` once, on this thread and on up to `count - 1` helpers that have nothing else to do. `work` is
    /// called once on each, unless it is too late, with the thread's place, from 0 up to `count`, and what gives it part
    /// after part.
    ///
    /// # Panics
    /// Where `work` does, on whichever thread.
    pub(crate) fn share<P: DoubleEndedIterator + Send>(
        &self,
        count: usize,
        parts: P,
        work: impl Fn(usize, &mut dyn Iterator<Item = P::Item>) + Sync,
    ) {
        let parts = Mutex::new(parts);
        let work = |place: usize| {
            let next = || {
                let mut parts = lock(&parts);
                if place.is_multiple_of(2) { parts.next() } else { parts.next_back() }
            };
            work(place, &mut std::iter::from_fn(next));
        };
        match self.pool.as_deref() {
            Some(pool) if count > 1 => Round::with(&pool.helpers, count - 1, &work),
            _ => work(0),
        }
    }

    /// Makes these the ones that [`Threads::current`] gives while `work` runs on this thread: operators of tract are
    /// handed nothing else.
    pub(crate) fn during<T>(&self, work: impl FnOnce() -> T) -> T {
        struct Before(Option<Threads>);
        impl Drop for Before {
            fn drop(&mut self) {
                if let Some(before) = self.0.take() {
                    CURRENT.set(before);
                }
            }
        }
        let _before = Before(Some(CURRENT.replace(self.clone())));
        work()
    }

    /// The ones of the inference that runs on this thread.
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "only x86-64 has operators of ours"))]
    pub(crate) fn current() -> Self {
        CURRENT.with_borrow(Self::clone)
    }
}

/// What is locked so is whole between any two of its changes, or is not read before it is written: a panic elsewhere does
/// not spoil it.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if let Some(pool) = self.0 {
            pool.inferences.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl fmt::Debug for Threads {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pool.as_deref() {
            Some(Pool { most, together, .. }) => write!(formatter, "{most} of {together} threads"),
            None => formatter.write_str("one thread"),
        }
    }
}
