//! From exact sums to stored steps, 16 at a time.

use std::arch::x86_64::*;

use crate::int8::quant::Bounds;

/// The epilogue's constants in vectors.
#[derive(Clone, Copy)]
pub struct Finish {
    zero_point: __m512i,
    least: __m512i,
    most: __m512i,
    /// Undoes what narrowing within 128-bit lanes does to the order.
    order: __m512i,
}

impl Finish {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    pub fn new(bounds: Bounds) -> Self {
        Self {
            zero_point: _mm512_set1_epi16(bounds.zero_point as i16),
            least: _mm512_set1_epi8((bounds.low as i32 + bounds.zero_point) as i8),
            most: _mm512_set1_epi8((bounds.high as i32 + bounds.zero_point) as i8),
            order: _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15),
        }
    }

    /// Scales and rounds 16 sums, none of which leaves i32 thereby.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    pub fn scale(&self, sums: __m512i, scale: __m512) -> __m512i {
        _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_cvtepi32_ps(sums), scale))
    }

    /// Adds the zero point to 64 steps and clamps them: the saturation of each narrowing does not change what the clamp
    /// gives. Each 128-bit lane gets four steps of every vector's own lane.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    pub fn narrow(&self, [a, b, c, d]: [__m512i; 4]) -> __m512i {
        let first = _mm512_adds_epi16(_mm512_packs_epi32(a, b), self.zero_point);
        let second = _mm512_adds_epi16(_mm512_packs_epi32(c, d), self.zero_point);
        _mm512_min_epu8(_mm512_max_epu8(_mm512_packus_epi16(first, second), self.least), self.most)
    }

    /// The same in order: all of the first vector, then all of the second, and so on.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    pub fn narrow_in_order(&self, steps: [__m512i; 4]) -> __m512i {
        _mm512_permutexvar_epi32(self.order, self.narrow(steps))
    }
}
