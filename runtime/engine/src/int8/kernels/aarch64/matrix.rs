//! Products of bytes by USMMLA, which multiplies 2 x 8 bytes of u8 by 8 x 2 of i8 and adds them to 2 x 2 sums: here two
//! pixels by two channels.
//!
//! The instruction is written out: Rust's intrinsics for it are not stable yet.

use std::arch::aarch64::*;
use std::arch::asm;

use super::finish::Finish;
use super::tile::{TILE, Tile, multiply_bytes};
use crate::int8::kernels::DotGemm;
use crate::int8::weights::{DotPacking, PANEL};

/// How weights are wanted.
pub const PACKING: DotPacking = DotPacking { panel: PANEL, group: 8, offset: 0, least: i8::MIN };

/// Weights that one group of eight input bytes meets.
const GROUP: usize = 8 * PANEL;

pub fn gemm(call: &DotGemm<'_>, output: &mut [u8]) {
    // SAFETY: matrix products are there, as this set was chosen; the tiles stay within what they describe.
    unsafe { multiply_bytes(call, PACKING, output, multiply_tile) }
}

/// # Safety
/// All that `tile` describes is there for `pixels` pixels.
#[target_feature(enable = "neon,i8mm")]
unsafe fn multiply_tile(tile: &Tile, pixels: usize, finish: Finish) {
    // SAFETY: passed on from the caller; pixels that are missing are read like the last one and not stored.
    unsafe {
        match pixels {
            1 => multiply::<1, 1>(tile, finish),
            2 => multiply::<1, 2>(tile, finish),
            3 => multiply::<2, 3>(tile, finish),
            _ => multiply::<2, 4>(tile, finish),
        }
    }
}

/// Sums of two pixels by two channels each, for the 16 channels of a panel.
type PairSums = [int32x4_t; 8];

/// # Safety
/// As [`multiply_tile`], with `PIXELS` pixels, which are read in `PAIRS` pairs.
#[inline]
#[target_feature(enable = "neon,i8mm")]
unsafe fn multiply<const PAIRS: usize, const PIXELS: usize>(tile: &Tile, finish: Finish) {
    let mut sums: [PairSums; PAIRS] = [[vdupq_n_s32(0); 8]; PAIRS];
    // SAFETY: every run has `length` bytes, a multiple of 8, at each pixel, and the panel 16 weights for each of them.
    unsafe {
        let mut weights = tile.panel;
        for run in 0..tile.runs {
            let pixels = tile.run::<TILE>(run);
            let (pairs, _) = pixels.as_chunks::<2>();
            let Some(&(mut inputs)) = pairs.first_chunk::<PAIRS>() else { return };
            for _ in 0..tile.length / 8 {
                let pixels = inputs.map(|[first, second]| vcombine_u8(vld1_u8(first), vld1_u8(second)));
                for channels in 0..8 {
                    let weights = vld1q_s8(weights.add(16 * channels));
                    for (sums, pixels) in sums.iter_mut().zip(pixels) {
                        if let Some(sums) = sums.get_mut(channels) {
                            *sums = multiply_matrices(*sums, pixels, weights);
                        }
                    }
                }
                inputs = inputs.map(|pair| pair.map(|input| input.add(8)));
                weights = weights.add(GROUP);
            }
        }
        let biases = tile.biases();
        let mut pixels = sums.iter().flat_map(|sums| [pixel_sums(sums, biases, false), pixel_sums(sums, biases, true)]);
        tile.store::<PIXELS>(std::array::from_fn(|_| pixels.next().unwrap_or(biases)), finish);
    }
}

/// The sums of one of the two pixels, channel by channel, with the biases.
#[inline]
#[target_feature(enable = "neon")]
fn pixel_sums(sums: &PairSums, biases: [int32x4_t; 4], is_second: bool) -> [int32x4_t; 4] {
    let mut pairs = sums.as_chunks::<2>().0.iter();
    biases.map(|bias| {
        let [left, right] =
            pairs.next().map_or([vdupq_n_s64(0); 2], |pair| pair.map(|sums| vreinterpretq_s64_s32(sums)));
        let sums = if is_second { vzip2q_s64(left, right) } else { vzip1q_s64(left, right) };
        vaddq_s32(vreinterpretq_s32_s64(sums), bias)
    })
}

/// USMMLA.
#[inline]
#[target_feature(enable = "neon,i8mm")]
fn multiply_matrices(mut sums: int32x4_t, inputs: uint8x16_t, weights: int8x16_t) -> int32x4_t {
    // SAFETY: registers only; matrix products are there.
    unsafe {
        asm!(
            "usmmla {sums:v}.4s, {inputs:v}.16b, {weights:v}.16b",
            sums = inout(vreg) sums, inputs = in(vreg) inputs, weights = in(vreg) weights,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sums
}
