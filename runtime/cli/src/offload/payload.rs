//! What goes over the network: a frame, cut and scaled as the base will see it, as a photo, as pixels, or as floats.

use anyhow::{Context, Result};
use bytes::Bytes;
use tinysaver_board::{ChannelOrder, FramePreprocessor, Picture, Preprocess, Preprocessor, Tensor, encode_jpeg};
use tinysaver_core::{Element, InputSpec, Layout};
use tinysaver_offload::client::Form;

use crate::frames::Image;

/// A photo that came as a JPEG of at most this size is sent as it is: making it smaller costs more than sending it.
const SMALL_PHOTO_BYTES: usize = 48 << 10;

/// Makes everything that a base, here or elsewhere, could want of a frame.
pub struct PayloadMaker {
    side: usize,
    quality: u8,
    pixels: Scaler,
    /// The whole centre square, scaled down to some multiple of what the base sees.
    photo: Scaler,
    photo_side: usize,
    normaliser: Preprocessor,
}

/// Pixels in R G B, untouched but for cropping and scaling.
struct Scaler {
    of_stills: Preprocessor,
    of_frames: FramePreprocessor,
}

impl Scaler {
    fn new(rule: &Preprocess, side: usize) -> Result<Self> {
        let rule = Preprocess { channels: ChannelOrder::Rgb, mean: [0.0; 3], std: [1.0; 3], ..*rule };
        let element = Element::U8 { scale: 1.0, zero_point: 0 };
        let spec = InputSpec { height: side, width: side, channels: 3, layout: Layout::Nhwc, element };
        Ok(Self { of_stills: Preprocessor::new(&rule, spec)?, of_frames: FramePreprocessor::new(&rule, spec)? })
    }

    fn pixels(&mut self, image: &Image) -> Result<&[u8]> {
        let tensor = match image {
            Image::Still(picture) => self.of_stills.tensor(picture)?,
            Image::Frame(view) => self.of_frames.tensor(view)?,
        };
        match tensor {
            Tensor::U8(pixels) => Ok(pixels),
            Tensor::F32(_) => anyhow::bail!("pixels were wanted"),
        }
    }
}

impl PayloadMaker {
    /// For a base with a square input of so many pixels, trained on pictures treated by `rule`. Photos are coded at
    /// `quality`, and so large that the part which the base keeps has `scale` times its side.
    ///
    /// # Errors
    /// A rule that makes no sense.
    pub fn new(rule: &Preprocess, side: usize, quality: u8, scale: f64) -> Result<Self> {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "small"
        )]
        let photo_side = (side as f64 * scale / rule.crop_fraction).round() as usize;
        let spec = InputSpec { height: side, width: side, channels: 3, layout: Layout::Nchw, element: Element::F32 };
        Ok(Self {
            side,
            quality,
            pixels: Scaler::new(rule, side)?,
            photo: Scaler::new(&Preprocess { crop_fraction: 1.0, ..*rule }, photo_side)?,
            photo_side,
            normaliser: Preprocessor::new(rule, spec)?,
        })
    }

    /// The pixels that the base sees: R G B, row by row.
    ///
    /// # Errors
    /// The frame cannot be scaled.
    pub fn pixels(&mut self, image: &Image) -> Result<Vec<u8>> {
        Ok(self.pixels.pixels(image)?.to_vec())
    }

    /// The frame in the form that a server wants. `coded` is the JPEG that the frame came as, if it did.
    ///
    /// # Errors
    /// The frame cannot be scaled or coded.
    pub fn payload(&mut self, form: Form, image: &Image, pixels: &[u8], coded: Option<&[u8]>) -> Result<Bytes> {
        match form {
            Form::Photo => self.photo(image, coded),
            Form::Pixels { planes: false } => Ok(Bytes::copy_from_slice(pixels)),
            Form::Pixels { planes: true } => {
                Ok((0..3).flat_map(|c| pixels.iter().skip(c).step_by(3).copied()).collect())
            }
            Form::Floats { planes } => self.floats(pixels, planes),
        }
    }

    fn photo(&mut self, image: &Image, coded: Option<&[u8]>) -> Result<Bytes> {
        if let Some(coded) = coded.filter(|coded| coded.len() <= SMALL_PHOTO_BYTES && has_huffman_tables(coded)) {
            return Ok(Bytes::copy_from_slice(coded));
        }
        let jpeg = match image {
            Image::Still(picture) if picture.width.min(picture.height) as usize <= self.photo_side => {
                let side = picture.width.min(picture.height) as usize;
                encode_jpeg(&centre_square(picture, side), side, side, self.quality)
            }
            _ => encode_jpeg(self.photo.pixels(image)?, self.photo_side, self.photo_side, self.quality),
        };
        Ok(jpeg.context("cannot code the photo")?.into())
    }

    fn floats(&mut self, pixels: &[u8], planes: bool) -> Result<Bytes> {
        let Tensor::F32(values) = self.normaliser.tensor_of_pixels(pixels)? else {
            anyhow::bail!("floats were wanted")
        };
        let plane = self.side * self.side;
        if planes {
            return Ok(values.iter().flat_map(|value| value.to_le_bytes()).collect());
        }
        let rows = (0..plane).flat_map(|at| values.iter().skip(at).step_by(plane).take(3).copied());
        Ok(rows.flat_map(f32::to_le_bytes).collect())
    }

    /// A grey picture in each form, to try servers with.
    ///
    /// # Errors
    /// As [`PayloadMaker::payload`].
    pub fn sample(&mut self, form: Form) -> Result<Bytes> {
        let side = u32::try_from(self.photo_side)?;
        let picture = Picture { width: side, height: side, rgb: vec![118; self.photo_side * self.photo_side * 3] };
        let image = Image::Still(picture);
        let pixels = self.pixels(&image)?;
        self.payload(form, &image, &pixels, None)
    }
}

/// Many cameras leave the tables out of their frames (the standard's are meant), which not every server forgives.
fn has_huffman_tables(jpeg: &[u8]) -> bool {
    const HEADERS: usize = 4096;
    const DHT: [u8; 2] = [0xFF, 0xC4];
    jpeg.windows(2).take(HEADERS).any(|marker| marker == DHT)
}

/// The middle of a picture, untouched.
fn centre_square(picture: &Picture, side: usize) -> Vec<u8> {
    let (width, height) = (picture.width as usize, picture.height as usize);
    let (left, top) = ((width - side) / 2, (height - side) / 2);
    let rows = picture.rgb.chunks_exact(width * 3).skip(top).take(side);
    rows.flat_map(|row| row.iter().skip(left * 3).take(side * 3).copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tinysaver_board::{DecodeLimits, Filter, TestPattern, decode};

    const RULE: Preprocess = Preprocess {
        crop_fraction: 0.875,
        filter: Filter::Bicubic,
        channels: ChannelOrder::Rgb,
        mean: [127.0; 3],
        std: [128.0; 3],
    };

    fn picture() -> Image<'static> {
        Image::Still(TestPattern { frames: 1, repeat: 1, seed: 3, width: 320, height: 240 }.picture(0))
    }

    #[test]
    fn every_form_holds_the_same_pixels() {
        let mut maker = PayloadMaker::new(&RULE, 64, 95, 1.5).unwrap();
        let picture = picture();
        let pixels = maker.pixels(&picture).unwrap();
        assert_eq!(pixels.len(), 64 * 64 * 3);
        let mut of = |form| maker.payload(form, &picture, &pixels, None).unwrap();
        assert_eq!(of(Form::Pixels { planes: false }), pixels[..]);
        let planes = of(Form::Pixels { planes: true });
        assert_eq!((planes[5], planes[64 * 64 + 5]), (pixels[15], pixels[16]));
        let float = |bytes: &[u8], at: usize| f32::from_le_bytes(bytes[4 * at..][..4].try_into().unwrap());
        let expected = |at: usize| (f32::from(pixels[at]) - 127.0) / 128.0;
        assert_eq!(float(&of(Form::Floats { planes: false }), 16), expected(16));
        assert_eq!(float(&of(Form::Floats { planes: true }), 64 * 64 + 5), expected(16));
    }

    #[test]
    fn photos_are_as_large_as_they_need_be() {
        let side = |picture: &Image, coded: Option<&[u8]>| {
            let mut maker = PayloadMaker::new(&RULE, 64, 95, 1.5).unwrap();
            let pixels = maker.pixels(picture).unwrap();
            let jpeg = maker.payload(Form::Photo, picture, &pixels, coded).unwrap();
            decode(&jpeg, DecodeLimits::default()).map_or(0, |photo| photo.width)
        };
        assert_eq!(side(&picture(), None), 110, "64 x 1.5 / 0.875");
        let small = TestPattern { frames: 1, repeat: 1, seed: 3, width: 80, height: 61 }.picture(0);
        let coded = encode_jpeg(&small.rgb, 80, 61, 50).unwrap();
        let small = Image::Still(small);
        assert_eq!(side(&small, None), 61, "never enlarged");
        assert_eq!(side(&small, Some(&coded)), 80, "a small one goes as it came");
    }
}
