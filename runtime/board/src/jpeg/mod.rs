//! Baseline JPEG, decoded no larger and no further than a model needs it.
//!
//! Motion JPEG is what most USB cameras send at useful sizes, and most of the cost of a frame. A model's input is
//! several times smaller than the picture, so each block is turned into 1, 2, 4 or 8 samples along each side: as few as
//! still cover the input. Blocks outside of the crop are read but not transformed; rows below it are not even read. The
//! samples stay planes of Y, Cb, Cr and go the same way as a raw frame's.
//!
//! What is unusual (progressive, 12 bits, CMYK, a note that the picture is to be turned) is refused by name, so that the
//! caller can have it decoded whole.
//!
//! Invariant: a picture that ends early or has a code that does not exist is an error, never samples. (Rows below the
//! crop are only searched for the end of the picture.)

mod headers;
mod huffman;
mod idct;
mod scan;
mod standard_tables;
#[cfg(test)]
pub(crate) mod tests;

use self::headers::{Header, Tables};
pub(crate) use self::standard_tables::with_huffman_tables;
use crate::frame::{Component, PixelFormat, Plane};

/// The longest side that is decoded.
const LONGEST_SIDE: u32 = 1 << 15;

/// Why a JPEG gave no samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JpegError {
    /// It begins otherwise.
    #[error("not a JPEG: it does not begin with FF D8")]
    NotJpeg,
    /// It is cut.
    #[error("the JPEG ends early")]
    EndsEarly,
    /// It contradicts itself.
    #[error("damaged JPEG: {0}")]
    Damaged(&'static str),
    /// It is of a kind that cameras hardly ever send: another decoder may know it.
    #[error("this kind of JPEG is not served for cameras: {0}")]
    Unsupported(&'static str),
    /// It is of a kind that no decoder here reads rightly.
    #[error("this kind of JPEG is not served: {0}")]
    Refused(&'static str),
    /// Its header promises more than the caller wants to pay for.
    #[error("{width} x {height} pixels are more than the limit of {max_pixels} (`max_pixels` in the configuration)")]
    TooLarge {
        /// Columns.
        width: u32,
        /// Rows.
        height: u32,
        /// The limit.
        max_pixels: u64,
    },
}

/// What a picture is wanted for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Wanted {
    /// Side of the centre square, as a share of the shorter side.
    pub crop_fraction: f64,
    /// Columns of the model's input.
    pub columns: usize,
    /// Rows of the model's input.
    pub rows: usize,
    /// Pictures of more pixels than this are refused.
    pub max_pixels: u64,
}

/// One component's samples and how they come out of the blocks.
#[derive(Debug, Clone, Default)]
struct Samples {
    /// Samples of a block along x and y: 1, 2, 4 or 8.
    size: (usize, usize),
    stride: usize,
    bytes: Vec<u8>,
}

/// How a kind of picture is decoded.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Layout {
    width: u32,
    height: u32,
    sampling: [(u32, u32); 3],
    wanted: Wanted,
}

/// Decodes pictures for one model. Buffers are made when a picture's size is new.
pub(crate) struct JpegDecoder {
    tables: Tables,
    decode_scan: scan::Decode,
    layout: Option<Layout>,
    samples: [Samples; 3],
    /// MCUs that the crop touches: first and behind the last, along x and y.
    window: [(u32, u32); 2],
}

/// What was decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Decoded {
    /// Of the whole picture.
    pub width: u32,
    pub height: u32,
    /// Where each component's samples are; as many planes.
    pub components: [Component; 3],
    pub count: usize,
    /// What the components are, but for their layout.
    pub format: PixelFormat,
}

/// Refuses what the decoder of stills would get wrong without a word: zune-jpeg mixes up the rows of a baseline picture
/// whose components are of several sizes and come one after the other.
pub(crate) fn refuse_misread(bytes: &[u8]) -> Result<(), JpegError> {
    // Other complaints are for the decoder to make.
    Tables::new().read(bytes).map(|_| ()).or_else(|error| match error {
        JpegError::Refused(_) => Err(error),
        _ => Ok(()),
    })
}

impl JpegDecoder {
    pub fn new() -> Self {
        Self {
            tables: Tables::new(),
            decode_scan: scan::fastest(),
            layout: None,
            samples: Default::default(),
            window: [(0, 0); 2],
        }
    }

    /// Decodes what `wanted` needs of a picture.
    pub fn decode(&mut self, bytes: &[u8], wanted: Wanted) -> Result<Decoded, JpegError> {
        let header = self.tables.read(bytes)?;
        let (Header { width, height, .. }, max_pixels) = (header, wanted.max_pixels);
        if u64::from(width) * u64::from(height) > max_pixels {
            return Err(JpegError::TooLarge { width, height, max_pixels });
        }
        if width.max(height) > LONGEST_SIDE {
            return Err(JpegError::Unsupported("a side of more than 32768 pixels"));
        }
        self.prepare(&header, wanted);
        (self.decode_scan)(bytes, &header, &self.tables, self.window, &mut self.samples)?;
        Ok(self.decoded(&header))
    }

    /// The decoded samples: a plane for each component.
    pub fn planes(&self) -> [Plane<'_>; 3] {
        self.samples.each_ref().map(|samples| Plane { bytes: &samples.bytes, stride: samples.stride })
    }

    /// Chooses sizes and makes buffers, where the last picture was another kind.
    fn prepare(&mut self, header: &Header, wanted: Wanted) {
        let sampling = header.components.map(|part| (part.across, part.down));
        let layout = Layout { width: header.width, height: header.height, sampling, wanted };
        if self.layout == Some(layout) {
            return;
        }
        let (widest, tallest) = header.largest();
        let (across, down) = (header.width.div_ceil(8 * widest), header.height.div_ceil(8 * tallest));
        let side = f64::from(header.width.min(header.height)) * wanted.crop_fraction;
        for (samples, part) in self.samples.iter_mut().zip(header.parts()) {
            samples.size = (
                smallest_size(side * f64::from(part.across) / f64::from(widest), wanted.columns),
                smallest_size(side * f64::from(part.down) / f64::from(tallest), wanted.rows),
            );
            samples.stride = across as usize * part.across as usize * samples.size.0;
            let rows = down as usize * part.down as usize * samples.size.1;
            samples.bytes.clear();
            samples.bytes.resize(samples.stride * rows, 0);
        }
        self.window = [window(header.width, side, 8 * widest, across), window(header.height, side, 8 * tallest, down)];
        self.layout = Some(layout);
    }

    fn decoded(&self, header: &Header) -> Decoded {
        let (widest, tallest) = header.largest();
        let mut components = [Component { plane: 0, offset: 0, step: 1, columns: 1, rows: 1 }; 3];
        let parts = self.samples.iter().zip(header.parts()).enumerate();
        for (place, (plane, (samples, part))) in components.iter_mut().zip(parts) {
            let pixels =
                |size: usize, largest: u32, own: u32| 8 * largest / own / u32::try_from(size.max(1)).unwrap_or(8);
            (place.plane, place.columns, place.rows) =
                (plane, pixels(samples.size.0, widest, part.across), pixels(samples.size.1, tallest, part.down));
        }
        let format = match (header.count, header.is_rgb) {
            (1, _) => PixelFormat::Grey,
            (_, true) => PixelFormat::Rgb3,
            (_, false) => PixelFormat::Yu12,
        };
        Decoded { width: header.width, height: header.height, components, count: header.count, format }
    }
}

/// The fewest samples to eight that still give each of `pixels` new pixels one of its own.
fn smallest_size(samples: f64, pixels: usize) -> usize {
    let pixels = f64::from(u32::try_from(pixels).unwrap_or(u32::MAX));
    [(1, 8.0), (2, 4.0), (4, 2.0)]
        .into_iter()
        .find(|(_, shrink)| samples / shrink >= pixels)
        .map_or(8, |(size, _)| size)
}

/// First MCU that the centre `side` of `length` pixels touches, and the one behind the last. Enlarging looks at a
/// neighbour on each side, which is at most four pixels away: a sample of the coarsest component.
fn window(length: u32, side: f64, mcu: u32, count: u32) -> (u32, u32) {
    let (start, mcu, reach) = ((f64::from(length) - side) / 2.0, f64::from(mcu), 4.0);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the cast saturates")]
    let (first, end) = (((start - reach) / mcu) as u32, ((start + side + reach) / mcu).ceil() as u32);
    (first.min(count), end.min(count))
}
