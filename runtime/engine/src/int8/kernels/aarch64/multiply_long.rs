//! Products of bytes without dot-product instructions: SMULL and SMLAL multiply and add up two i8 products in i16, SADALP
//! adds pairs of those to sums in i32: 16 MACs in three instructions, where widening both sides to i16 takes four and more.
//!
//! Two products fit i16 as long as no weight is -128 (128 * 127 * 2 < 32768); layers with such a weight go to `pairs`.
//! Inputs are u8, so 128 is taken from each on the way (the highest bit is flipped); the epilogue's biases make up for it.

use std::arch::aarch64::*;

use super::finish::Finish;
use super::tile::{TILE, Tile, by_pixels, multiply_bytes};
use crate::int8::kernels::DotGemm;
use crate::int8::weights::DotPacking;

/// Channels of a panel: each has four partial sums for each pixel.
const CHANNELS: usize = 4;

/// How weights are wanted.
pub const PACKING: DotPacking = DotPacking { panel: CHANNELS, group: 16, offset: 128, least: -127 };

pub fn gemm(call: &DotGemm<'_>, output: &mut [u8]) {
    // SAFETY: NEON is there, as this set was chosen; the tiles stay within what they describe.
    unsafe { multiply_bytes(call, PACKING, output, multiply_tile) }
}

by_pixels!("neon");

/// # Safety
/// All that `tile` describes is there for `PIXELS` pixels.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn multiply<const PIXELS: usize>(tile: &Tile, finish: Finish) {
    let flip = vdupq_n_s8(i8::MIN);
    let mut sums = [[vdupq_n_s32(0); CHANNELS]; PIXELS];
    // SAFETY: every run has `length` bytes, a multiple of 16, at each pixel, and the panel 4 weights for each of them.
    unsafe {
        let mut weights = tile.panel;
        for run in 0..tile.runs {
            let mut inputs = tile.run::<PIXELS>(run);
            for _ in 0..tile.length / 16 {
                let signed = inputs.map(|input| veorq_s8(vld1q_s8(input.cast()), flip));
                let filters: [int8x16_t; CHANNELS] = std::array::from_fn(|channel| vld1q_s8(weights.add(16 * channel)));
                for (sums, signed) in sums.iter_mut().zip(signed) {
                    for (sum, filter) in sums.iter_mut().zip(filters) {
                        let products = vmull_s8(vget_low_s8(filter), vget_low_s8(signed));
                        *sum = vpadalq_s16(*sum, vmlal_high_s8(products, filter, signed));
                    }
                }
                inputs = inputs.map(|input| input.add(16));
                weights = weights.add(16 * CHANNELS);
            }
        }
        store(tile, sums, finish);
    }
}

/// Adds up the partial sums, scales, rounds and stores them.
///
/// # Safety
/// 4 biases and scales, and room for `channels` bytes of `PIXELS` pixels.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn store<const PIXELS: usize>(tile: &Tile, sums: [[int32x4_t; CHANNELS]; PIXELS], finish: Finish) {
    // SAFETY: as the caller promises.
    let (bias, scale) = unsafe { (vld1q_s32(tile.bias), vld1q_f32(tile.scale)) };
    let mut steps = [vdupq_n_s32(0); TILE];
    for (steps, [a, b, c, d]) in steps.iter_mut().zip(sums) {
        let total = vpaddq_s32(vpaddq_s32(a, b), vpaddq_s32(c, d));
        *steps = finish.scale(vaddq_s32(total, bias), scale);
    }
    let mut bytes = [0u8; CHANNELS * TILE];
    // SAFETY: 16 bytes; `channels` bytes of room at each pixel.
    unsafe {
        vst1q_u8(bytes.as_mut_ptr(), finish.narrow(steps));
        for (pixel, bytes) in bytes.as_chunks::<CHANNELS>().0.iter().take(PIXELS).enumerate() {
            let output = tile.output.add(pixel * tile.stride);
            match tile.channels {
                CHANNELS => output.cast::<[u8; CHANNELS]>().write_unaligned(*bytes),
                channels => std::ptr::copy_nonoverlapping(bytes.as_ptr(), output, channels.min(CHANNELS)),
            }
        }
    }
}
