//! A frame as a picture to be looked at: in no more pixels than will be shown, since every one costs time.

use crate::decode::{DecodeError, DecodeLimits, Picture, decode};
use crate::frame::{Colour, FrameView, Matrix, PixelFormat, Range};
use crate::source::{Content, FrameBuffer};

/// Fixed-point fraction of the colour coefficients.
const SHIFT: u32 = 14;

/// Why a frame cannot be shown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PictureError {
    /// It is coded, and cannot be decoded.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// It has fewer bytes than its format says.
    #[error(transparent)]
    Frame(#[from] crate::frame::FrameError),
}

/// Decodes a frame, or takes every n-th pixel of a camera's, so that no side is less than the wished one if it was not
/// before.
///
/// # Errors
/// See [`PictureError`].
pub fn picture_of(frame: &FrameBuffer, wished: (u32, u32), limits: DecodeLimits) -> Result<Picture, PictureError> {
    match frame.view() {
        Some(view) if matches!(frame.content, Content::Pixels { .. }) => Ok(sampled(&view?, wished)),
        _ => Ok(decode(&frame.bytes, limits)?),
    }
}

fn sampled(view: &FrameView, wished: (u32, u32)) -> Picture {
    let step = (view.width() / wished.0.max(1)).min(view.height() / wished.1.max(1)).max(1);
    let (width, height) = (view.width().div_ceil(step), view.height().div_ceil(step));
    let convert = Convert::new(view.format(), view.colour());
    let components = view.format().components();
    let mut rgb = Vec::with_capacity(width as usize * height as usize * 3);
    for y in (0..view.height()).step_by(step as usize) {
        let rows: [&[u8]; 3] = std::array::from_fn(|index| {
            let component = components.get(index).or(components.first());
            component.map_or(&[][..], |of| view.row(of.plane, (y / of.rows) as usize))
        });
        for x in (0..view.width()).step_by(step as usize) {
            let sample = |index: usize| {
                let of = components.get(index).or(components.first())?;
                rows.get(index)?.get(of.offset + (x / of.columns) as usize * of.step).copied()
            };
            let [a, b, c] = [0, 1, 2].map(|index| sample(index).unwrap_or(0));
            rgb.extend(convert.pixel(a, b, c));
        }
    }
    Picture { width, height, rgb }
}

/// From a format's components to R G B; to look at, not for models: those have their own, exact way.
struct Convert {
    is_rgb: bool,
    is_grey: bool,
    black: i32,
    luma: i32,
    red: i32,
    green: (i32, i32),
    blue: i32,
}

impl Convert {
    #[expect(clippy::cast_possible_truncation, reason = "coefficients below 4 in 14 bits of fraction")]
    fn new(format: PixelFormat, colour: Colour) -> Self {
        let (black, gain, chroma) = match colour.range {
            Range::Full => (0, 1.0, 1.0),
            Range::Limited => (16, 255.0 / 219.0, 255.0 / 224.0),
        };
        let (red, blue): (f64, f64) = match colour.matrix {
            Matrix::Bt601 => (0.299, 0.114),
            Matrix::Bt709 => (0.2126, 0.0722),
            Matrix::Bt2020 => (0.2627, 0.0593),
            Matrix::Smpte240m => (0.212, 0.087),
        };
        let green = 1.0 - red - blue;
        let fixed = |value: f64| (value * f64::from(1u32 << SHIFT)).round() as i32;
        Self {
            is_rgb: format.is_rgb(),
            is_grey: format == PixelFormat::Grey,
            black,
            luma: fixed(gain),
            red: fixed(2.0 * (1.0 - red) * chroma),
            green: (
                fixed(-2.0 * (1.0 - blue) * blue / green * chroma),
                fixed(-2.0 * (1.0 - red) * red / green * chroma),
            ),
            blue: fixed(2.0 * (1.0 - blue) * chroma),
        }
    }

    #[inline]
    fn pixel(&self, a: u8, b: u8, c: u8) -> [u8; 3] {
        if self.is_rgb {
            return [a, b, c].map(|level| self.level(i32::from(level), 0));
        }
        let (luma, cb, cr) = (i32::from(a), i32::from(b) - 128, i32::from(c) - 128);
        if self.is_grey {
            return [self.level(luma, 0); 3];
        }
        [
            self.level(luma, self.red * cr),
            self.level(luma, self.green.0 * cb + self.green.1 * cr),
            self.level(luma, self.blue * cb),
        ]
    }

    fn level(&self, luma: i32, chroma: i32) -> u8 {
        let level = ((luma - self.black) * self.luma + chroma + (1 << (SHIFT - 1))) >> SHIFT;
        u8::try_from(level.clamp(0, 255)).unwrap_or(u8::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jpeg::tests::without_huffman_tables;

    fn frame(format: PixelFormat, size: (u32, u32), colour: Colour, bytes: Vec<u8>) -> FrameBuffer {
        let mut frame = FrameBuffer { bytes, ..FrameBuffer::default() };
        frame.set_pixels(format, size, colour, 0).unwrap();
        frame
    }

    fn shown(frame: &FrameBuffer, wished: (u32, u32)) -> Picture {
        picture_of(frame, wished, DecodeLimits::default()).unwrap()
    }

    /// Y, Cb, Cr of the colour bars' red in limited BT.601 (ITU-R BT.471): 81, 90, 240.
    #[test]
    fn red_is_red_in_every_layout() {
        let limited = Colour { matrix: Matrix::Bt601, range: Range::Limited };
        let cases = [
            (PixelFormat::Yuyv, [81, 90, 81, 240].repeat(2)),
            (PixelFormat::Uyvy, [90, 81, 240, 81].repeat(2)),
            (PixelFormat::Nv12, vec![81, 81, 81, 81, 90, 240]),
            (PixelFormat::Nv21, vec![81, 81, 81, 81, 240, 90]),
            (PixelFormat::Yu12, vec![81, 81, 81, 81, 90, 240]),
            (PixelFormat::Yv12, vec![81, 81, 81, 81, 240, 90]),
        ];
        for (format, bytes) in cases {
            let picture = shown(&frame(format, (2, 2), limited, bytes), (2, 2));
            for pixel in picture.rgb.chunks(3) {
                assert!(pixel[0] >= 253 && pixel[1] <= 2 && pixel[2] <= 2, "{format}: {pixel:?}");
            }
        }
        let full = Colour::JPEG;
        assert_eq!(shown(&frame(PixelFormat::Bgr3, (1, 1), full, vec![1, 2, 3]), (1, 1)).rgb, [3, 2, 1]);
        assert_eq!(shown(&frame(PixelFormat::Grey, (1, 1), limited, vec![235]), (1, 1)).rgb, [255; 3]);
    }

    #[test]
    fn no_more_pixels_than_are_shown() {
        let grey =
            frame(PixelFormat::Grey, (640, 480), Colour::JPEG, (0..640 * 480).map(|i| (i % 640 / 4) as u8).collect());
        let picture = shown(&grey, (240, 250));
        assert_eq!((picture.width, picture.height), (640, 480), "half would be less than 250 rows");
        let picture = shown(&grey, (160, 120));
        assert_eq!((picture.width, picture.height, picture.rgb[3]), (160, 120, 1));
        let picture = shown(&frame(PixelFormat::Grey, (5, 3), Colour::JPEG, vec![9; 15]), (2, 1));
        assert_eq!((picture.width, picture.height, picture.rgb.len()), (3, 2, 18), "odd sizes keep their edge");
    }

    #[test]
    fn a_damaged_frame_is_an_error() {
        let mut short = frame(PixelFormat::Grey, (4, 4), Colour::JPEG, vec![0; 16]);
        short.bytes.truncate(3);
        assert!(matches!(picture_of(&short, (4, 4), DecodeLimits::default()), Err(PictureError::Frame(_))));
        let bytes = crate::decode::encode_jpeg(&[200; 8 * 6 * 3], 8, 6, 90).unwrap();
        let mut whole = FrameBuffer { bytes, ..FrameBuffer::default() };
        whole.set_jpeg();
        let picture = shown(&whole, (4, 4));
        assert!((picture.width, picture.height) == (8, 6) && picture.rgb.iter().all(|level| level.abs_diff(200) < 4));
        whole.bytes = without_huffman_tables(&whole.bytes);
        assert_eq!(shown(&whole, (4, 4)), picture, "as many cameras leave them out");
        let mut jpeg = FrameBuffer { bytes: vec![0xff, 0xd8, 0xff], ..FrameBuffer::default() };
        jpeg.set_jpeg();
        assert!(matches!(picture_of(&jpeg, (4, 4), DecodeLimits::default()), Err(PictureError::Decode(_))));
    }
}
