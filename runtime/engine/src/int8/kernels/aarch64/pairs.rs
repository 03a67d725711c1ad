//! Products in pairs of i16 by SMLAL: for layers with a weight that, less its zero point, does not fit i8.

use std::arch::aarch64::*;

use super::finish::Finish;
use super::tile::{Product, Tile, by_pixels};
use crate::int8::kernels::Gemm;
use crate::int8::weights::PANEL;

pub fn gemm(call: &Gemm<'_>, output: &mut [u8]) {
    let weights = call.weights;
    if !call.fits(output) || weights.depth == 0 {
        return;
    }
    let product = Product {
        place: |pixel| call.rows.as_ptr().wrapping_add(pixel * weights.depth).cast(),
        pixels: call.pixels,
        run_pitch: 0,
        runs: 1,
        run: 2 * weights.depth,
        panels: weights.panels.as_ptr().cast(),
        panel: PANEL,
        panel_bytes: 2 * PANEL * weights.depth,
        channels: weights.channels,
        epilogue: &weights.epilogue,
        output_stride: call.output_stride,
    };
    // SAFETY: NEON is there, as this set was chosen; `fits` has shown that the slices cover all of the product.
    unsafe { product.for_tiles(output.as_mut_ptr(), multiply_tile) }
}

by_pixels!("neon");

/// # Safety
/// All that `tile` describes is there for `PIXELS` pixels, in i16.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn multiply<const PIXELS: usize>(tile: &Tile, finish: Finish) {
    // SAFETY: there are `length / 4` pairs of i16 at each pixel and as many groups of 16 pairs in the panel.
    unsafe {
        let mut sums = [tile.biases(); PIXELS];
        let mut weights: *const i16 = tile.panel.cast();
        let mut inputs = tile.run::<PIXELS>(0).map(|input| input.cast::<i16>());
        for _ in 0..tile.length / 16 {
            let eight = inputs.map(|input| vld1q_s16(input));
            multiply_pair::<0, 1, PIXELS>(&mut sums, eight, weights);
            multiply_pair::<2, 3, PIXELS>(&mut sums, eight, weights.add(2 * PANEL));
            multiply_pair::<4, 5, PIXELS>(&mut sums, eight, weights.add(4 * PANEL));
            multiply_pair::<6, 7, PIXELS>(&mut sums, eight, weights.add(6 * PANEL));
            inputs = inputs.map(|input| input.add(8));
            weights = weights.add(8 * PANEL);
        }
        for _ in 0..tile.length % 16 / 4 {
            let two = inputs.map(|input| vreinterpretq_s16_s32(vdupq_n_s32(input.cast::<i32>().read_unaligned())));
            multiply_pair::<0, 1, PIXELS>(&mut sums, two, weights);
            inputs = inputs.map(|input| input.add(2));
            weights = weights.add(2 * PANEL);
        }
        tile.store(sums, finish);
    }
}

/// A pair of inputs of each pixel by 16 pairs of weights.
///
/// # Safety
/// 16 pairs at `weights`.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn multiply_pair<const EVEN: i32, const ODD: i32, const PIXELS: usize>(
    sums: &mut [[int32x4_t; 4]; PIXELS],
    inputs: [int16x8_t; PIXELS],
    weights: *const i16,
) {
    // SAFETY: as the caller promises.
    let [a, b, c, d] = std::array::from_fn(|vector| unsafe { vld1q_s16(weights.add(8 * vector)) });
    multiply_lane::<EVEN, PIXELS>(sums, inputs, [vuzp1q_s16(a, b), vuzp1q_s16(c, d)]);
    multiply_lane::<ODD, PIXELS>(sums, inputs, [vuzp2q_s16(a, b), vuzp2q_s16(c, d)]);
}

/// One input of each pixel by 16 weights.
#[inline]
#[target_feature(enable = "neon")]
pub fn multiply_lane<const LANE: i32, const PIXELS: usize>(
    sums: &mut [[int32x4_t; 4]; PIXELS],
    inputs: [int16x8_t; PIXELS],
    [low, high]: [int16x8_t; 2],
) {
    for ([a, b, c, d], inputs) in sums.iter_mut().zip(inputs) {
        *a = vmlal_laneq_s16::<LANE>(*a, vget_low_s16(low), inputs);
        *b = vmlal_high_laneq_s16::<LANE>(*b, low, inputs);
        *c = vmlal_laneq_s16::<LANE>(*c, vget_low_s16(high), inputs);
        *d = vmlal_high_laneq_s16::<LANE>(*d, high, inputs);
    }
}
