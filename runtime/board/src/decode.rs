//! Bytes of a JPEG, PNG or WebP file to upright 8-bit RGB pixels.
//!
//! JPEG is decoded strictly: `image`, like most viewers, fills what is missing of a cut file with grey, and a model
//! would be sure of something that nobody photographed.

use std::io::Cursor;

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, RgbImage};
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;

use crate::jpeg::{refuse_misread, with_huffman_tables};

/// Upright RGB pixels, 8 bits each, rows from the top.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// Columns; at least 1.
    pub width: u32,
    /// Rows; at least 1.
    pub height: u32,
    /// `width * height * 3` bytes, R G B of each pixel together.
    pub rgb: Vec<u8>,
}

/// What a picture may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeLimits {
    /// Width times height; 3 bytes of memory each while decoding, up to 16 for a progressive JPEG.
    pub max_pixels: u64,
}

impl Default for DecodeLimits {
    /// 64 megapixels: more than a phone or a Pi camera makes.
    fn default() -> Self {
        Self { max_pixels: 64_000_000 }
    }
}

/// Why there are no pixels.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes are something else, or nothing.
    #[error("not a JPEG, PNG or WebP picture: {0}")]
    NotAnImage(String),
    /// A picture that ends early or contradicts itself.
    #[error("damaged picture: {0}")]
    Damaged(String),
    /// A picture of a kind that would be read wrongly.
    #[error("{0}")]
    Refused(String),
    /// A picture that would need too much memory.
    #[error("{width} x {height} pixels are more than the limit of {max_pixels} (`max_pixels` in the configuration)")]
    TooLarge {
        /// Columns.
        width: u64,
        /// Rows.
        height: u64,
        /// The limit.
        max_pixels: u64,
    },
}

/// Decodes a whole file that lies in memory. The orientation that the camera noted (EXIF) is honoured; grey, CMYK,
/// palette and 16-bit pictures become 8-bit RGB; transparency is dropped.
///
/// # Errors
/// See [`DecodeError`].
pub fn decode(bytes: &[u8], limits: DecodeLimits) -> Result<Picture, DecodeError> {
    let (picture, orientation) = match image::guess_format(bytes) {
        Ok(ImageFormat::Jpeg) => decode_jpeg(bytes, limits)?,
        Ok(format @ (ImageFormat::Png | ImageFormat::WebP)) => decode_with_image(bytes, format, limits)?,
        Ok(other) => return Err(DecodeError::NotAnImage(format!("it is a {} file", other.to_mime_type()))),
        Err(_) if bytes.is_empty() => return Err(DecodeError::NotAnImage("the file is empty".into())),
        Err(_) => return Err(DecodeError::NotAnImage("its first bytes are those of no known format".into())),
    };
    let mut picture = picture;
    picture.apply_orientation(orientation);
    let rgb = picture.into_rgb8();
    Ok(Picture { width: rgb.width(), height: rgb.height(), rgb: rgb.into_raw() })
}

/// Codes upright RGB pixels as a JPEG of a quality from 1 to 100, colours at full resolution.
///
/// # Errors
/// The pixels are not `width * height * 3` bytes, or too many for a JPEG.
pub fn encode_jpeg(rgb: &[u8], width: usize, height: usize, quality: u8) -> Result<Vec<u8>, EncodeError> {
    code(rgb, (width, height), quality, SamplingFactor::F_1_1)
}

/// The same to be looked at: colours at half resolution, which costs less time and fewer bytes.
///
/// # Errors
/// The pixels are not `width * height * 3` bytes, or too many for a JPEG.
pub fn encode_preview(rgb: &[u8], width: usize, height: usize, quality: u8) -> Result<Vec<u8>, EncodeError> {
    code(rgb, (width, height), quality, SamplingFactor::F_2_2)
}

fn code(
    rgb: &[u8],
    (width, height): (usize, usize),
    quality: u8,
    sampling: SamplingFactor,
) -> Result<Vec<u8>, EncodeError> {
    let refuse = |detail: String| EncodeError { width, height, detail };
    let size = |axis: usize| u16::try_from(axis).map_err(|error| refuse(error.to_string()));
    if width.checked_mul(height).and_then(|pixels| pixels.checked_mul(3)) != Some(rgb.len()) {
        return Err(refuse(format!("there are {} bytes of pixels", rgb.len())));
    }
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, quality);
    encoder.set_sampling_factor(sampling);
    let coded = encoder.encode(rgb, size(width)?, size(height)?, ColorType::Rgb);
    coded.map_err(|error| refuse(error.to_string()))?;
    Ok(bytes)
}

/// Pixels that cannot be coded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{width} x {height} pixels cannot be a JPEG: {detail}")]
pub struct EncodeError {
    width: usize,
    height: usize,
    detail: String,
}

fn decode_jpeg(bytes: &[u8], limits: DecodeLimits) -> Result<(DynamicImage, Orientation), DecodeError> {
    let damaged = |error: zune_jpeg::errors::DecodeErrors| DecodeError::Damaged(one_line(&error.to_string()));
    refuse_misread(bytes).map_err(|error| DecodeError::Refused(error.to_string()))?;
    // Motion JPEG leaves out the tables that everybody uses.
    let bytes = &*with_huffman_tables(bytes);
    // The format's own largest size is 65,535; the limit that counts is the one on pixels, below.
    let options = DecoderOptions::new_safe()
        .set_strict_mode(true)
        .set_max_width(usize::from(u16::MAX))
        .set_max_height(usize::from(u16::MAX))
        .jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = zune_jpeg::JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(damaged)?;
    let info = decoder.info().ok_or_else(|| DecodeError::Damaged("it has no header".into()))?;
    check_size(info.width.into(), info.height.into(), limits)?;
    let rgb = decoder.decode().map_err(damaged)?;
    let orientation = decoder.exif().and_then(|exif| Orientation::from_exif_chunk(exif));
    let picture = RgbImage::from_raw(info.width.into(), info.height.into(), rgb)
        .ok_or_else(|| DecodeError::Damaged("it holds fewer pixels than it says".into()))?;
    Ok((picture.into(), orientation.unwrap_or(Orientation::NoTransforms)))
}

fn decode_with_image(
    bytes: &[u8],
    format: ImageFormat,
    limits: DecodeLimits,
) -> Result<(DynamicImage, Orientation), DecodeError> {
    let damaged = |error: image::ImageError| DecodeError::Damaged(one_line(&error.to_string()));
    let mut decoder = ImageReader::with_format(Cursor::new(bytes), format).into_decoder().map_err(damaged)?;
    let (width, height) = decoder.dimensions();
    check_size(width.into(), height.into(), limits)?;
    // A picture without a readable note stands as it is.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    Ok((DynamicImage::from_decoder(decoder).map_err(damaged)?, orientation))
}

fn check_size(width: u64, height: u64, limits: DecodeLimits) -> Result<(), DecodeError> {
    if width == 0 || height == 0 {
        return Err(DecodeError::Damaged("it has no pixels".into()));
    }
    if width * height > limits.max_pixels {
        return Err(DecodeError::TooLarge { width, height, max_pixels: limits.max_pixels });
    }
    Ok(())
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{GrayImage, ImageBuffer, Luma, Rgb};
    use proptest::prelude::*;

    fn gradient(width: u32, height: u32) -> RgbImage {
        RgbImage::from_fn(width, height, |x, y| {
            let part = |a: u32, b: u32| u8::try_from(255 * a / b.max(1)).unwrap();
            Rgb([part(x, width), part(y, height), 128])
        })
    }

    fn encode(picture: &DynamicImage, format: ImageFormat) -> Vec<u8> {
        let mut bytes = Vec::new();
        picture.write_to(&mut Cursor::new(&mut bytes), format).unwrap();
        bytes
    }

    /// Puts an EXIF block that holds only an orientation behind the first two bytes of a JPEG.
    fn with_orientation(jpeg: &[u8], orientation: u8) -> Vec<u8> {
        let mut app1 = b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".to_vec();
        app1.extend([orientation, 0, 0, 0, 0, 0, 0]);
        let length = u16::try_from(app1.len() + 2).unwrap().to_be_bytes();
        [&jpeg[..2], &[0xff, 0xe1], &length, &app1, &jpeg[2..]].concat()
    }

    fn all(bytes: &[u8]) -> Result<Picture, DecodeError> {
        decode(bytes, DecodeLimits::default())
    }

    fn close(a: &[u8], b: &[u8], tolerance: u8) -> bool {
        a.len() == b.len() && a.iter().zip(b).all(|(x, y)| x.abs_diff(*y) <= tolerance)
    }

    #[test]
    fn lossless_formats_come_back_exactly() {
        let picture = gradient(37, 21);
        for format in [ImageFormat::Png, ImageFormat::WebP] {
            let got = all(&encode(&picture.clone().into(), format)).unwrap();
            assert_eq!((got.width, got.height, &got.rgb), (37, 21, picture.as_raw()), "{format:?}");
        }
    }

    #[test]
    fn jpeg_comes_back_nearly() {
        let picture = gradient(64, 48);
        let got = all(&encode(&picture.clone().into(), ImageFormat::Jpeg)).unwrap();
        assert!(close(&got.rgb, picture.as_raw(), 16));
    }

    #[test]
    fn what_is_coded_is_decoded_nearly() {
        let picture = gradient(61, 47);
        let jpeg = encode_jpeg(picture.as_raw(), 61, 47, 95).unwrap();
        let back = all(&jpeg).unwrap();
        assert!((back.width, back.height) == (61, 47) && close(&back.rgb, picture.as_raw(), 8));
        assert!(encode_jpeg(picture.as_raw(), 61, 48, 95).is_err());
        assert!(encode_jpeg(&[], 0, 0, 95).is_err());
    }

    #[test]
    fn grey_and_16_bit_become_rgb() {
        let grey = GrayImage::from_fn(20, 10, |x, _| Luma([u8::try_from(x * 10).unwrap()]));
        for format in [ImageFormat::Png, ImageFormat::Jpeg] {
            let got = all(&encode(&grey.clone().into(), format)).unwrap();
            let expected: Vec<u8> = grey.as_raw().iter().flat_map(|&level| [level; 3]).collect();
            assert!(close(&got.rgb, &expected, 6), "{format:?}");
        }
        let deep: ImageBuffer<Rgb<u16>, Vec<u16>> = ImageBuffer::from_pixel(4, 4, Rgb([65_535, 257 * 100, 0]));
        assert_eq!(&all(&encode(&deep.into(), ImageFormat::Png)).unwrap().rgb[..3], &[255, 100, 0]);
        let deep: ImageBuffer<Luma<u16>, Vec<u16>> = ImageBuffer::from_pixel(4, 4, Luma([257 * 77]));
        assert_eq!(&all(&encode(&deep.into(), ImageFormat::Png)).unwrap().rgb[..3], &[77, 77, 77]);
    }

    #[test]
    fn the_cameras_orientation_is_honoured() {
        let jpeg = encode(&gradient(64, 48).into(), ImageFormat::Jpeg);
        let upright = RgbImage::from_raw(64, 48, all(&jpeg).unwrap().rgb).unwrap();
        let turned = all(&with_orientation(&jpeg, 6)).unwrap();
        assert_eq!((turned.width, turned.height), (48, 64));
        assert_eq!(turned.rgb, image::imageops::rotate90(&upright).into_raw());
        let half = all(&with_orientation(&jpeg, 3)).unwrap();
        assert_eq!(half.rgb, image::imageops::rotate180(&upright).into_raw());
        assert_eq!(all(&with_orientation(&jpeg, 99)).unwrap().rgb, upright.into_raw(), "an impossible note is ignored");
    }

    #[test]
    fn a_cut_jpeg_is_damaged_wherever_it_is_cut() {
        let jpeg = encode(&gradient(160, 120).into(), ImageFormat::Jpeg);
        for percent in [5, 20, 40, 60, 80, 95, 99] {
            let cut = &jpeg[..jpeg.len() * percent / 100];
            assert!(
                matches!(all(cut), Err(DecodeError::Damaged(_))),
                "at {percent} %: {:?}",
                all(cut).map(|p| p.width)
            );
        }
    }

    #[test]
    fn a_cut_png_is_damaged() {
        let png = encode(&gradient(160, 120).into(), ImageFormat::Png);
        assert!(matches!(all(&png[..png.len() / 2]), Err(DecodeError::Damaged(_))));
    }

    #[test]
    fn what_is_no_picture_says_so() {
        for (bytes, words) in
            [(&b""[..], "empty"), (b"hello, I am a text", "no known format"), (b"GIF89a\x01\x00", "image/gif")]
        {
            let error = all(bytes).unwrap_err();
            assert!(matches!(error, DecodeError::NotAnImage(_)) && error.to_string().contains(words), "{error}");
        }
    }

    #[test]
    fn too_many_pixels_are_refused_before_they_are_decoded() {
        for format in [ImageFormat::Png, ImageFormat::Jpeg] {
            let bytes = encode(&gradient(100, 100).into(), format);
            let error = decode(&bytes, DecodeLimits { max_pixels: 9_999 }).unwrap_err();
            assert_eq!(error, DecodeError::TooLarge { width: 100, height: 100, max_pixels: 9_999 }, "{format:?}");
            assert!(decode(&bytes, DecodeLimits { max_pixels: 10_000 }).is_ok());
        }
    }

    proptest! {
        #[test]
        fn damage_never_panics(seed in any::<u64>(), flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8), jpeg in any::<bool>()) {
            let size = 16 + u32::try_from(seed % 40).unwrap();
            let mut bytes = encode(&gradient(size, size / 2).into(), if jpeg { ImageFormat::Jpeg } else { ImageFormat::Png });
            for (index, value) in flips {
                *index.get_mut(&mut bytes[..]) = value;
            }
            let _ = all(&bytes);
        }
    }
}
