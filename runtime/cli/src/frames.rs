//! From a frame's bytes to what a model can be given.

use std::time::{Duration, Instant};

use tinysaver_board::{
    Content, DecodeError, DecodeLimits, FrameBuffer, FrameTensorError, FrameView, JpegError, Picture, decode,
};
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
    /// Pixels or a JPEG, as the camera gave them.
    Frame(FrameView<'a>),
}

impl<'a> Image<'a> {
    /// Decodes a file, and notes how long it took; checks pixels. A stream's JPEG is decoded when a model wants it.
    pub fn of(frame: &'a FrameBuffer, limits: DecodeLimits, stages: &mut StageMicros) -> Result<Self, Drop> {
        if !matches!(frame.content, Content::File) {
            return Self::view(frame);
        }
        let started = Instant::now();
        let picture = decode(&frame.bytes, limits).map_err(|error| Drop::from(&error))?;
        stages.decode = Some(micros_since(started));
        Ok(Self::Still(picture))
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
            DecodeError::NotAnImage(_) | DecodeError::Refused(_) => DropReason::NotAnImage,
            DecodeError::Damaged(_) => DropReason::Damaged,
            DecodeError::TooLarge { .. } => DropReason::TooLarge,
        };
        Self { reason, detail: error.to_string() }
    }
}

impl From<&anyhow::Error> for Drop {
    /// A frame that could not be made a tensor is the camera's fault; whatever else fails is the model's.
    fn from(error: &anyhow::Error) -> Self {
        let of_frame = match error.downcast_ref::<FrameTensorError>() {
            Some(FrameTensorError::Still(error)) => return Self::from(error),
            Some(FrameTensorError::Jpeg(error)) => Some(error),
            _ => None,
        };
        let reason = match of_frame {
            Some(JpegError::EndsEarly | JpegError::Damaged(_)) => DropReason::Damaged,
            Some(JpegError::NotJpeg | JpegError::Unsupported(_) | JpegError::Refused(_)) => DropReason::NotAnImage,
            Some(JpegError::TooLarge { .. }) => DropReason::TooLarge,
            None => DropReason::Engine,
        };
        Self { reason, detail: format!("{error:#}") }
    }
}

/// Whole microseconds from `start` to now.
pub fn micros_since(start: Instant) -> u64 {
    micros(start.elapsed())
}

/// Whole microseconds.
pub fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
