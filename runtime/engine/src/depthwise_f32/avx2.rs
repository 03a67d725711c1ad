//! Vectors of 8 channels; what is left over is done with a mask.

use std::arch::x86_64::*;

use super::Call;

/// Channels of a vector.
const WIDTH: usize = 8;

driver!("avx2,fma");

/// All bits of the first `left` lanes.
#[target_feature(enable = "avx2,fma")]
fn mask(left: usize) -> __m256i {
    let left = _mm256_set1_epi32(left.min(WIDTH) as i32);
    _mm256_cmpgt_epi32(left, _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7))
}

/// `N` output positions from `at` on, of the channels from `first` on that the mask names.
#[target_feature(enable = "avx2,fma")]
unsafe fn positions<const N: usize>(call: &Call<'_>, at: usize, first: usize, mask: __m256i) {
    // SAFETY: the caller keeps positions and channels in range; lanes outside the mask are neither read nor written.
    unsafe {
        let mut sums = [_mm256_maskload_ps(call.bias.add(first), mask); N];
        let base = call.input.offset(at as isize * call.input_stride).add(first);
        for (&tap, &offset) in call.taps.iter().zip(call.offsets) {
            let weights = _mm256_maskload_ps(call.kernel.add(tap * call.kernel_stride + first), mask);
            for (index, sum) in sums.iter_mut().enumerate() {
                let pixel = base.offset(offset + index as isize * call.input_stride);
                *sum = _mm256_fmadd_ps(_mm256_maskload_ps(pixel, mask), weights, *sum);
            }
        }
        for (index, &sum) in sums.iter().enumerate() {
            let place = call.output.offset((at + index) as isize * call.output_stride).add(first);
            _mm256_maskstore_ps(place, mask, sum);
        }
    }
}
