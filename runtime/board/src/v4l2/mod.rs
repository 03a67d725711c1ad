//! Cameras through Video4Linux: which there are, what they offer, what to take, and their frames.
//!
//! The crate `v4l` opens devices and lists what they offer. Streaming is our own: `v4l`'s stream is of no use after its
//! first timeout, hands over the whole buffer instead of the used part, and the oldest frame instead of the newest.

mod address;
mod device;
mod driver;
mod mmap_driver;
mod negotiate;
mod offers;
mod source;
#[allow(unsafe_code)]
mod sys;

pub use address::V4l2Address;
pub use device::{CameraInfo, list_cameras};
pub use negotiate::{Choice, Wish, choose};
pub use offers::{FormatOffer, RateRange, SizeOffer, SizeRange};
pub use source::V4l2Opener;
