//! Products of bytes by SDOT, which adds four products of i8 to each of four sums. Inputs are u8, so 128 is taken from
//! each on the way (the highest bit is flipped); the epilogue's biases make up for it.
//!
//! The instruction is written out: Rust's intrinsics for it are not stable yet.

use std::arch::aarch64::*;
use std::arch::asm;

use super::finish::Finish;
use super::tile::{Tile, by_pixels, multiply_bytes};
use crate::int8::kernels::DotGemm;
use crate::int8::weights::{DotPacking, PANEL};

/// How weights are wanted.
pub const PACKING: DotPacking = DotPacking { panel: PANEL, group: 4, offset: 128, least: i8::MIN };

/// Weights that one group of four input bytes meets.
const GROUP: usize = 4 * PANEL;

pub fn gemm(call: &DotGemm<'_>, output: &mut [u8]) {
    // SAFETY: dot products are there, as this set was chosen; the tiles stay within what they describe.
    unsafe { multiply_bytes(call, PACKING, output, multiply_tile) }
}

by_pixels!("neon,dotprod");

/// # Safety
/// All that `tile` describes is there for `PIXELS` pixels.
#[inline]
#[target_feature(enable = "neon,dotprod")]
unsafe fn multiply<const PIXELS: usize>(tile: &Tile, finish: Finish) {
    let flip = vdupq_n_s8(i8::MIN);
    // SAFETY: every run has `length` bytes, a multiple of 4, at each pixel, and the panel 16 weights for each of them.
    unsafe {
        let mut sums = [tile.biases(); PIXELS];
        let mut weights = tile.panel;
        for run in 0..tile.runs {
            let mut inputs = tile.run::<PIXELS>(run);
            for _ in 0..tile.length / 16 {
                let signed = inputs.map(|input| veorq_s8(vld1q_s8(input.cast()), flip));
                multiply_lane::<0, PIXELS>(&mut sums, signed, weights);
                multiply_lane::<1, PIXELS>(&mut sums, signed, weights.add(GROUP));
                multiply_lane::<2, PIXELS>(&mut sums, signed, weights.add(2 * GROUP));
                multiply_lane::<3, PIXELS>(&mut sums, signed, weights.add(3 * GROUP));
                inputs = inputs.map(|input| input.add(16));
                weights = weights.add(4 * GROUP);
            }
            for _ in 0..tile.length % 16 / 4 {
                let signed = inputs.map(|input| {
                    let four = vdupq_n_s32(input.cast::<i32>().read_unaligned());
                    veorq_s8(vreinterpretq_s8_s32(four), flip)
                });
                multiply_lane::<0, PIXELS>(&mut sums, signed, weights);
                inputs = inputs.map(|input| input.add(4));
                weights = weights.add(GROUP);
            }
        }
        tile.store(sums, finish);
    }
}

/// Four bytes of input of each pixel by four weights of each of 16 channels.
///
/// # Safety
/// 64 weights at `weights`.
#[inline]
#[target_feature(enable = "neon,dotprod")]
unsafe fn multiply_lane<const LANE: i32, const PIXELS: usize>(
    sums: &mut [[int32x4_t; 4]; PIXELS],
    inputs: [int8x16_t; PIXELS],
    weights: *const i8,
) {
    // SAFETY: as the caller promises.
    let weights: [int8x16_t; 4] = std::array::from_fn(|vector| unsafe { vld1q_s8(weights.add(16 * vector)) });
    for (sums, inputs) in sums.iter_mut().zip(inputs) {
        for (sum, weights) in sums.iter_mut().zip(weights) {
            *sum = dot_lane::<LANE>(*sum, weights, inputs);
        }
    }
}

/// SDOT by a lane of four bytes.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn dot_lane<const LANE: i32>(mut sums: int32x4_t, weights: int8x16_t, inputs: int8x16_t) -> int32x4_t {
    // SAFETY: registers only; dot products are there.
    unsafe {
        asm!(
            "sdot {sums:v}.4s, {weights:v}.16b, {inputs:v}.4b[{lane}]",
            sums = inout(vreg) sums, weights = in(vreg) weights, inputs = in(vreg) inputs, lane = const LANE,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sums
}

/// SDOT by as many bytes as there are weights.
#[inline]
#[target_feature(enable = "neon,dotprod")]
pub fn dot(mut sums: int32x4_t, weights: int8x16_t, inputs: int8x16_t) -> int32x4_t {
    // SAFETY: registers only; dot products are there.
    unsafe {
        asm!(
            "sdot {sums:v}.4s, {weights:v}.16b, {inputs:v}.16b",
            sums = inout(vreg) sums, weights = in(vreg) weights, inputs = in(vreg) inputs,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sums
}
