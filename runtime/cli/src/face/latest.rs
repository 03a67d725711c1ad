//! A slot of one between two threads: the newest wins.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The newest of something, until somebody takes it.
#[derive(Debug)]
pub struct Latest<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

#[derive(Debug)]
struct State<T> {
    newest: Option<T>,
    is_closed: bool,
}

impl<T> Default for Latest<T> {
    fn default() -> Self {
        Self { state: Mutex::new(State { newest: None, is_closed: false }), changed: Condvar::new() }
    }
}

impl<T> Latest<T> {
    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the last one has been taken.
    pub fn is_empty(&self) -> bool {
        self.state().newest.is_none()
    }

    /// Replaces what nobody took.
    pub fn put(&self, value: T) {
        self.state().newest = Some(value);
        self.changed.notify_one();
    }

    /// Waits for one; `None` after [`close`](Self::close), and when there was none for so long.
    pub fn take(&self, longest: Duration) -> Option<T> {
        let waiting = |state: &mut State<T>| state.newest.is_none() && !state.is_closed;
        let waited = self.changed.wait_timeout_while(self.state(), longest, waiting);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.newest.take()
    }

    /// Nothing more will come.
    pub fn close(&self) {
        self.state().is_closed = true;
        self.changed.notify_all();
    }

    /// Whether nothing more will come.
    pub fn is_closed(&self) -> bool {
        self.state().is_closed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_wins_and_the_end_wakes_who_waits() {
        let slot = Latest::default();
        assert_eq!(slot.take(Duration::ZERO), None);
        slot.put(1);
        slot.put(2);
        assert!(!slot.is_empty());
        assert_eq!((slot.take(Duration::from_secs(60)), slot.is_empty()), (Some(2), true));
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| slot.take(Duration::from_secs(60)));
            slot.close();
            assert_eq!(waiting.join().unwrap(), None);
        });
        assert!(slot.is_closed());
    }
}
