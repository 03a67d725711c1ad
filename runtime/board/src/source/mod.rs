//! Where frames come from. A [`Source`] brings one frame after the other into a buffer of its caller's; what kind it is
//! is in its [`SourceAddress`].
//!
//! Invariant: a frame that a source knows of is delivered, or reported as dropped with a reason; none is lost silently.

mod address;
mod clock;
mod drops;
mod fault;
mod frame_buffer;
mod http;
mod jpeg_stream;
mod mjpeg_file;
mod multipart;
pub(crate) mod options;
mod paced;
mod pattern_source;
mod picture_source;
mod rpicam;
mod y4m;

use std::path::PathBuf;

use tinysaver_core::DropReason;

pub use address::{AddressError, SourceAddress, StreamOptions, without_credentials};
#[cfg(test)]
pub(crate) use clock::tests::FakeClock;
pub use clock::{Clock, MonotonicClock};
pub use drops::{Dropped, Drops};
pub use fault::{Fault, FaultKind};
pub use frame_buffer::{Content, FrameBuffer};
pub use http::HttpSource;
pub use jpeg_stream::{JpegSplitter, Split};
pub use mjpeg_file::MjpegFile;
pub use multipart::{MultipartReader, Part};
pub use paced::Paced;
pub use pattern_source::PatternSource;
pub use picture_source::PictureSource;
pub use rpicam::RpicamSource;
pub use y4m::{Y4mFile, Y4mFrame, Y4mHeader, Y4mReader};

/// A frame of more bytes than this is refused: more than a raw 8K picture, little enough for a board.
pub const MAX_FRAME_BYTES: usize = 64 << 20;

/// What a call for the next frame brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// The buffer holds a frame.
    Frame,
    /// A frame came that cannot be used; the buffer has its name.
    Dropped(DropReason, String),
    /// Nothing yet; ask again.
    Idle,
    /// There will be no more.
    End,
}

/// Something that frames come from.
pub trait Source: Send {
    /// Brings the next frame into `frame`, whose memory is used again. A live source waits a fraction of a second for
    /// it, so that its caller can do other things in between, and adds to `drops` what it passed over.
    ///
    /// # Errors
    /// The source is of no more use; a live one may be opened again.
    fn next(&mut self, frame: &mut FrameBuffer, drops: &mut Drops) -> Result<Next, Fault>;

    /// How many frames there are, where that is known.
    fn count(&self) -> Option<u64> {
        None
    }

    /// Files of a source whose frames are files.
    fn paths(&self) -> &[PathBuf] {
        &[]
    }

    /// Frames per second at which the source was recorded, where that is known.
    fn frames_per_second(&self) -> Option<f64> {
        None
    }

    /// What was agreed with a camera and why, in a line for people.
    fn description(&self) -> String {
        String::new()
    }
}

impl Source for Box<dyn Source> {
    fn next(&mut self, frame: &mut FrameBuffer, drops: &mut Drops) -> Result<Next, Fault> {
        (**self).next(frame, drops)
    }

    fn count(&self) -> Option<u64> {
        (**self).count()
    }

    fn paths(&self) -> &[PathBuf] {
        (**self).paths()
    }

    fn frames_per_second(&self) -> Option<f64> {
        (**self).frames_per_second()
    }

    fn description(&self) -> String {
        (**self).description()
    }
}
