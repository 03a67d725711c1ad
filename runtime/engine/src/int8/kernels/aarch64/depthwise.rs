//! Depthwise convolutions by SMLAL: 16 channels of a pixel at once, straight from the image.

use std::arch::aarch64::*;

use super::finish::Finish;
use crate::int8::kernels::taps::{MOST_TAPS, Taps, for_pixels};
use crate::int8::kernels::{Depthwise, scalar};

/// Channels of a block.
const WIDE: usize = 16;

/// Channels of a block where there are fewer than [`WIDE`].
const NARROW: usize = 8;

pub fn depthwise(call: &Depthwise<'_>, output: &mut [u8]) {
    let (channels, taps) = (call.weights.channels, call.window.taps());
    if channels < NARROW || taps > MOST_TAPS {
        scalar::depthwise(call, output);
    } else if call.fits(output) {
        let output = output.as_mut_ptr();
        // SAFETY: NEON is there, as this set was chosen; `fits` has shown that input, border, weights and output cover
        // the whole image; there are at least 8 channels, and 16 for wide blocks.
        unsafe {
            match (channels < WIDE, taps) {
                (true, _) => walk(call, output, block_8::<0>, NARROW),
                (false, 9) => walk(call, output, block_16::<9>, WIDE),
                (false, 25) => walk(call, output, block_16::<25>, WIDE),
                (false, _) => walk(call, output, block_16::<0>, WIDE),
            }
        }
    }
}

/// Constants of a layer from some channel on.
#[derive(Clone, Copy)]
struct Constants {
    /// `[tap][channel]`.
    weights: *const i16,
    bias: *const i32,
    scale: *const f32,
    taps: usize,
    channels: usize,
    finish: Finish,
}

impl Constants {
    fn from_channel(self, start: usize) -> Self {
        Self {
            weights: self.weights.wrapping_add(start),
            bias: self.bias.wrapping_add(start),
            scale: self.scale.wrapping_add(start),
            ..self
        }
    }
}

/// Does blocks of `width` channels of all pixels; the last block of a pixel overlaps the one before it.
///
/// # Safety
/// `call.fits` holds for the memory at `output`; at least `width` channels, which `block` does; at most `MOST_TAPS` taps.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn walk(
    call: &Depthwise<'_>,
    output: *mut u8,
    block: unsafe fn(&Taps, usize, Constants, *mut u8),
    width: usize,
) {
    let weights = call.weights;
    let constants = Constants {
        weights: weights.taps.as_ptr(),
        bias: weights.epilogue.bias.as_ptr(),
        scale: weights.epilogue.scale.as_ptr(),
        taps: call.window.taps(),
        channels: weights.channels,
        finish: Finish::new(weights.epilogue.bounds),
    };
    for_pixels(call, |pixel, taps| {
        for start in (0..weights.channels).step_by(width) {
            let start = start.min(weights.channels - width);
            // SAFETY: `width` channels from `start` on are there at each tap, in the constants and at the output.
            unsafe {
                let output = output.add(pixel * weights.channels + start);
                block(taps, start, constants.from_channel(start), output);
            }
        }
    });
}

/// `TAPS` taps, or as many as the constants say where that is 0.
///
/// # Safety
/// 16 channels from `start` on at each tap, in the constants and at `output`.
#[target_feature(enable = "neon")]
unsafe fn block_16<const TAPS: usize>(taps: &Taps, start: usize, constants: Constants, output: *mut u8) {
    let Constants { channels, finish, .. } = constants;
    let count = if TAPS == 0 { constants.taps } else { TAPS };
    // SAFETY: as the caller promises.
    unsafe {
        let [mut a, mut b, mut c, mut d] = std::array::from_fn(|vector| vld1q_s32(constants.bias.add(4 * vector)));
        for (tap, input) in taps.iter().take(count).enumerate() {
            let input = vld1q_u8(input.add(start));
            let low = vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(input)));
            let high = vreinterpretq_s16_u16(vmovl_high_u8(input));
            let weights = constants.weights.add(tap * channels);
            let (weights_low, weights_high) = (vld1q_s16(weights), vld1q_s16(weights.add(8)));
            a = vmlal_s16(a, vget_low_s16(low), vget_low_s16(weights_low));
            b = vmlal_high_s16(b, low, weights_low);
            c = vmlal_s16(c, vget_low_s16(high), vget_low_s16(weights_high));
            d = vmlal_high_s16(d, high, weights_high);
        }
        let scale = |vector: usize| vld1q_f32(constants.scale.add(4 * vector));
        let steps = [
            finish.scale(a, scale(0)),
            finish.scale(b, scale(1)),
            finish.scale(c, scale(2)),
            finish.scale(d, scale(3)),
        ];
        vst1q_u8(output, finish.narrow(steps));
    }
}

/// # Safety
/// 8 channels from `start` on at each tap, in the constants and at `output`.
#[target_feature(enable = "neon")]
unsafe fn block_8<const TAPS: usize>(taps: &Taps, start: usize, constants: Constants, output: *mut u8) {
    let Constants { channels, finish, .. } = constants;
    let count = if TAPS == 0 { constants.taps } else { TAPS };
    // SAFETY: as the caller promises.
    unsafe {
        let (mut a, mut b) = (vld1q_s32(constants.bias), vld1q_s32(constants.bias.add(4)));
        for (tap, input) in taps.iter().take(count).enumerate() {
            let input = vreinterpretq_s16_u16(vmovl_u8(vld1_u8(input.add(start))));
            let weights = vld1q_s16(constants.weights.add(tap * channels));
            a = vmlal_s16(a, vget_low_s16(input), vget_low_s16(weights));
            b = vmlal_high_s16(b, input, weights);
        }
        let steps = [finish.scale(a, vld1q_f32(constants.scale)), finish.scale(b, vld1q_f32(constants.scale.add(4)))];
        vst1_u8(output, finish.narrow_8(steps));
    }
}
