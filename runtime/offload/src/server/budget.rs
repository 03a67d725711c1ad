//! Memory that all requests share.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How much is left for everybody.
#[derive(Debug)]
pub(super) struct Budget {
    used_bytes: AtomicUsize,
    max_bytes: usize,
}

impl Budget {
    pub fn new(max_bytes: usize) -> Arc<Self> {
        Arc::new(Self { used_bytes: AtomicUsize::new(0), max_bytes })
    }
}

/// What one request has taken; given back when the last holder lets go.
#[derive(Debug)]
pub(super) struct Charge {
    budget: Arc<Budget>,
    taken_bytes: AtomicUsize,
}

impl Charge {
    pub fn new(budget: &Arc<Budget>) -> Arc<Self> {
        Arc::new(Self { budget: Arc::clone(budget), taken_bytes: AtomicUsize::new(0) })
    }

    /// Takes more, or says that there is no more.
    pub fn take(&self, bytes: usize) -> bool {
        let more = |used: usize| used.checked_add(bytes).filter(|&sum| sum <= self.budget.max_bytes);
        let taken = self.budget.used_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok();
        if taken {
            self.taken_bytes.fetch_add(bytes, Ordering::Relaxed);
        }
        taken
    }

    pub fn taken_bytes(&self) -> usize {
        self.taken_bytes.load(Ordering::Relaxed)
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.used_bytes.fetch_sub(self.taken_bytes(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_comes_back() {
        let budget = Budget::new(10);
        let (a, b) = (Charge::new(&budget), Charge::new(&budget));
        assert!(a.take(6) && b.take(4) && !b.take(1));
        drop(a);
        assert!(!b.take(7) && b.take(6) && !b.take(usize::MAX));
        drop(b);
        assert_eq!(budget.used_bytes.load(Ordering::Relaxed), 0);
    }
}
