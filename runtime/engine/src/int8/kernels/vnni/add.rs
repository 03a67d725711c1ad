//! Sums of two tensors in vectors of 64 bytes.

use std::arch::x86_64::*;

use super::finish::FinishWide;
use crate::int8::kernels::{Add, avx2};

/// Bytes that are done at once.
const WIDTH: usize = size_of::<__m512i>();

pub fn add(call: &Add, a: &[u8], b: &[u8], output: &mut [u8]) {
    let length = output.len().min(a.len()).min(b.len());
    // Scales that large are in no real model.
    let whole = if call.is_tame() { length / WIDTH * WIDTH } else { 0 };
    // SAFETY: the features were found before this function could be reached; `whole` bytes are there in all three.
    unsafe { add_avx512(call, a.as_ptr(), b.as_ptr(), output.as_mut_ptr(), whole) };
    if let (Some(a), Some(b), Some(output)) = (a.get(whole..), b.get(whole..), output.get_mut(whole..)) {
        avx2::add(call, a, b, output);
    }
}

/// # Safety
/// `length` bytes, a multiple of 64, at each pointer.
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn add_avx512(call: &Add, a: *const u8, b: *const u8, output: *mut u8, length: usize) {
    let finish = FinishWide::new(call.bounds);
    let (scale_a, scale_b) = (_mm512_set1_ps(call.scale_a), _mm512_set1_ps(call.scale_b));
    let (offset_a, offset_b) = (_mm512_set1_epi32(call.offset_a), _mm512_set1_epi32(call.offset_b));
    let fixed = _mm512_set1_ps(call.fixed);
    for start in (0..length).step_by(WIDTH) {
        let steps = std::array::from_fn(|quarter| {
            let at = start + WIDTH / 4 * quarter;
            // SAFETY: `start + 64` is at most `length`.
            let (a, b) = unsafe { (_mm_loadu_si128(a.add(at).cast()), _mm_loadu_si128(b.add(at).cast())) };
            let a = _mm512_cvtepi32_ps(_mm512_sub_epi32(_mm512_cvtepu8_epi32(a), offset_a));
            let b = _mm512_cvtepi32_ps(_mm512_sub_epi32(_mm512_cvtepu8_epi32(b), offset_b));
            _mm512_cvtps_epi32(_mm512_fmadd_ps(a, scale_a, _mm512_fmadd_ps(b, scale_b, fixed)))
        });
        // SAFETY: `start + 64` is at most `length`.
        unsafe { _mm512_storeu_si512(output.add(start).cast(), finish.narrow_in_order(steps)) }
    }
}
