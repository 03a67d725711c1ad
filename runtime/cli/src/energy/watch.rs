//! What holds the board back, its heat and its battery: read every other second by a thread of its own, because some of
//! it is asked of slow firmware.

use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tinysaver_board::Throttle;
use tinysaver_board::power::{Health, RealTree, read_health};
use tinysaver_core::spend::Conditions;

const INTERVAL: Duration = Duration::from_secs(2);

/// What was read last; for any thread.
#[derive(Debug, Clone, Default)]
pub struct BoardWatch(Arc<Mutex<Health>>);

impl BoardWatch {
    /// What holds the board back.
    pub fn throttle(&self) -> Throttle {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).throttle
    }

    /// What a budget has to heed.
    pub fn conditions(&self) -> Conditions {
        let health = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Conditions {
            throttled: !health.throttle.now().is_empty(),
            battery_low: health.battery_is_low(),
            battery_joules: health.battery_joules(),
        }
    }

    /// The bits for a record; `None` where the board cannot tell.
    pub fn throttle_bits(&self) -> Option<u32> {
        throttle_bits(self.throttle())
    }

    fn set(&self, health: Health) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = health;
    }
}

/// The bits, where the board can tell.
pub fn throttle_bits(throttle: Throttle) -> Option<u32> {
    match throttle {
        Throttle::Unknown => None,
        Throttle::Bits(bits) => Some(bits),
    }
}

/// The thread, which ends when this is dropped.
pub struct BoardWatcher {
    watch: BoardWatch,
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl BoardWatcher {
    /// Reads once at once; a board that tells nothing gets no thread.
    ///
    /// # Errors
    /// The system refuses a thread.
    pub fn start(root: &Path) -> std::io::Result<Self> {
        let (tree, watch) = (RealTree::new(root), BoardWatch::default());
        let health = read_health(&tree);
        let tells = health.throttle != Throttle::Unknown || !health.batteries.is_empty();
        watch.set(health);
        if !tells {
            return Ok(Self { watch, stop: None, thread: None });
        }
        let (stop, stopped) = channel::<()>();
        let of_thread = watch.clone();
        let thread = std::thread::Builder::new().name("board".into()).spawn(move || {
            while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(INTERVAL) {
                of_thread.set(read_health(&tree));
            }
        })?;
        Ok(Self { watch, stop: Some(stop), thread: Some(thread) })
    }

    /// What it reads.
    pub fn watch(&self) -> BoardWatch {
        self.watch.clone()
    }
}

impl Drop for BoardWatcher {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("the thread that watches the board panicked");
        }
    }
}
