//! Vectors of 8 channels: 2 of 6 positions, or one of 8, so that 16 registers hold the sums.

use std::arch::x86_64::*;

use super::dense::{BLOCK, LINE, Part, bring};
use super::depthwise::{Line, MANY, SOME};

pub(super) const LANES: usize = 8;
pub(super) const MOST_VECTORS: usize = 2;

type Vector = __m256;

dense!("avx2,fma");
depthwise!("avx2,fma");

/// The positions of a part, its channels in so many vectors.
///
/// # Safety
/// The processor has AVX2 and FMA; the part's pointers are as its fields say.
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn dense(part: &Part<'_>, vectors: usize) {
    // SAFETY: as the caller vouches; 6 and 8 divide `BLOCK`.
    unsafe {
        match vectors {
            1 => tiles::<1, 8, 4>(part),
            _ => tiles::<2, 6, 3>(part),
        }
    }
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn spread(value: f32) -> Vector {
    _mm256_set1_ps(value)
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn multiply_add(a: Vector, b: Vector, sum: Vector) -> Vector {
    _mm256_fmadd_ps(a, b, sum)
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn add(a: Vector, b: Vector) -> Vector {
    _mm256_add_ps(a, b)
}

/// In this order of operands a NaN stays one.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn clip(value: Vector, low: Vector, high: Vector) -> Vector {
    _mm256_min_ps(high, _mm256_max_ps(low, value))
}

#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn load(numbers: *const f32, lanes: usize) -> Vector {
    // SAFETY: the caller has so many numbers there.
    unsafe { if lanes == LANES { _mm256_loadu_ps(numbers) } else { _mm256_maskload_ps(numbers, mask(lanes)) } }
}

#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn store(numbers: *mut f32, values: Vector, lanes: usize) {
    // SAFETY: the caller has so many numbers there.
    unsafe {
        if lanes == LANES {
            _mm256_storeu_ps(numbers, values);
        } else {
            _mm256_maskstore_ps(numbers, mask(lanes), values);
        }
    }
}

/// All bits set in so many lanes.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn mask(lanes: usize) -> __m256i {
    _mm256_cmpgt_epi32(_mm256_set1_epi32(lanes as i32), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7))
}
