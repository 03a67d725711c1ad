//! x86-64 with AVX2 and FMA.
//!
//! Sums are exact: bytes are widened to i16 and multiplied by `vpmaddwd`, which adds two products into an i32. The
//! common `vpmaddubsw` would saturate in between; on this kind of core it is no faster, because its result has to go
//! through a second multiplier to be widened.
#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::{Add, Depthwise, Gemm, Kernels, scalar};
use crate::int8::quant::Bounds;
use crate::int8::weights::{Block, PANEL};

/// Pixels of a register tile; with two vectors of channels it fills 12 of the 16 registers with sums.
const TILE: usize = 6;

/// Taps of the largest depthwise window done here.
const MOST_TAPS: usize = 64;

/// The set, if this processor has what it needs.
pub fn kernels() -> Option<Kernels> {
    let able = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
    able.then_some(Kernels { name: "int8-avx2", widen, gemm, depthwise, add, sum_pixels, wants_blocks: true })
}

// The functions below are reachable only through `kernels`, that is after AVX2 and FMA were found.

fn widen(bytes: &[u8], wide: &mut [i16]) {
    // SAFETY: AVX2 was found; the function itself is made of checked slices.
    unsafe { widen_avx2(bytes, wide) }
}

#[target_feature(enable = "avx2")]
fn widen_avx2(bytes: &[u8], wide: &mut [i16]) {
    scalar::widen(bytes, wide);
}

fn sum_pixels(image: &[u8], sums: &mut [i32]) {
    // SAFETY: AVX2 was found; the function itself is made of checked slices.
    unsafe { sum_pixels_avx2(image, sums) }
}

#[target_feature(enable = "avx2")]
fn sum_pixels_avx2(image: &[u8], sums: &mut [i32]) {
    scalar::sum_pixels(image, sums);
}

/// The epilogue's constants in vectors.
#[derive(Clone, Copy)]
struct Clamp {
    low: __m256,
    high: __m256,
    zero_point: __m256i,
}

impl Clamp {
    #[inline]
    #[target_feature(enable = "avx2")]
    fn new(bounds: Bounds) -> Self {
        Self {
            low: _mm256_set1_ps(bounds.low),
            high: _mm256_set1_ps(bounds.high),
            zero_point: _mm256_set1_epi32(bounds.zero_point),
        }
    }

    /// `Bounds::requantise` of eight numbers.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn requantise(self, steps: __m256) -> __m256i {
        let clamped = _mm256_min_ps(_mm256_max_ps(steps, self.low), self.high);
        _mm256_add_epi32(_mm256_cvtps_epi32(clamped), self.zero_point)
    }
}

/// Eight sums to eight steps in i32.
///
/// # Safety
/// Eight numbers each can be read at `bias` and `scale`.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn finish(clamp: Clamp, sums: __m256i, bias: *const i32, scale: *const f32) -> __m256i {
    // SAFETY: as the caller promises; unaligned loads.
    let (bias, scale) = unsafe { (_mm256_loadu_si256(bias.cast()), _mm256_loadu_ps(scale)) };
    clamp.requantise(_mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_add_epi32(sums, bias)), scale))
}

/// Sixteen steps of 0..=255 to bytes, in order.
#[inline]
#[target_feature(enable = "avx2")]
fn narrow(first: __m256i, second: __m256i) -> __m128i {
    let words = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packs_epi32(first, second));
    _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256::<1>(words))
}

fn gemm(call: &Gemm<'_>, output: &mut [u8]) {
    if call.fits(output) && call.weights.depth > 0 {
        // SAFETY: AVX2 was found; `fits` has shown that rows, panels, bias, scale and output cover all of the product.
        unsafe { gemm_avx2(call, output.as_mut_ptr()) }
    }
}

/// # Safety
/// `call.fits` holds for the memory at `output`.
#[target_feature(enable = "avx2")]
unsafe fn gemm_avx2(call: &Gemm<'_>, output: *mut u8) {
    let tiles = call.pixels.div_ceil(TILE).max(1);
    let weights = call.weights;
    for panel in 0..weights.channels.div_ceil(PANEL) {
        let channels = (weights.channels - panel * PANEL).min(PANEL);
        let mut pixel = 0;
        for tile in 0..tiles {
            // Tiles of equal size rather than one short tile at the end.
            let pixels = (call.pixels - pixel).div_ceil(tiles - tile);
            // SAFETY: `panel` and `pixel..pixel + pixels` lie within what `fits` has shown.
            unsafe {
                let place = Place {
                    rows: call.rows.as_ptr().add(pixel * weights.depth),
                    depth: weights.depth,
                    panel: weights.panels.as_ptr().add(panel * PANEL * weights.depth),
                    bias: weights.epilogue.bias.as_ptr().add(panel * PANEL),
                    scale: weights.epilogue.scale.as_ptr().add(panel * PANEL),
                    output: output.add(pixel * call.output_stride + panel * PANEL),
                    stride: call.output_stride,
                    channels,
                };
                place.run(pixels, Clamp::new(weights.epilogue.bounds));
            }
            pixel += pixels;
        }
    }
}

/// One register tile: where its numbers come from and go to.
#[derive(Clone, Copy)]
struct Place {
    rows: *const i16,
    depth: usize,
    panel: *const i16,
    bias: *const i32,
    scale: *const f32,
    output: *mut u8,
    stride: usize,
    channels: usize,
}

impl Place {
    /// # Safety
    /// `pixels` rows, a panel and `channels` bytes of each output pixel lie at the pointers.
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn run(self, pixels: usize, clamp: Clamp) {
        // SAFETY: passed on from the caller; the constant equals `pixels`.
        unsafe {
            match (self.channels <= 8, pixels) {
                (false, 1) => self.tile::<1, 2>(clamp),
                (false, 2) => self.tile::<2, 2>(clamp),
                (false, 3) => self.tile::<3, 2>(clamp),
                (false, 4) => self.tile::<4, 2>(clamp),
                (false, 5) => self.tile::<5, 2>(clamp),
                (false, 6) => self.tile::<6, 2>(clamp),
                (true, 1) => self.tile::<1, 1>(clamp),
                (true, 2) => self.tile::<2, 1>(clamp),
                (true, 3) => self.tile::<3, 1>(clamp),
                (true, 4) => self.tile::<4, 1>(clamp),
                (true, 5) => self.tile::<5, 1>(clamp),
                (true, 6) => self.tile::<6, 1>(clamp),
                _ => {}
            }
        }
    }

    /// `PIXELS` pixels by `VECTORS` times eight channels.
    ///
    /// # Safety
    /// As [`Self::run`], with `PIXELS` pixels and at most `8 * VECTORS` channels.
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn tile<const PIXELS: usize, const VECTORS: usize>(self, clamp: Clamp) {
        let mut sums = [[_mm256_setzero_si256(); VECTORS]; PIXELS];
        for pair in 0..self.depth / 2 {
            // SAFETY: a panel holds `depth / 2` groups of 16 pairs, a row `depth / 2` pairs; unaligned loads.
            unsafe {
                let weights: [__m256i; VECTORS] = std::array::from_fn(|vector| {
                    _mm256_loadu_si256(self.panel.add(pair * 2 * PANEL + vector * 16).cast())
                });
                for (pixel, sums) in sums.iter_mut().enumerate() {
                    let inputs = self.rows.add(pixel * self.depth + 2 * pair).cast::<i32>().read_unaligned();
                    let inputs = _mm256_set1_epi32(inputs);
                    for (sum, weights) in sums.iter_mut().zip(weights) {
                        *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(inputs, weights));
                    }
                }
            }
        }
        for (pixel, sums) in sums.into_iter().enumerate() {
            // SAFETY: bias and scale are padded to whole panels; pixel `pixel` has `channels` bytes of room.
            unsafe { self.store(sums, clamp, self.output.add(pixel * self.stride)) }
        }
    }

    /// # Safety
    /// `channels` bytes of room at `output`, whole panels at `bias` and `scale`.
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn store<const VECTORS: usize>(self, sums: [__m256i; VECTORS], clamp: Clamp, output: *mut u8) {
        let mut steps = [_mm256_setzero_si256(); 2];
        for (vector, (steps, sums)) in steps.iter_mut().zip(sums).enumerate() {
            // SAFETY: at most two vectors of eight lie in a panel of 16.
            *steps = unsafe { finish(clamp, sums, self.bias.add(8 * vector), self.scale.add(8 * vector)) };
        }
        let [first, second] = steps;
        let bytes = narrow(first, second);
        // SAFETY: whole vectors only where that many channels are there; else exactly `channels` bytes.
        unsafe {
            match self.channels {
                16 => _mm_storeu_si128(output.cast(), bytes),
                8 => _mm_storel_epi64(output.cast(), bytes),
                channels => {
                    let mut buffer = [0u8; 16];
                    _mm_storeu_si128(buffer.as_mut_ptr().cast(), bytes);
                    std::ptr::copy_nonoverlapping(buffer.as_ptr(), output, channels.min(16));
                }
            }
        }
    }
}

fn depthwise(call: &Depthwise<'_>, output: &mut [u8]) {
    if call.weights.blocks.is_empty() || call.window.taps() > MOST_TAPS {
        scalar::depthwise(call, output);
    } else if call.fits(output) {
        // SAFETY: AVX2 was found; `fits` has shown that input, border, blocks and output cover the whole image.
        unsafe { depthwise_avx2(call, output.as_mut_ptr()) }
    }
}

/// # Safety
/// `call.fits` holds for the memory at `output`; at most `MOST_TAPS` taps.
#[target_feature(enable = "avx2")]
unsafe fn depthwise_avx2(call: &Depthwise<'_>, output: *mut u8) {
    let channels = call.weights.channels;
    let clamp = Clamp::new(call.weights.epilogue.bounds);
    let [rows, columns] = call.window.output;
    let count = call.window.taps();
    // One more, so that the odd last tap has a partner; its weight is 0.
    let mut taps = [call.border.as_ptr(); MOST_TAPS + 1];
    for row in 0..rows {
        for column in 0..columns {
            point_at_taps(call, row, column, &mut taps);
            for block in &call.weights.blocks {
                // SAFETY: each pointer in `taps` is followed by `channels` bytes, and the block ends within them;
                // `count` is at most the length of `taps` less 1.
                unsafe {
                    let output = output.add((row * columns + column) * channels + block.start);
                    let taps = taps.get_unchecked(..count.next_multiple_of(2));
                    if block.width == 32 { block_32(taps, block, clamp, output) } else { block_16(taps, block, clamp, output) }
                }
            }
        }
    }
}

/// Points `taps` at the input pixels under the window, or at the border.
#[inline]
fn point_at_taps(call: &Depthwise<'_>, row: usize, column: usize, taps: &mut [*const u8]) {
    let [tap_rows, tap_columns] = call.window.kernel;
    let [_, input_columns] = call.window.input;
    let mut slots = taps.iter_mut();
    for tap_row in 0..tap_rows {
        let y = call.window.row(row, tap_row);
        for (tap_column, slot) in (0..tap_columns).zip(slots.by_ref()) {
            let place = y.zip(call.window.column(column, tap_column));
            // An address only; it is read where `fits` holds.
            *slot = place.map_or(call.border.as_ptr(), |(y, x)| {
                call.input.as_ptr().wrapping_add((y * input_columns + x) * call.weights.channels)
            });
        }
    }
}

/// # Safety
/// `block.start + 32` bytes at each of `taps`, an even number of them; 32 bytes of room at `output`.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn block_32(taps: &[*const u8], block: &Block, clamp: Clamp, output: *mut u8) {
    let zero = _mm256_setzero_si256();
    let mut sums = [zero; 4];
    let mut weights = block.pairs.as_ptr();
    for pair in taps.chunks_exact(2) {
        let [first, second] = pair else { break };
        // SAFETY: as the caller promises; `pairs` holds 64 weights for every pair of taps.
        unsafe {
            let first = _mm256_loadu_si256(first.add(block.start).cast());
            let second = _mm256_loadu_si256(second.add(block.start).cast());
            let low = _mm256_unpacklo_epi8(first, second);
            let high = _mm256_unpackhi_epi8(first, second);
            let inputs = [
                _mm256_unpacklo_epi8(low, zero),
                _mm256_unpackhi_epi8(low, zero),
                _mm256_unpacklo_epi8(high, zero),
                _mm256_unpackhi_epi8(high, zero),
            ];
            for (vector, (sum, inputs)) in sums.iter_mut().zip(inputs).enumerate() {
                let weights = _mm256_loadu_si256(weights.add(16 * vector).cast());
                *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(inputs, weights));
            }
            weights = weights.add(64);
        }
    }
    let mut steps = [zero; 4];
    for (vector, (steps, sums)) in steps.iter_mut().zip(sums).enumerate() {
        // SAFETY: a block of 32 has 32 biases and scales.
        *steps = unsafe { finish(clamp, sums, block.bias.as_ptr().add(8 * vector), block.scale.as_ptr().add(8 * vector)) };
    }
    let [a, b, c, d] = steps;
    let bytes = _mm256_packus_epi16(_mm256_packs_epi32(a, b), _mm256_packs_epi32(c, d));
    // SAFETY: 32 bytes of room.
    unsafe { _mm256_storeu_si256(output.cast(), bytes) }
}

/// # Safety
/// `block.start + 16` bytes at each of `taps`, an even number of them; 16 bytes of room at `output`.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn block_16(taps: &[*const u8], block: &Block, clamp: Clamp, output: *mut u8) {
    let mut sums = [_mm256_setzero_si256(); 2];
    let mut weights = block.pairs.as_ptr();
    for pair in taps.chunks_exact(2) {
        let [first, second] = pair else { break };
        // SAFETY: as the caller promises; `pairs` holds 32 weights for every pair of taps.
        unsafe {
            let first = _mm_loadu_si128(first.add(block.start).cast());
            let second = _mm_loadu_si128(second.add(block.start).cast());
            let inputs = [_mm_unpacklo_epi8(first, second), _mm_unpackhi_epi8(first, second)];
            for (vector, (sum, inputs)) in sums.iter_mut().zip(inputs).enumerate() {
                let weights = _mm256_loadu_si256(weights.add(16 * vector).cast());
                *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(_mm256_cvtepu8_epi16(inputs), weights));
            }
            weights = weights.add(32);
        }
    }
    let [first, second] = sums;
    // SAFETY: a block of 16 has 16 biases and scales; 16 bytes of room.
    unsafe {
        let first = finish(clamp, first, block.bias.as_ptr(), block.scale.as_ptr());
        let second = finish(clamp, second, block.bias.as_ptr().add(8), block.scale.as_ptr().add(8));
        _mm_storeu_si128(output.cast(), narrow(first, second));
    }
}

fn add(call: &Add, a: &[u8], b: &[u8], output: &mut [u8]) {
    let whole = output.len().min(a.len()).min(b.len()) / 16 * 16;
    // SAFETY: AVX2 and FMA were found; `whole` bytes are there in all three.
    unsafe { add_avx2(call, a.as_ptr(), b.as_ptr(), output.as_mut_ptr(), whole) };
    if let (Some(a), Some(b), Some(output)) = (a.get(whole..), b.get(whole..), output.get_mut(whole..)) {
        scalar::add(call, a, b, output);
    }
}

/// # Safety
/// `length` bytes, a multiple of 16, at each pointer.
#[target_feature(enable = "avx2,fma")]
unsafe fn add_avx2(call: &Add, a: *const u8, b: *const u8, output: *mut u8, length: usize) {
    let clamp = Clamp::new(call.bounds);
    let (scale_a, scale_b) = (_mm256_set1_ps(call.scale_a), _mm256_set1_ps(call.scale_b));
    let (offset_a, offset_b) = (_mm256_set1_epi32(call.offset_a), _mm256_set1_epi32(call.offset_b));
    let fixed = _mm256_set1_ps(call.fixed);
    for start in (0..length).step_by(16) {
        let mut steps = [_mm256_setzero_si256(); 2];
        for (half, steps) in steps.iter_mut().enumerate() {
            // SAFETY: `start + 16` is at most `length`.
            let (a, b) = unsafe {
                (_mm_loadl_epi64(a.add(start + 8 * half).cast()), _mm_loadl_epi64(b.add(start + 8 * half).cast()))
            };
            let a = _mm256_cvtepi32_ps(_mm256_sub_epi32(_mm256_cvtepu8_epi32(a), offset_a));
            let b = _mm256_cvtepi32_ps(_mm256_sub_epi32(_mm256_cvtepu8_epi32(b), offset_b));
            *steps = clamp.requantise(_mm256_fmadd_ps(a, scale_a, _mm256_fmadd_ps(b, scale_b, fixed)));
        }
        let [first, second] = steps;
        // SAFETY: `start + 16` is at most `length`.
        unsafe { _mm_storeu_si128(output.add(start).cast(), narrow(first, second)) }
    }
}
