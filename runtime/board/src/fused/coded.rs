//! Frames that come as a JPEG: decoded as far as needed, or whole where they are unusual.

use std::time::Duration;

use super::{FrameKind, FrameTensorError, FrameWay};
use crate::decode::{DecodeLimits, Picture, decode};
use crate::frame::{Colour, Component, FrameView, PixelFormat, Plane};
use crate::jpeg::{Decoded, JpegDecoder, JpegError, Wanted};
use crate::source::{Clock, MonotonicClock};

/// The last coded frame's samples.
pub(super) struct CodedFrame {
    pub wanted: Wanted,
    pub way: FrameWay,
    /// What decoding the last one took.
    pub time: Duration,
    decoder: JpegDecoder,
    /// An unusual one, decoded by the decoder of stills.
    whole: Option<Picture>,
}

impl CodedFrame {
    pub fn new(wanted: Wanted) -> Self {
        Self { wanted, way: FrameWay::Pixels, time: Duration::ZERO, decoder: JpegDecoder::new(), whole: None }
    }

    /// Decodes a frame; [`Self::planes`] has its samples then.
    pub fn decode(&mut self, frame: &FrameView) -> Result<FrameKind, FrameTensorError> {
        let started = MonotonicClock.now();
        let bytes = frame.planes().first().map_or(&[][..], |plane| plane.bytes);
        let (kind, whole) = match self.decoder.decode(bytes, self.wanted) {
            Ok(decoded) => (FrameKind::of_jpeg(&decoded), None),
            Err(JpegError::Unsupported(_) | JpegError::NotJpeg) => {
                let picture = decode(bytes, DecodeLimits { max_pixels: self.wanted.max_pixels })?;
                (FrameKind::of_picture(&picture), Some(picture))
            }
            Err(error) => return Err(error.into()),
        };
        self.way = if whole.is_some() { FrameWay::WholePicture } else { FrameWay::Jpeg };
        self.whole = whole;
        self.time = MonotonicClock.now().saturating_sub(started);
        Ok(kind)
    }

    pub fn planes(&self) -> [Plane<'_>; 3] {
        match &self.whole {
            Some(picture) => [Plane { bytes: &picture.rgb, stride: picture.width as usize * 3 }; 3],
            None => self.decoder.planes(),
        }
    }
}

impl FrameKind {
    fn of_jpeg(decoded: &Decoded) -> Self {
        let &Decoded { width, height, components, count, format } = decoded;
        Self { format, colour: Colour::JPEG, width, height, components, count }
    }

    fn of_picture(picture: &Picture) -> Self {
        let mut components = [Component { plane: 0, offset: 0, step: 1, columns: 1, rows: 1 }; 3];
        components.iter_mut().zip(PixelFormat::Rgb3.components()).for_each(|(place, &component)| *place = component);
        let (width, height) = (picture.width, picture.height);
        Self { format: PixelFormat::Rgb3, colour: Colour::JPEG, width, height, components, count: 3 }
    }
}
