//! Against plain floating-point code that does one thing after the other: whole RGB picture, exact areas, normalise.

use proptest::prelude::*;
use tinysaver_core::{Element, GRID_COLUMNS, GRID_ROWS, InputSpec, Layout};

use super::*;
use crate::frame::{Matrix, Range};
use crate::preprocess::{ChannelOrder, Filter};

const PLAIN: Preprocess = Preprocess {
    crop_fraction: 0.875,
    filter: Filter::Bicubic,
    channels: ChannelOrder::Rgb,
    mean: [0.0; 3],
    std: [1.0; 3],
};

const LIMITED: Colour = Colour { matrix: Matrix::Bt601, range: Range::Limited };

fn spec(height: usize, width: usize, layout: Layout, element: Element) -> InputSpec {
    InputSpec { height, width, channels: 3, layout, element }
}

/// Bytes of a frame that change smoothly, with some noise on top; the same everywhere.
fn scene(format: PixelFormat, width: u32, height: u32, stride: usize) -> Vec<u8> {
    let rows: usize = (0..format.planes()).map(|p| format.plane_size(p, width, height).unwrap().1).sum();
    let mut state = 1u32;
    let noise = |state: &mut u32| {
        *state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (*state >> 27) as usize
    };
    (0..rows * stride).map(|i| (((i % stride) / 2 + (i / stride) * 2) % 224 + noise(&mut state)) as u8).collect()
}

fn frame<'a>(format: PixelFormat, size: (u32, u32), colour: Colour, bytes: &'a [u8], stride: usize) -> FrameView<'a> {
    FrameView::contiguous(format, size.0, size.1, colour, bytes, stride).unwrap()
}

fn f32s(rule: &Preprocess, side: usize, frame: &FrameView) -> Vec<f32> {
    let mut made = FramePreprocessor::new(rule, spec(side, side, Layout::Nhwc, Element::F32)).unwrap();
    let Tensor::F32(values) = made.tensor(frame).unwrap() else { panic!("not what was asked for") };
    values.clone()
}

/// One component over the area of new pixel (`x`, `y`) of `side`: exact in floating point.
fn area(frame: &FrameView, component: &Component, fraction: f64, side: usize, x: usize, y: usize) -> f64 {
    let (left, top, square) = centre_square(frame.width(), frame.height(), fraction);
    let parts = |start: f64, share: u32, samples: u32, pixel: usize| -> Vec<(usize, f64)> {
        let (start, step) = (start / f64::from(share), square / side as f64 / f64::from(share));
        if step < 1.0 {
            let centre = (start + (pixel as f64 + 0.5) * step - 0.5).clamp(0.0, f64::from(samples - 1));
            let first = (centre.floor() as usize).min(samples as usize - 1);
            let next = (first + 1).min(samples as usize - 1);
            return vec![(first, 1.0 - centre.fract()), (next, centre.fract())];
        }
        let (from, to) = (start + pixel as f64 * step, start + (pixel + 1) as f64 * step);
        let covered = |i: usize| ((i + 1) as f64).min(to) - (i as f64).max(from);
        (from.floor() as usize..(to.ceil() as usize).min(samples as usize)).map(|i| (i, covered(i) / step)).collect()
    };
    let columns = parts(left, component.columns, frame.width().div_ceil(component.columns), x);
    let rows = parts(top, component.rows, frame.height().div_ceil(component.rows), y);
    let sample = |row: usize, column: usize| {
        f64::from(frame.row(component.plane, row)[component.offset + column * component.step])
    };
    rows.iter().map(|&(row, w)| w * columns.iter().map(|&(column, v)| v * sample(row, column)).sum::<f64>()).sum()
}

/// R, G, B of averaged components by the book.
fn colours(frame: &FrameView, c: &[f64]) -> [f64; 3] {
    let limited = frame.colour().range == Range::Limited;
    let stretch = |v: f64| if limited { (v - 16.0) * 255.0 / 219.0 } else { v };
    let rgb = if frame.format().is_rgb() {
        [stretch(c[0]), stretch(c[1]), stretch(c[2])]
    } else if c.len() == 1 {
        [stretch(c[0]); 3]
    } else {
        let gain = if limited { 255.0 / 224.0 } else { 1.0 };
        let (y, cb, cr) = (stretch(c[0]), (c[1] - 128.0) * gain, (c[2] - 128.0) * gain);
        let (kr, kb) = match frame.colour().matrix {
            Matrix::Bt601 => (0.299, 0.114),
            Matrix::Bt709 => (0.2126, 0.0722),
            Matrix::Bt2020 => (0.2627, 0.0593),
            Matrix::Smpte240m => (0.212, 0.087),
        };
        let (r, b) = (y + 2.0 * (1.0 - kr) * cr, y + 2.0 * (1.0 - kb) * cb);
        [r, (y - kr * r - kb * b) / (1.0 - kr - kb), b]
    };
    rgb.map(|level| level.clamp(0.0, 255.0))
}

fn reference(rule: &Preprocess, side: usize, frame: &FrameView) -> Vec<f64> {
    let pixel = |x, y| {
        let of = |component| area(frame, component, rule.crop_fraction, side, x, y);
        colours(frame, &frame.format().components().iter().map(of).collect::<Vec<_>>())
    };
    (0..side).flat_map(|y| (0..side).flat_map(move |x| pixel(x, y))).collect()
}

fn furthest(got: &[f32], wanted: &[f64]) -> f64 {
    assert_eq!(got.len(), wanted.len());
    got.iter().zip(wanted).map(|(&g, w)| (f64::from(g) - w).abs()).fold(0.0, f64::max)
}

#[test]
fn every_raw_format_comes_near_exact_arithmetic() {
    for format in PixelFormat::ALL.into_iter().filter(|format| !format.is_compressed()) {
        for (width, height, side, fraction) in
            [(64, 48, 16, 0.875), (67, 51, 10, 1.0), (33, 40, 48, 0.9), (640, 480, 32, 0.875)]
        {
            for matrix in [Matrix::Bt601, Matrix::Bt709, Matrix::Bt2020, Matrix::Smpte240m] {
                for range in [Range::Full, Range::Limited] {
                    let stride = width as usize * 3 + 6;
                    let bytes = scene(format, width, height, stride);
                    let frame = frame(format, (width, height), Colour { matrix, range }, &bytes, stride);
                    let rule = Preprocess { crop_fraction: fraction, ..PLAIN };
                    let off = furthest(&f32s(&rule, side, &frame), &reference(&rule, side, &frame));
                    assert!(off < 0.2, "{format} {width}x{height} {matrix:?} {range:?}: {off} levels");
                }
            }
        }
    }
}

#[test]
fn the_tensor_is_pinned_to_the_bit_on_every_platform() {
    let element = Element::U8 { scale: 0.0157, zero_point: 127 };
    let rule = Preprocess { mean: [127.0; 3], std: [128.0; 3], ..PLAIN };
    let mut sums = Vec::new();
    for (format, width, height) in [
        (PixelFormat::Yuyv, 640, 480),
        (PixelFormat::Nv12, 1920, 1080),
        (PixelFormat::Yu12, 320, 240),
        (PixelFormat::Rgb3, 641, 479),
        (PixelFormat::Grey, 176, 144),
    ] {
        let bytes = scene(format, width, height, width as usize * 3);
        let frame = frame(format, (width, height), LIMITED, &bytes, width as usize * 3);
        let mut quantised = FramePreprocessor::new(&rule, spec(160, 160, Layout::Nhwc, element)).unwrap();
        let Tensor::U8(values) = quantised.tensor(&frame).unwrap() else { panic!() };
        let quantised = values.iter().fold(0, |sum, &v| (sum * 31 + u64::from(v)) % 1_000_000_007);
        let mut floats = FramePreprocessor::new(&rule, spec(96, 96, Layout::Nchw, Element::F32)).unwrap();
        let Tensor::F32(values) = floats.tensor(&frame).unwrap() else { panic!() };
        let floats = values.iter().fold(0, |sum, v| (sum * 31 + u64::from(v.to_bits())) % 1_000_000_007);
        sums.push((format.to_string(), quantised, floats));
    }
    let expected: [(&str, u64, u64); 5] = [
        ("YUYV", 689_483_218, 773_431_918),
        ("NV12", 92_049_368, 36_634_561),
        ("YU12", 767_232_706, 317_768_502),
        ("RGB3", 587_522_824, 119_852_361),
        ("GREY", 942_372_006, 876_012_040),
    ];
    assert_eq!(sums, expected.map(|(name, a, b)| (name.to_owned(), a, b)));
}

#[test]
fn wide_vectors_change_no_bit() {
    let bytes = scene(PixelFormat::Yuyv, 322, 200, 700);
    let frame = frame(PixelFormat::Yuyv, (322, 200), LIMITED, &bytes, 700);
    let element = Element::U8 { scale: 0.0157, zero_point: 127 };
    let mut fast = FramePreprocessor::new(&PLAIN, spec(61, 61, Layout::Nhwc, element)).unwrap();
    let fastest = fast.tensor(&frame).unwrap().clone();
    fast.fill_tensor = fill_tensor;
    fast.plan.as_mut().unwrap().sampler.dots = dots::dots;
    assert_eq!(&fastest, fast.tensor(&frame).unwrap());
}

#[test]
fn flat_colours_stay_what_they_are() {
    for side in [1, 7, 16, 40, 160] {
        for level in [0u8, 1, 16, 127, 128, 200, 254, 255] {
            let bytes = vec![level; 64 * 48 * 3];
            let frame = frame(PixelFormat::Rgb3, (64, 48), Colour::JPEG, &bytes, 0);
            for value in f32s(&PLAIN, side, &frame) {
                assert!((value - f32::from(level)).abs() < 0.02, "{side}: {level} became {value}");
            }
            let exact = Element::U8 { scale: 1.0, zero_point: 0 };
            let mut made = FramePreprocessor::new(&PLAIN, spec(side, side, Layout::Nhwc, exact)).unwrap();
            assert_eq!(made.tensor(&frame).unwrap(), &Tensor::U8(vec![level; side * side * 3]));
        }
    }
}

#[test]
fn layouts_and_channel_orders_hold_the_same_numbers() {
    let bytes = scene(PixelFormat::Nv12, 64, 48, 64);
    let frame = frame(PixelFormat::Nv12, (64, 48), LIMITED, &bytes, 0);
    let make = |rule: &Preprocess, layout| {
        let mut made = FramePreprocessor::new(rule, spec(5, 7, layout, Element::F32)).unwrap();
        let Tensor::F32(values) = made.tensor(&frame).unwrap().clone() else { panic!() };
        values
    };
    let pixels = make(&PLAIN, Layout::Nhwc);
    let planes = make(&PLAIN, Layout::Nchw);
    let blue_first = make(&Preprocess { channels: ChannelOrder::Bgr, ..PLAIN }, Layout::Nhwc);
    for i in 0..35 {
        for channel in 0..3 {
            assert_eq!(pixels[i * 3 + channel], planes[channel * 35 + i]);
            assert_eq!(pixels[i * 3 + channel], blue_first[i * 3 + 2 - channel]);
        }
    }
}

#[test]
fn quantised_numbers_are_the_normalised_ones_rounded() {
    let bytes = scene(PixelFormat::Yuyv, 96, 72, 192);
    let frame = frame(PixelFormat::Yuyv, (96, 72), LIMITED, &bytes, 0);
    let rule = Preprocess { mean: [127.0, 100.0, 90.0], std: [128.0, 60.0, 70.0], ..PLAIN };
    let (scale, zero_point) = (0.0157f32, 127);
    let mut made =
        FramePreprocessor::new(&rule, spec(24, 24, Layout::Nhwc, Element::U8 { scale, zero_point })).unwrap();
    let Tensor::U8(steps) = made.tensor(&frame).unwrap() else { panic!() };
    for (&step, normal) in steps.iter().zip(f32s(&rule, 24, &frame)) {
        let exact = (f64::from(normal) / f64::from(scale) + 127.0).clamp(0.0, 255.0);
        assert!((f64::from(step) - exact).abs() < 0.52, "{step} for {exact}");
    }
}

#[test]
fn the_luma_grid_is_the_mean_of_each_block() {
    for format in [PixelFormat::Yuyv, PixelFormat::Rgb3, PixelFormat::Grey] {
        let bytes = scene(format, 128, 96, 400);
        let frame = frame(format, (128, 96), Colour::JPEG, &bytes, 400);
        let mut made =
            FramePreprocessor::new(&PLAIN, spec(48, 48, Layout::Nhwc, Element::F32)).unwrap().with_luma_grid();
        assert_eq!(made.luma_grid(), None, "before the first frame");
        made.tensor(&frame).unwrap();
        let grid = made.luma_grid().unwrap();
        let luma = |x: usize, y: usize| {
            let parts = format.components().iter().map(|component| area(&frame, component, 0.875, 48, x, y));
            let weights = if format.is_rgb() { [0.299, 0.587, 0.114] } else { [1.0, 0.0, 0.0] };
            parts.zip(weights).map(|(part, weight)| part * weight).sum::<f64>()
        };
        for (block, &mean) in grid.0.iter().enumerate() {
            let (x, y) = (block % GRID_COLUMNS * 3, block / GRID_COLUMNS * 4);
            let wanted = (0..12).map(|i| luma(x + i % 3, y + i / 3)).sum::<f64>() / 12.0;
            assert!((f64::from(mean) / 128.0 - wanted).abs() < 0.1, "{format} {block}: {mean} for {wanted}");
        }
        assert_eq!(grid.0.len(), GRID_COLUMNS * GRID_ROWS);
    }
}

#[test]
fn a_frame_far_too_large_is_refused() {
    let bytes = vec![0; 400 * 400];
    let frame = frame(PixelFormat::Grey, (400, 400), Colour::JPEG, &bytes, 0);
    let mut made = FramePreprocessor::new(&PLAIN, spec(2, 2, Layout::Nhwc, Element::F32)).unwrap();
    let error = made.tensor(&frame).unwrap_err();
    assert!(error.to_string().contains("175 samples to a pixel"), "{error}");
    let tiny = Element::U8 { scale: 1e-12, zero_point: 0 };
    let mut made = FramePreprocessor::new(&PLAIN, spec(200, 200, Layout::Nhwc, tiny)).unwrap();
    assert_eq!(made.tensor(&frame).unwrap_err(), FrameTensorError::Normalisation);
}

#[test]
fn a_new_size_needs_no_new_preprocessor() {
    let bytes = scene(PixelFormat::Grey, 80, 60, 80);
    let mut made = FramePreprocessor::new(&PLAIN, spec(8, 8, Layout::Nhwc, Element::F32)).unwrap();
    let large = frame(PixelFormat::Grey, (80, 60), Colour::JPEG, &bytes, 80);
    let small = frame(PixelFormat::Grey, (40, 30), Colour::JPEG, &bytes, 40);
    let first = made.tensor(&large).unwrap().clone();
    assert_ne!(&first, made.tensor(&small).unwrap());
    assert_eq!(&first, made.tensor(&large).unwrap());
}

proptest! {
    #[test]
    fn any_size_comes_near_exact_arithmetic(
        format in prop::sample::select(&PixelFormat::ALL[..14]), width in 1u32..90, height in 1u32..90,
        side in 1usize..40, fraction in 0.05f64..=1.0, padding in 0usize..9, seed in any::<u8>()
    ) {
        let stride = width as usize * 3 + 3 + padding;
        let mut bytes = scene(format, width, height, stride);
        bytes.iter_mut().for_each(|byte| *byte = byte.wrapping_add(seed));
        let frame = frame(format, (width, height), LIMITED, &bytes, stride);
        let rule = Preprocess { crop_fraction: fraction, ..PLAIN };
        let off = furthest(&f32s(&rule, side, &frame), &reference(&rule, side, &frame));
        // A pixel is a whole number of 1/4096 of a sample: at the crop's edge that adds up to 1/200, and samples here
        // may differ by 255 on both axes.
        prop_assert!(off < 6.0, "{off} levels");
    }
}
