//! Vectors of 16 channels; what is left over is done with a mask.

use std::arch::x86_64::*;

use super::Call;

/// Channels of a vector.
const WIDTH: usize = 16;

/// Output positions that share the loads of their weights.
const TOGETHER: usize = 4;

/// As tract's `DepthwiseCF32`.
///
/// # Safety
/// What `DepthwiseCF32` asks for, and a processor with avx512f.
#[expect(clippy::too_many_arguments, reason = "tract's signature")]
pub unsafe fn depthwise(
    input: *const f32,
    output: *mut f32,
    kernel: *const f32,
    taps: &[usize],
    offsets: &[isize],
    bias: *const f32,
    channels: usize,
    kernel_stride: usize,
    length: usize,
    input_stride: isize,
    output_stride: isize,
) {
    let call = Call {
        input,
        output,
        kernel,
        taps,
        offsets,
        bias,
        channels,
        kernel_stride,
        length,
        input_stride,
        output_stride,
    };
    // SAFETY: the caller vouches for the pointers and, through the registration, for the processor.
    unsafe { run(call) }
}

#[target_feature(enable = "avx512f")]
unsafe fn run(call: Call<'_>) {
    for first in (0..call.channels).step_by(WIDTH) {
        let mask = mask(call.channels - first);
        let whole = call.length - call.length % TOGETHER;
        // SAFETY: the positions are below `length`, the masked channels below `channels`.
        unsafe {
            (0..whole).step_by(TOGETHER).for_each(|at| positions::<TOGETHER>(&call, at, first, mask));
            (whole..call.length).for_each(|at| positions::<1>(&call, at, first, mask));
        }
    }
}

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
