//! Against a full decode by another decoder, on pictures of another encoder.

use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use proptest::prelude::*;
use tinysaver_core::{Element, InputSpec, Layout as Order};

use super::*;
use crate::decode::{DecodeError, DecodeLimits, decode};
use crate::frame::{Colour, FrameView};
use crate::fused::{FramePreprocessor, FrameTensorError, FrameWay};
use crate::preprocess::{ChannelOrder, Filter, Preprocess, Tensor};

/// How a picture is encoded.
#[derive(Debug, Clone, Copy)]
struct Coding {
    sampling: SamplingFactor,
    restart_interval: u16,
    optimised: bool,
    progressive: bool,
    quality: u8,
}

const USUAL: Coding =
    Coding { sampling: SamplingFactor::F_2_2, restart_interval: 0, optimised: false, progressive: false, quality: 90 };

/// A smooth coloured picture with a sharp edge, as a JPEG.
fn picture(width: u16, height: u16, colour: ColorType, coding: Coding) -> Vec<u8> {
    let mut pixels = Vec::new();
    for y in 0..u32::from(height) {
        for x in 0..u32::from(width) {
            let (x, y, side) = (x * 255 / u32::from(width), y * 255 / u32::from(height), u32::from(x * 3 > y * 2) * 60);
            let rgb = [x as u8, (195 - y * 3 / 4 + side) as u8, ((x + y) / 2) as u8];
            pixels.extend(if colour == ColorType::Luma { &rgb[1..2] } else { &rgb[..] });
        }
    }
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, coding.quality);
    encoder.set_sampling_factor(coding.sampling);
    encoder.set_optimized_huffman_tables(coding.optimised);
    encoder.set_progressive(coding.progressive);
    if coding.restart_interval > 0 {
        encoder.set_restart_interval(coding.restart_interval);
    }
    encoder.encode(&pixels, width, height, colour).unwrap();
    bytes
}

fn preprocessor(side: usize, crop_fraction: f64) -> FramePreprocessor {
    let rule = Preprocess {
        crop_fraction,
        filter: Filter::Bicubic,
        channels: ChannelOrder::Rgb,
        mean: [0.0; 3],
        std: [1.0; 3],
    };
    let spec = InputSpec { height: side, width: side, channels: 3, layout: Order::Nhwc, element: Element::F32 };
    FramePreprocessor::new(&rule, spec).unwrap()
}

fn tensor(
    made: &mut FramePreprocessor,
    format: PixelFormat,
    size: (u32, u32),
    bytes: &[u8],
) -> Result<Vec<f32>, FrameTensorError> {
    let frame = FrameView::contiguous(format, size.0, size.1, Colour::JPEG, bytes, 0).unwrap();
    match made.tensor(&frame) {
        Ok(Tensor::F32(values)) => Ok(values.clone()),
        Ok(Tensor::U8(_)) => panic!("not what was asked for"),
        Err(error) => Err(error),
    }
}

/// The tensor of a JPEG.
fn of_jpeg(side: usize, crop_fraction: f64, bytes: &[u8]) -> Result<Vec<f32>, FrameTensorError> {
    tensor(&mut preprocessor(side, crop_fraction), PixelFormat::Mjpeg, (64, 64), bytes)
}

#[test]
fn every_size_and_sampling_comes_near_a_full_decode() {
    for sampling in [SamplingFactor::F_1_1, SamplingFactor::F_2_1, SamplingFactor::F_1_2, SamplingFactor::F_2_2] {
        for restart_interval in [0, 1, 7, 40] {
            let coding = Coding { sampling, restart_interval, ..USUAL };
            for (width, height) in [(320, 240), (333, 251)] {
                let bytes = picture(width, height, ColorType::Rgb, coding);
                let whole = decode(&bytes, DecodeLimits::default()).unwrap();
                for (side, crop) in [(20, 1.0), (40, 0.875), (60, 0.5), (110, 0.875), (300, 0.6)] {
                    let size = (whole.width, whole.height);
                    let wanted = tensor(&mut preprocessor(side, crop), PixelFormat::Rgb3, size, &whole.rgb).unwrap();
                    let got = of_jpeg(side, crop, &bytes).unwrap();
                    let off = got.iter().zip(&wanted).map(|(a, b)| f64::from((a - b).abs()));
                    let mean = off.clone().sum::<f64>() / got.len() as f64;
                    let worst = off.fold(0.0, f64::max);
                    assert!(mean < 1.2 && worst < 40.0, "{coding:?} {width} to {side} at {crop}: {mean}, {worst}");
                }
            }
        }
    }
}

#[test]
fn grey_is_grey() {
    let bytes = picture(320, 240, ColorType::Luma, USUAL);
    for pixel in of_jpeg(50, 0.875, &bytes).unwrap().as_chunks::<3>().0 {
        assert!(pixel[0] == pixel[1] && pixel[1] == pixel[2], "{pixel:?}");
    }
}

#[test]
fn sizes_are_the_smallest_that_cover_the_input() {
    assert_eq!(smallest_size(420.0, 160), 4, "640x480 at 0.875 to 160: half size");
    assert_eq!(smallest_size(210.0, 160), 8, "its chroma: whole");
    assert_eq!(smallest_size(945.0, 160), 2, "1080 lines: a quarter");
    assert_eq!((smallest_size(320.0, 160), smallest_size(1280.0, 160), smallest_size(100.0, 160)), (4, 1, 8));
}

/// As Motion JPEG has it: without its Huffman tables.
pub(crate) fn without_huffman_tables(jpeg: &[u8]) -> Vec<u8> {
    let (mut bare, mut rest) = (Vec::new(), jpeg);
    while let Some(place) = rest.windows(2).position(|pair| pair == [0xff, 0xc4]) {
        bare.extend(&rest[..place]);
        let length = usize::from(u16::from_be_bytes([rest[place + 2], rest[place + 3]]));
        rest = &rest[place + 2 + length..];
    }
    bare.extend(rest);
    bare
}

#[test]
fn tables_may_be_left_out() {
    let bytes = picture(320, 240, ColorType::Rgb, USUAL);
    let bare = without_huffman_tables(&bytes);
    assert!(bare.len() < bytes.len() - 400, "there were tables");
    assert_eq!(of_jpeg(60, 0.875, &bare), of_jpeg(60, 0.875, &bytes));
    // Nor does it matter whose tables came before.
    let mut made = preprocessor(60, 0.875);
    let optimised = picture(320, 240, ColorType::Luma, Coding { optimised: true, ..USUAL });
    tensor(&mut made, PixelFormat::Mjpeg, (64, 64), &optimised).unwrap();
    assert_eq!(tensor(&mut made, PixelFormat::Mjpeg, (64, 64), &bare), of_jpeg(60, 0.875, &bytes));
}

#[test]
fn a_full_decode_gets_the_tables_that_were_left_out() {
    let bytes = picture(320, 240, ColorType::Rgb, USUAL);
    let bare = without_huffman_tables(&bytes);
    let all = |bytes: &[u8]| decode(bytes, DecodeLimits::default());
    assert_eq!(all(&bare), all(&bytes));
    assert!(all(&bare).is_ok());
    assert_eq!(with_huffman_tables(&bytes), bytes, "what has tables keeps them");
    assert!(
        matches!(all(&bare[..bare.len() * 2 / 3]), Err(DecodeError::Damaged(_))),
        "a cut one is damaged all the same"
    );
    for (rubbish, what) in [(&b"\xff\xd8\xff\xd9"[..], "no scan"), (b"\xff\xd8", "nothing"), (b"GIF89a", "no JPEG")] {
        assert_eq!(with_huffman_tables(rubbish), rubbish, "{what}");
    }
}

#[test]
fn what_cameras_put_around_a_picture_is_no_harm() {
    let bytes = picture(160, 120, ColorType::Rgb, USUAL);
    let wanted = of_jpeg(40, 0.875, &bytes);
    assert!(wanted.is_ok());
    for tail in [&[0u8; 500][..], b"\xff\xd9", b"garbage \xff\xc4 behind"] {
        assert_eq!(of_jpeg(40, 0.875, &[&bytes, tail].concat()), wanted);
    }
    // Extraneous bytes between segments.
    assert_eq!(of_jpeg(40, 0.875, &[&bytes[..2], b"\x00\x12\xff\xff", &bytes[2..]].concat()), wanted);
}

#[test]
fn a_cut_picture_is_an_error_wherever_it_is_cut() {
    for restart_interval in [0, 10] {
        let bytes = picture(320, 240, ColorType::Rgb, Coding { restart_interval, ..USUAL });
        for length in (0..bytes.len()).step_by(97).chain(bytes.len() - 3..bytes.len()) {
            for crop in [0.3, 0.875] {
                assert!(of_jpeg(40, crop, &bytes[..length]).is_err(), "{length} of {}", bytes.len());
                // The driver's buffer behind it is zeros.
                assert!(of_jpeg(40, crop, &[&bytes[..length], &[0; 64]].concat()).is_err(), "{length}, then zeros");
            }
        }
    }
}

#[test]
fn refuses_what_it_does_not_serve_by_name() {
    let wanted = Wanted { crop_fraction: 1.0, columns: 16, rows: 16, max_pixels: 1 << 40 };
    let says = |bytes: &[u8], words: &str| {
        let error = JpegDecoder::new().decode(bytes, wanted).unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
    };
    says(b"", "not a JPEG");
    says(b"\x89PNG", "not a JPEG");
    says(&picture(64, 64, ColorType::Rgb, Coding { progressive: true, ..USUAL }), "progressive");
    let bytes = picture(64, 64, ColorType::Rgb, Coding { restart_interval: 1, ..USUAL });
    let marker = bytes.windows(2).position(|pair| pair == [0xff, 0xd1]).unwrap();
    let mut wrong = bytes.clone();
    wrong[marker + 1] = 0xd5;
    says(&wrong, "restart marker is missing");
    let frame = bytes.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
    let with = |place: usize, value: u8| {
        let mut changed = bytes.clone();
        changed[frame + place] = value;
        changed
    };
    says(&with(4, 12), "8 bits");
    says(&with(9, 4), "1 or 3 components");
    says(&with(14, 0x31), "sampling factors");
    says(&picture(64, 64, ColorType::Rgb, Coding { optimised: true, ..USUAL }), "scans of their own");
    says(&with(12, 3), "quantisation table is missing");
    says(&with(5, 0xff), "32768");
    says(&turned(&bytes), "turned");
    let few = JpegDecoder::new().decode(&bytes, Wanted { max_pixels: 4095, ..wanted });
    assert_eq!(few, Err(JpegError::TooLarge { width: 64, height: 64, max_pixels: 4095 }));
}

/// With an EXIF note that the camera hung upside down.
fn turned(jpeg: &[u8]) -> Vec<u8> {
    let note = b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x03\0\0\0\0\0\0";
    let length = u8::try_from(note.len() + 2).unwrap();
    [&jpeg[..2], &[0xff, 0xe1, 0, length], note, &jpeg[2..]].concat()
}

#[test]
fn what_is_unusual_is_decoded_whole() {
    let usual = picture(320, 240, ColorType::Rgb, USUAL);
    let check = |bytes: &[u8], way: FrameWay, upside_down: bool| {
        let mut whole = decode(&usual, DecodeLimits::default()).unwrap();
        if upside_down {
            whole.rgb.as_chunks_mut::<3>().0.reverse();
        }
        let mut made = preprocessor(40, 0.875);
        let wanted = tensor(&mut made, PixelFormat::Rgb3, (320, 240), &whole.rgb).unwrap();
        assert_eq!(made.way(), FrameWay::Pixels);
        let got = tensor(&mut made, PixelFormat::Mjpeg, (64, 64), bytes).unwrap();
        assert_eq!(made.way(), way);
        assert!(made.timed_tensor(&FrameView::jpeg(bytes)).unwrap().1.is_some());
        let off = got.iter().zip(&wanted).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(off < 12.0, "{way:?}, {upside_down}: {off}");
    };
    check(&usual, FrameWay::Jpeg, false);
    check(&turned(&usual), FrameWay::WholePicture, true);
    let coded = |coding| picture(320, 240, ColorType::Rgb, coding);
    check(&coded(Coding { progressive: true, ..USUAL }), FrameWay::WholePicture, false);
    // Scans of their own, at one size.
    let separate = coded(Coding { optimised: true, sampling: SamplingFactor::F_1_1, ..USUAL });
    check(&separate, FrameWay::WholePicture, false);
}

#[test]
fn what_the_other_decoder_gets_wrong_is_refused() {
    let bytes = picture(64, 64, ColorType::Rgb, Coding { optimised: true, ..USUAL });
    let error = preprocessor(16, 1.0).tensor(&FrameView::jpeg(&bytes)).unwrap_err();
    assert!(matches!(error, FrameTensorError::Jpeg(JpegError::Refused(_))), "{error}");
    assert!(matches!(decode(&bytes, DecodeLimits::default()), Err(DecodeError::Refused(_))));
}

#[test]
fn what_no_decoder_knows_is_an_error_of_its_kind() {
    let mut made = preprocessor(16, 1.0).with_limits(DecodeLimits { max_pixels: 1000 });
    let mut error = |bytes: &[u8]| made.tensor(&FrameView::jpeg(bytes)).unwrap_err();
    assert!(matches!(error(b"garbage"), FrameTensorError::Still(DecodeError::NotAnImage(_))));
    let progressive = picture(64, 64, ColorType::Rgb, Coding { progressive: true, ..USUAL });
    assert!(matches!(error(&progressive), FrameTensorError::Still(DecodeError::TooLarge { .. })));
    let usual = picture(64, 64, ColorType::Rgb, USUAL);
    assert!(matches!(error(&usual), FrameTensorError::Jpeg(JpegError::TooLarge { .. })));
}

#[test]
fn the_samples_are_pinned_to_the_bit_on_every_platform() {
    let mut sums = Vec::new();
    for sampling in [SamplingFactor::F_2_2, SamplingFactor::F_2_1] {
        let bytes = picture(640, 480, ColorType::Rgb, Coding { sampling, ..USUAL });
        for side in [30, 96, 160, 260] {
            let values = of_jpeg(side, 0.875, &bytes).unwrap();
            sums.push(values.iter().fold(0, |sum, v| (sum * 31 + u64::from(v.to_bits())) % 1_000_000_007));
        }
    }
    assert_eq!(
        sums,
        [211_083_990, 709_592_563, 416_052_139, 176_737_910, 897_675_398, 372_920_137, 36_038_325, 453_757_317]
    );
}

proptest! {
    #[test]
    fn damage_never_panics_and_history_does_not_matter(
        side in 1usize..50, crop in 0.1f64..=1.0, restart_interval in 0u16..5, width in 8u16..90, height in 8u16..90,
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)
    ) {
        let intact = picture(width, height, ColorType::Rgb, Coding { restart_interval, ..USUAL });
        let mut damaged = intact.clone();
        for (index, value) in flips {
            *index.get_mut(&mut damaged[..]) = value;
        }
        let mut made = preprocessor(side, crop);
        let first = tensor(&mut made, PixelFormat::Mjpeg, (64, 64), &intact).unwrap();
        let frame = FrameView::contiguous(PixelFormat::Mjpeg, 64, 64, Colour::JPEG, &damaged, 0).unwrap();
        let _ = made.tensor(&frame);
        prop_assert_eq!(first, tensor(&mut made, PixelFormat::Mjpeg, (64, 64), &intact).unwrap());
    }

    #[test]
    fn any_bytes_are_an_error_or_a_picture(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let with_start = [&[0xff, 0xd8][..], &bytes].concat();
        let frame = FrameView::contiguous(PixelFormat::Mjpeg, 64, 64, Colour::JPEG, &with_start, 0).unwrap();
        let _ = preprocessor(8, 1.0).tensor(&frame);
    }
}
