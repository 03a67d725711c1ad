//! The end of every fused step: from sums to stored bytes.

use std::arch::aarch64::*;

use crate::int8::quant::Bounds;

/// The epilogue's constants in vectors.
#[derive(Clone, Copy)]
pub struct Finish {
    zero_point: int16x8_t,
    least: uint8x16_t,
    most: uint8x16_t,
}

impl Finish {
    #[inline]
    #[target_feature(enable = "neon")]
    pub fn new(bounds: Bounds) -> Self {
        Self {
            zero_point: vdupq_n_s16(bounds.zero_point as i16),
            least: vdupq_n_u8((bounds.low as i32 + bounds.zero_point) as u8),
            most: vdupq_n_u8((bounds.high as i32 + bounds.zero_point) as u8),
        }
    }

    /// Scales four sums and rounds them half to even; what leaves i32 saturates.
    #[inline]
    #[target_feature(enable = "neon")]
    pub fn scale(self, sums: int32x4_t, scale: float32x4_t) -> int32x4_t {
        vcvtnq_s32_f32(vmulq_f32(vcvtq_f32_s32(sums), scale))
    }

    /// Adds the zero point to 16 steps and clamps them: the saturation of each narrowing does not change what the clamp
    /// gives.
    #[inline]
    #[target_feature(enable = "neon")]
    pub fn narrow(self, [a, b, c, d]: [int32x4_t; 4]) -> uint8x16_t {
        let first = vqaddq_s16(vqmovn_high_s32(vqmovn_s32(a), b), self.zero_point);
        let second = vqaddq_s16(vqmovn_high_s32(vqmovn_s32(c), d), self.zero_point);
        let bytes = vqmovun_high_s16(vqmovun_s16(first), second);
        vminq_u8(vmaxq_u8(bytes, self.least), self.most)
    }

    /// The same of eight steps.
    #[inline]
    #[target_feature(enable = "neon")]
    pub fn narrow_8(self, [a, b]: [int32x4_t; 2]) -> uint8x8_t {
        let steps = vqaddq_s16(vqmovn_high_s32(vqmovn_s32(a), b), self.zero_point);
        vmin_u8(vmax_u8(vqmovun_s16(steps), vget_low_u8(self.least)), vget_low_u8(self.most))
    }
}
