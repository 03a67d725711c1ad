//! Live sources: a thread of their own takes frames from the camera, the newest waits in a slot of one, and a camera
//! that fails is opened again.

mod capture;
mod slot;
mod status;

pub use capture::{Capture, CaptureWatch, Opener};
pub use slot::{LatestSlot, Taken};
pub use status::{CaptureState, CaptureStatus};
