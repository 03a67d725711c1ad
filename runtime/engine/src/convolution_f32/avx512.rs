//! Vectors of 16 channels: up to 4 vectors of 6 positions, or fewer of 8, so that 32 registers hold the sums.

use std::arch::x86_64::*;

use super::dense::{BLOCK, LINE, Part, bring};
use super::depthwise::{Line, MANY, SOME};

pub(super) const LANES: usize = 16;
pub(super) const MOST_VECTORS: usize = 4;

type Vector = __m512;

dense!("avx512f");
depthwise!("avx512f");

/// The positions of a part, its channels in so many vectors.
///
/// # Safety
/// The processor has AVX-512F; the part's pointers are as its fields say.
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn dense(part: &Part<'_>, vectors: usize) {
    // SAFETY: as the caller vouches; 6 and 8 divide `BLOCK`.
    unsafe {
        match vectors {
            1 => tiles::<1, 8, 4>(part),
            2 => tiles::<2, 8, 4>(part),
            3 => tiles::<3, 8, 4>(part),
            _ => tiles::<4, 6, 3>(part),
        }
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn spread(value: f32) -> Vector {
    _mm512_set1_ps(value)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn multiply_add(a: Vector, b: Vector, sum: Vector) -> Vector {
    _mm512_fmadd_ps(a, b, sum)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn add(a: Vector, b: Vector) -> Vector {
    _mm512_add_ps(a, b)
}

/// In this order of operands a NaN stays one.
#[inline]
#[target_feature(enable = "avx512f")]
fn clip(value: Vector, low: Vector, high: Vector) -> Vector {
    _mm512_min_ps(high, _mm512_max_ps(low, value))
}

#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn load(numbers: *const f32, lanes: usize) -> Vector {
    // SAFETY: the caller has so many numbers there.
    unsafe { if lanes == LANES { _mm512_loadu_ps(numbers) } else { _mm512_maskz_loadu_ps(mask(lanes), numbers) } }
}

#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn store(numbers: *mut f32, values: Vector, lanes: usize) {
    // SAFETY: the caller has so many numbers there.
    unsafe { _mm512_mask_storeu_ps(numbers, mask(lanes), values) }
}

/// A bit for each of so many lanes.
fn mask(lanes: usize) -> __mmask16 {
    if lanes >= LANES { __mmask16::MAX } else { (1 << lanes) - 1 }
}
