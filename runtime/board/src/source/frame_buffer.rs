//! A frame that is ours to keep, in memory that is used again for the next one.

use std::time::Duration;

use crate::frame::{Colour, FrameError, FrameView, PixelFormat, Plane};

/// What the bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// A picture file: JPEG, PNG or WebP.
    File,
    /// One JPEG of a stream; its size is not known before it is decoded.
    Jpeg,
    /// Pixels as a camera lays them.
    Pixels {
        /// How they lie.
        format: PixelFormat,
        /// Columns.
        width: u32,
        /// Rows.
        height: u32,
        /// What the numbers mean.
        colour: Colour,
        /// First byte and stride of each plane.
        planes: [(usize, usize); 3],
    },
}

/// One frame's bytes, name and time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrameBuffer {
    /// All planes, one behind the other; or the file.
    pub bytes: Vec<u8>,
    /// What they are.
    pub content: Content,
    /// What logs call it: a path, or the source's address.
    pub name: String,
    /// When a live source took it, on [`MonotonicClock`](super::MonotonicClock)'s scale; `None` for what was recorded
    /// before.
    pub captured_at: Option<Duration>,
}

impl Default for FrameBuffer {
    fn default() -> Self {
        Self { bytes: Vec::new(), content: Content::File, name: String::new(), captured_at: None }
    }
}

impl FrameBuffer {
    /// Empties it for the next frame; its memory stays.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.name.clear();
        self.content = Content::File;
        self.captured_at = None;
    }

    /// Says that `bytes` is a JPEG of a stream.
    pub fn set_jpeg(&mut self) {
        self.content = Content::Jpeg;
    }

    /// Says that `bytes` holds pixels, and where each plane begins and its stride.
    ///
    /// # Errors
    /// There are too few bytes, or the format cannot lie like this.
    pub fn set_planes(
        &mut self,
        format: PixelFormat,
        (width, height): (u32, u32),
        colour: Colour,
        planes: [(usize, usize); 3],
    ) -> Result<(), FrameError> {
        self.content = Content::Pixels { format, width, height, colour, planes };
        self.view().map_or(Ok(()), |view| view.map(|_| ()))
    }

    /// Says that `bytes` holds pixels, plane behind plane, with the first plane's stride (0: rows are not padded).
    ///
    /// # Errors
    /// There are too few bytes, or the format cannot lie like this.
    pub fn set_pixels(
        &mut self,
        format: PixelFormat,
        (width, height): (u32, u32),
        colour: Colour,
        stride: usize,
    ) -> Result<(), FrameError> {
        let view = FrameView::contiguous(format, width, height, colour, &self.bytes, stride)?;
        let start = |plane: &Plane| plane.bytes.as_ptr().addr().saturating_sub(self.bytes.as_ptr().addr());
        let mut planes = [(0, 0); 3];
        for (kept, plane) in planes.iter_mut().zip(view.planes()) {
            *kept = (start(plane), plane.stride);
        }
        self.content = Content::Pixels { format, width, height, colour, planes };
        Ok(())
    }

    /// The pixels, checked, or a stream's JPEG; `None` for a file.
    ///
    /// # Errors
    /// There are too few bytes.
    pub fn view(&self) -> Option<Result<FrameView<'_>, FrameError>> {
        let (format, width, height, colour, planes) = match self.content {
            Content::File => return None,
            Content::Jpeg => return Some(Ok(FrameView::jpeg(&self.bytes))),
            Content::Pixels { format, width, height, colour, planes } => (format, width, height, colour, planes),
        };
        let planes = planes.map(|(start, stride)| Plane { bytes: self.bytes.get(start..).unwrap_or_default(), stride });
        let planes = planes.get(..format.planes()).unwrap_or_default();
        Some(FrameView::new(format, width, height, colour, planes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planes_keep_their_places() {
        let mut frame = FrameBuffer { bytes: (0..8 * 4 + 8 * 2).collect(), ..FrameBuffer::default() };
        frame.set_pixels(PixelFormat::Nv12, (6, 4), Colour::JPEG, 8).unwrap();
        let view = frame.view().unwrap().unwrap();
        assert_eq!(view.row(0, 1), &[8, 9, 10, 11, 12, 13]);
        assert_eq!(view.row(1, 1), &[40, 41, 42, 43, 44, 45]);
        frame.bytes.truncate(20);
        assert!(matches!(frame.view(), Some(Err(FrameError::Short { .. }))));
        assert!(frame.set_pixels(PixelFormat::Nv12, (6, 4), Colour::JPEG, 8).is_err());
        frame.clear();
        assert!(frame.view().is_none() && frame.bytes.capacity() > 0);
    }
}
