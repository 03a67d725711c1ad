//! Ctrl-C and SIGTERM: the first one finishes the frame in hand, the second one leaves at once.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

/// What a shell reports of a program that SIGINT ended.
const EXIT_CODE: i32 = 130;

/// Becomes true when the user wants to stop.
#[derive(Debug, Clone, Default)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Listens from now on.
    ///
    /// # Errors
    /// The system refuses to hand signals over.
    pub fn listen() -> io::Result<Self> {
        let interrupt = Self::default();
        for signal in [SIGINT, SIGTERM] {
            // The order matters: the shutdown is armed by an earlier signal, and only then is this one noted.
            flag::register_conditional_shutdown(signal, EXIT_CODE, Arc::clone(&interrupt.0))?;
            flag::register(signal, Arc::clone(&interrupt.0))?;
        }
        Ok(interrupt)
    }

    /// Whether to stop before the next frame.
    pub fn requested(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
