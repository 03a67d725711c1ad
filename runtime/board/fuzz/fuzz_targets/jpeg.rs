//! A camera's JPEGs: pixels or an error, whatever the bytes, and the same ones whichever picture came before.
//!
//! The first byte says whether a picture is the bytes themselves or a real JPEG, in one of the ways in which cameras and
//! encoders write it, with changes: so that damage also reaches the decoder's inner loops. Two pictures follow each other.
#![no_main]

mod tensor;

use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use libfuzzer_sys::fuzz_target;
use tinysaver_board::{DecodeLimits, FrameView, decode};

/// More pixels are refused: they would only cost time.
const LIMITS: DecodeLimits = DecodeLimits { max_pixels: 1 << 16 };

fn next(bytes: &mut &[u8]) -> u8 {
    let Some((&first, rest)) = bytes.split_first() else { return 0 };
    *bytes = rest;
    first
}

/// A picture of some noise and some flat parts, coded as `bytes` say.
fn real(bytes: &mut &[u8]) -> Vec<u8> {
    let (width, height, kind) = (u16::from(next(bytes) % 40) + 1, u16::from(next(bytes) % 40) + 1, next(bytes));
    let (colour, depth) = if kind & 3 == 3 { (ColorType::Luma, 1) } else { (ColorType::Rgb, 3) };
    let mut state = u32::from(next(bytes));
    let pixels: Vec<u8> = (0..usize::from(width) * usize::from(height) * depth)
        .map(|at| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            if at / 512 % 2 == 0 { (state >> 24) as u8 } else { at as u8 }
        })
        .collect();
    let mut jpeg = Vec::new();
    let mut encoder = Encoder::new(&mut jpeg, next(bytes) % 100 + 1);
    encoder.set_sampling_factor(
        [SamplingFactor::F_1_1, SamplingFactor::F_2_1, SamplingFactor::F_1_2, SamplingFactor::F_2_2]
            [usize::from(kind >> 2 & 3)],
    );
    encoder.set_progressive(kind & 0xe0 == 0xe0);
    if kind & 0xe0 == 0x20 {
        encoder.set_restart_interval(u16::from(next(bytes) % 9) + 1);
    } else {
        // The encoder forgets restarts when it makes tables of its own.
        encoder.set_optimized_huffman_tables(kind & 16 != 0);
    }
    if encoder.encode(&pixels, width, height, colour).is_err() {
        return Vec::new();
    }
    if kind & 0xe0 == 0x40 { without_huffman_tables(&jpeg) } else { jpeg }
}

fn without_huffman_tables(jpeg: &[u8]) -> Vec<u8> {
    let (mut bare, mut rest) = (Vec::new(), jpeg);
    while let Some(place) = rest.windows(2).position(|pair| pair == [0xff, 0xc4]) {
        bare.extend(&rest[..place]);
        let length = rest.get(place + 2..place + 4).map_or(2, |two| usize::from(u16::from_be_bytes([two[0], two[1]])));
        rest = rest.get(place + 2 + length..).unwrap_or_default();
    }
    [&bare, rest].concat()
}

/// The next picture: the rest of the bytes, or a real one with changes.
fn picture(bytes: &mut &[u8]) -> Vec<u8> {
    let kind = next(bytes);
    if kind & 1 == 1 {
        return std::mem::take(bytes).to_vec();
    }
    let mut jpeg = real(bytes);
    for _ in 0..kind >> 2 & 7 {
        let (high, low, value) = (next(bytes), next(bytes), next(bytes));
        let length = jpeg.len().max(1);
        if let Some(place) = jpeg.get_mut(usize::from(u16::from_be_bytes([high, low])) % length) {
            *place = value;
        }
    }
    if kind & 2 == 2 {
        jpeg.truncate(jpeg.len() * usize::from(next(bytes)) / 256);
    }
    jpeg
}

fuzz_target!(|bytes: &[u8]| {
    let mut bytes = bytes;
    let (side, crop) = (usize::from(next(&mut bytes) % 40) + 1, f64::from(next(&mut bytes) % 100 + 1) / 100.0);
    let has_one_before = side % 4 == 0;
    let before = if has_one_before { picture(&mut bytes) } else { Vec::new() };
    let jpeg = picture(&mut bytes);
    let of_jpeg = tensor::maker(side, crop, LIMITS).tensor(&FrameView::jpeg(&jpeg)).cloned();
    if has_one_before {
        let mut used = tensor::maker(side, crop, LIMITS);
        // An error is as good as a tensor here; a panic is not.
        let _ = used.tensor(&FrameView::jpeg(&before));
        assert_eq!(used.tensor(&FrameView::jpeg(&jpeg)).cloned(), of_jpeg);
    }
    if let Ok(picture) = decode(&jpeg, LIMITS) {
        assert_eq!(picture.rgb.len(), 3 * picture.width as usize * picture.height as usize);
    }
});
