//! x86-64 with AVX2 and FMA.
//!
//! Sums are exact: bytes are widened to i16 and multiplied by `vpmaddwd`, which adds two products into an i32. The
//! common `vpmaddubsw` would saturate in between; on this kind of core it is no faster, because its result has to go
//! through a second multiplier to be widened.
#![allow(unsafe_code)]

mod columns;
mod gather;
mod gemm;
mod row;
mod winograd;

use std::arch::x86_64::*;

use super::taps::{MOST_TAPS, for_pixels};
use super::vnni::FinishHalf;
use super::{Add, Depthwise, Kernels, Multiply, scalar};
use crate::int8::depthwise_weights::{Block, DepthwiseWeights};
use crate::int8::window::Window;

/// The set, if this processor has what it needs.
pub fn kernels() -> Option<Kernels> {
    let able = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
    able.then_some(Kernels {
        name: "int8-avx2",
        dot: None,
        dot_row: Some(row::KERNELS),
        winograd: Some(winograd::KERNELS),
        widen,
        gather: gather::gather,
        gemm: gemm::gemm,
        depthwise,
        add,
        multiply,
        sum_pixels,
        prepare_depthwise,
        peak: None,
    })
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

fn multiply(call: &Multiply, a: &[u8], b: &[u8], output: &mut [u8]) {
    // SAFETY: AVX2 was found; the function itself is made of checked slices.
    unsafe { multiply_avx2(call, a, b, output) }
}

#[target_feature(enable = "avx2")]
fn multiply_avx2(call: &Multiply, a: &[u8], b: &[u8], output: &mut [u8]) {
    scalar::multiply(call, a, b, output);
}

fn sum_pixels(image: &[u8], sums: &mut [i32]) {
    // SAFETY: AVX2 was found; the function itself is made of checked slices.
    unsafe { sum_pixels_avx2(image, sums) }
}

#[target_feature(enable = "avx2")]
fn sum_pixels_avx2(image: &[u8], sums: &mut [i32]) {
    scalar::sum_pixels(image, sums);
}

/// Cuts the channels into blocks, by columns where there is a loop for the window.
pub fn prepare_depthwise(window: &Window, weights: DepthwiseWeights) -> DepthwiseWeights {
    let [rows, columns] = window.kernel;
    match columns::widest_block(window.kernel, window.stride).filter(|_| window.dilation == [1, 1]) {
        Some(widest) if weights.channels >= columns::NARROWEST => {
            DepthwiseWeights { pair_columns: weights.pair_columns_for(rows, columns, widest), ..weights }
        }
        _ => weights.with_blocks(),
    }
}

pub fn depthwise(call: &Depthwise<'_>, output: &mut [u8]) {
    if columns::can_run(call, output) {
        // SAFETY: AVX2 was found, and `can_run` holds.
        unsafe { columns::run(call, output.as_mut_ptr()) }
    } else if call.weights.blocks.is_empty() || call.window.taps() > MOST_TAPS || call.weights.epilogue.is_wide {
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
    let epilogue = &call.weights.epilogue;
    let finish = FinishHalf::new(epilogue.bounds);
    let even = call.window.taps().next_multiple_of(2);
    for_pixels(call, |pixel, taps| {
        // SAFETY: each pointer in `taps` is followed by `channels` bytes, and each block ends within them or, where
        // there are fewer than 16 channels, is `narrow`; `even` is at most the length of `taps`.
        unsafe {
            // An odd last tap has a partner, whose weight is 0.
            let taps = taps.get_unchecked(..even);
            let output = output.add(pixel * channels);
            if channels < 16 {
                narrow(call, taps, finish, output);
            } else {
                whole(call, taps, finish, output);
            }
        }
    });
}

/// One output pixel of at least 16 channels. Windows of 3 x 3 and 5 x 5 have their own loops, of known length.
///
/// # Safety
/// `channels` bytes at each of `taps` and at `output`; the blocks lie within them.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn whole(call: &Depthwise<'_>, taps: &[*const u8], finish: FinishHalf, output: *mut u8) {
    for block in &call.weights.blocks {
        // SAFETY: passed on from the caller; the constant equals the number of pairs.
        unsafe {
            let output = output.add(block.start);
            match (block.width, taps.len() / 2) {
                (32, 5) => block_32::<5>(taps, block, finish, output),
                (32, 13) => block_32::<13>(taps, block, finish, output),
                (32, _) => block_32::<0>(taps, block, finish, output),
                _ => block_16(taps, block, finish, output),
            }
        }
    }
}

/// One output pixel of fewer than 16 channels: reads past them where there are more bytes, else copies them first.
///
/// # Safety
/// `channels` bytes at each of `taps`, which point into the input or at 16 bytes of border, and at `output`.
#[target_feature(enable = "avx2")]
unsafe fn narrow(call: &Depthwise<'_>, taps: &[*const u8], finish: FinishHalf, output: *mut u8) {
    let Some(block) = call.weights.blocks.first() else { return };
    let channels = call.weights.channels;
    let input = call.input.as_ptr_range();
    let mut copies = [[0u8; 16]; MOST_TAPS + 1];
    let mut readable = [call.border.as_ptr(); MOST_TAPS + 1];
    for ((slot, copy), &tap) in readable.iter_mut().zip(&mut copies).zip(taps) {
        let is_short = input.contains(&tap) && (input.end as usize) - (tap as usize) < 16;
        *slot = tap;
        if is_short {
            // SAFETY: `channels` bytes, fewer than 16, lie at `tap`.
            unsafe { std::ptr::copy_nonoverlapping(tap, copy.as_mut_ptr(), channels) }
            *slot = copy.as_ptr();
        }
    }
    let mut steps = [0u8; 16];
    // SAFETY: 16 bytes can be read at each pointer now; `channels` bytes have room at `output`.
    unsafe {
        block_16(readable.get_unchecked(..taps.len()), block, finish, steps.as_mut_ptr());
        std::ptr::copy_nonoverlapping(steps.as_ptr(), output, channels);
    }
}

/// # Safety
/// `block.start + 32` bytes at each of `taps`, an even number of them, `2 * PAIRS` unless that is 0; 32 bytes of room at
/// `output`.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn block_32<const PAIRS: usize>(taps: &[*const u8], block: &Block, finish: FinishHalf, output: *mut u8) {
    let zero = _mm256_setzero_si256();
    // SAFETY: a block of 32 has 32 biases; unaligned loads.
    let mut sums: [__m256i; 4] =
        std::array::from_fn(|vector| unsafe { _mm256_loadu_si256(block.bias.as_ptr().add(8 * vector).cast()) });
    let pairs = if PAIRS == 0 { taps.len() / 2 } else { PAIRS };
    for pair in 0..pairs {
        // SAFETY: as the caller promises; `pairs` holds 64 weights for every pair of taps.
        unsafe {
            let first = _mm256_loadu_si256(taps.get_unchecked(2 * pair).add(block.start).cast());
            let second = _mm256_loadu_si256(taps.get_unchecked(2 * pair + 1).add(block.start).cast());
            let low = _mm256_unpacklo_epi8(first, second);
            let high = _mm256_unpackhi_epi8(first, second);
            let inputs = [
                _mm256_unpacklo_epi8(low, zero),
                _mm256_unpackhi_epi8(low, zero),
                _mm256_unpacklo_epi8(high, zero),
                _mm256_unpackhi_epi8(high, zero),
            ];
            for (vector, (sum, inputs)) in sums.iter_mut().zip(inputs).enumerate() {
                let weights = _mm256_loadu_si256(block.pairs.as_ptr().add(64 * pair + 16 * vector).cast());
                *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(inputs, weights));
            }
        }
    }
    // SAFETY: a block of 32 has 32 scales; 32 bytes of room at `output`.
    unsafe {
        let scale = |vector: usize| _mm256_loadu_ps(block.scale.as_ptr().add(8 * vector));
        let [a, b, c, d] = sums;
        let steps = [
            finish.scale(a, scale(0)),
            finish.scale(b, scale(1)),
            finish.scale(c, scale(2)),
            finish.scale(d, scale(3)),
        ];
        _mm256_storeu_si256(output.cast(), finish.narrow(steps));
    }
}

/// # Safety
/// `block.start + 16` bytes at each of `taps`, an even number of them; 16 bytes of room at `output`.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn block_16(taps: &[*const u8], block: &Block, finish: FinishHalf, output: *mut u8) {
    // SAFETY: a block of 16 has 16 biases; unaligned loads.
    let mut sums: [__m256i; 2] =
        std::array::from_fn(|vector| unsafe { _mm256_loadu_si256(block.bias.as_ptr().add(8 * vector).cast()) });
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
    // SAFETY: a block of 16 has 16 scales; 16 bytes of room.
    unsafe {
        let first = finish.scale(first, _mm256_loadu_ps(block.scale.as_ptr()));
        let second = finish.scale(second, _mm256_loadu_ps(block.scale.as_ptr().add(8)));
        let bytes = finish.narrow_in_order([first, second, first, second]);
        _mm_storeu_si128(output.cast(), _mm256_castsi256_si128(bytes));
    }
}

pub fn add(call: &Add, a: &[u8], b: &[u8], output: &mut [u8]) {
    let whole = output.len().min(a.len()).min(b.len()) / 16 * 16;
    let (left, right, sums) = (a.as_ptr(), b.as_ptr(), output.as_mut_ptr());
    // SAFETY: AVX2 and FMA were found; `whole` bytes are there in all three.
    unsafe {
        match (call.is_tame(), call.offset_a | call.offset_b) {
            (true, 0) => add_avx2::<false, false>(call, left, right, sums, whole),
            (true, _) => add_avx2::<false, true>(call, left, right, sums, whole),
            (false, _) => add_avx2::<true, true>(call, left, right, sums, whole),
        }
    };
    if let (Some(a), Some(b), Some(output)) = (a.get(whole..), b.get(whole..), output.get_mut(whole..)) {
        scalar::add(call, a, b, output);
    }
}

/// # Safety
/// `length` bytes, a multiple of 16, at each pointer. Sums may leave i32 only if `CLAMPED`, offsets be other than 0 only if
/// `OFFSET`: else the results are not what the call says.
#[target_feature(enable = "avx2,fma")]
unsafe fn add_avx2<const CLAMPED: bool, const OFFSET: bool>(
    call: &Add,
    a: *const u8,
    b: *const u8,
    output: *mut u8,
    length: usize,
) {
    let (low, high) = (_mm256_set1_ps(call.bounds.low), _mm256_set1_ps(call.bounds.high));
    let finish = FinishHalf::new(call.bounds);
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
            let (mut a, mut b) = (_mm256_cvtepu8_epi32(a), _mm256_cvtepu8_epi32(b));
            if OFFSET {
                (a, b) = (_mm256_sub_epi32(a, offset_a), _mm256_sub_epi32(b, offset_b));
            }
            let (a, b) = (_mm256_cvtepi32_ps(a), _mm256_cvtepi32_ps(b));
            let sum = _mm256_fmadd_ps(a, scale_a, _mm256_fmadd_ps(b, scale_b, fixed));
            *steps = _mm256_cvtps_epi32(if CLAMPED { _mm256_min_ps(_mm256_max_ps(sum, low), high) } else { sum });
        }
        let [first, second] = steps;
        // SAFETY: `start + 16` is at most `length`.
        unsafe {
            let bytes = finish.narrow_in_order([first, second, first, second]);
            _mm_storeu_si128(output.add(start).cast(), _mm256_castsi256_si128(bytes));
        }
    }
}
