//! Vectors of 16 channels; what is left over is done with a mask.

use std::arch::x86_64::*;

use super::Call;

/// Channels of a vector.
const WIDTH: usize = 16;

driver!("avx512f");

/// A bit for each of the first `left` lanes.
fn mask(left: usize) -> __mmask16 {
    if left >= WIDTH { __mmask16::MAX } else { (1 << left) - 1 }
}

/// `N` output positions from `at` on, of the channels from `first` on that the mask names.
#[target_feature(enable = "avx512f")]
unsafe fn positions<const N: usize>(call: &Call<'_>, at: usize, first: usize, mask: __mmask16) {
    // SAFETY: the caller keeps positions and channels in range; lanes outside the mask are neither read nor written.
    unsafe {
        let mut sums = [_mm512_maskz_loadu_ps(mask, call.bias.add(first)); N];
        let base = call.input.offset(at as isize * call.input_stride).add(first);
        for (&tap, &offset) in call.taps.iter().zip(call.offsets) {
            let weights = _mm512_maskz_loadu_ps(mask, call.kernel.add(tap * call.kernel_stride + first));
            for (index, sum) in sums.iter_mut().enumerate() {
                let pixel = base.offset(offset + index as isize * call.input_stride);
                *sum = _mm512_fmadd_ps(_mm512_maskz_loadu_ps(mask, pixel), weights, *sum);
            }
        }
        for (index, &sum) in sums.iter().enumerate() {
            let place = call.output.offset((at + index) as isize * call.output_stride).add(first);
            _mm512_mask_storeu_ps(place, mask, sum);
        }
    }
}
