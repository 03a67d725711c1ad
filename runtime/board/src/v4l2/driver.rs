//! What a stream needs of a driver, so that tests can bring one that fails on demand.

use std::io;
use std::time::Duration;

use super::sys::Filled;
use crate::source::FrameBuffer;
use crate::system::Ready;

/// A driver that fills buffers. Each is either its own or ours: ours from [`dequeue`](Self::dequeue) to
/// [`queue`](Self::queue).
pub(super) trait Driver: Send {
    /// Waits until there is something to take.
    fn wait(&mut self, timeout: Duration) -> io::Result<Ready>;

    /// The oldest filled buffer; `None` if there is none.
    fn dequeue(&mut self) -> io::Result<Option<Filled>>;

    /// Takes an event; true if the incoming picture changed.
    fn take_event(&mut self) -> io::Result<bool>;

    /// Copies a filled buffer's picture and says how it lies. The error is that of a picture that is not all there.
    fn copy(&mut self, filled: &Filled, frame: &mut FrameBuffer) -> Result<(), String>;

    /// Gives a buffer back.
    fn queue(&mut self, index: u32) -> io::Result<()>;
}
