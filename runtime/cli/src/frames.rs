//! From a frame's bytes to what a model can be given.

use std::time::Instant;

use tinysaver_board::{Content, DecodeError, DecodeLimits, FrameBuffer, FrameView, Picture, decode};
use tinysaver_core::{DropReason, StageMicros};

/// Why a frame got no answer.
pub struct Drop {
    /// The kind.
    pub reason: DropReason,
    /// The error's own words.
    pub detail: String,
}

/// A frame that can be scaled into a model's input.
pub enum Image<'a> {
    /// A decoded picture.
    Still(Picture),
    /// Pixels as the camera laid them.
    Frame(FrameView<'a>),
}

impl<'a> Image<'a> {
    /// Decodes what is coded, and checks what is not; notes how long it took.
    pub fn of(frame: &'a FrameBuffer, limits: DecodeLimits, stages: &mut StageMicros) -> Result<Self, Drop> {
        let started = Instant::now();
        let image = match frame.content {
            Content::File | Content::Jpeg => {
                Self::Still(decode(&frame.bytes, limits).map_err(|error| Drop::from(&error))?)
            }
            Content::Pixels { .. } => return Self::view(frame),
        };
        stages.decode = Some(micros_since(started));
        Ok(image)
    }

    fn view(frame: &'a FrameBuffer) -> Result<Self, Drop> {
        let damaged = |detail: String| Drop { reason: DropReason::Damaged, detail };
        match frame.view() {
            Some(Ok(view)) => Ok(Self::Frame(view)),
            Some(Err(error)) => Err(damaged(error.to_string())),
            None => Err(damaged("no pixels".into())),
        }
    }
}

impl From<&DecodeError> for Drop {
    fn from(error: &DecodeError) -> Self {
        let reason = match error {
            DecodeError::NotAnImage(_) => DropReason::NotAnImage,
            DecodeError::Damaged(_) => DropReason::Damaged,
            DecodeError::TooLarge { .. } => DropReason::TooLarge,
        };
        Self { reason, detail: error.to_string() }
    }
}

/// Whole microseconds from `start` to now.
pub fn micros_since(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX)
}
