//! Sums of tensors, and of the pixels of an image.

use std::arch::aarch64::*;

use super::finish::Finish;
use crate::int8::kernels::{Add, scalar};

pub fn add(call: &Add, a: &[u8], b: &[u8], output: &mut [u8]) {
    let whole = output.len().min(a.len()).min(b.len()) / 16 * 16;
    let ((a, a_rest), (b, b_rest)) = (a.split_at(whole), b.split_at(whole));
    let (output, rest) = output.split_at_mut(whole);
    // SAFETY: NEON is there, as this set was chosen.
    unsafe { add_chunks(call, a.as_chunks().0, b.as_chunks().0, output.as_chunks_mut().0) }
    scalar::add(call, a_rest, b_rest, rest);
}

#[target_feature(enable = "neon")]
fn add_chunks(call: &Add, a: &[[u8; 16]], b: &[[u8; 16]], output: &mut [[u8; 16]]) {
    let finish = Finish::new(call.bounds);
    for (output, (a, b)) in output.iter_mut().zip(a.iter().zip(b)) {
        // SAFETY: 16 bytes each.
        let (a, b) = unsafe { (vld1q_u8(a.as_ptr()), vld1q_u8(b.as_ptr())) };
        let (a, b) = (real(a, call.offset_a), real(b, call.offset_b));
        let mut pairs = a.into_iter().zip(b);
        let steps = std::array::from_fn(|_| {
            let (a, b) = pairs.next().unwrap_or((vdupq_n_f32(0.0), vdupq_n_f32(0.0)));
            let sum = vfmaq_n_f32(vdupq_n_f32(call.fixed), b, call.scale_b);
            vcvtnq_s32_f32(vfmaq_n_f32(sum, a, call.scale_a))
        });
        // SAFETY: 16 bytes.
        unsafe { vst1q_u8(output.as_mut_ptr(), finish.narrow(steps)) }
    }
}

/// 16 bytes less an offset as f32.
#[inline]
#[target_feature(enable = "neon")]
fn real(bytes: uint8x16_t, offset: i32) -> [float32x4_t; 4] {
    let offset = vdupq_n_s16(offset as i16);
    let low = vsubq_s16(vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(bytes))), offset);
    let high = vsubq_s16(vreinterpretq_s16_u16(vmovl_high_u8(bytes)), offset);
    [vmovl_s16(vget_low_s16(low)), vmovl_high_s16(low), vmovl_s16(vget_low_s16(high)), vmovl_high_s16(high)]
        .map(|steps| vcvtq_f32_s32(steps))
}

/// Channels whose sums are kept in registers at once.
const STRIPE: usize = 32;

/// Adds up stripes of channels, so that sums stay in registers over all pixels.
pub fn sum_pixels(image: &[u8], sums: &mut [i32]) {
    let channels = sums.len();
    if channels == 0 {
        return;
    }
    let (stripes, rest) = sums.as_chunks_mut::<STRIPE>();
    let whole = STRIPE * stripes.len();
    for (index, sums) in stripes.iter_mut().enumerate() {
        for pixel in image.chunks_exact(channels) {
            if let Some(pixel) = pixel.get(STRIPE * index..).and_then(<[u8]>::first_chunk::<STRIPE>) {
                sums.iter_mut().zip(pixel).for_each(|(sum, &step)| *sum = sum.wrapping_add(i32::from(step)));
            }
        }
    }
    for pixel in image.chunks_exact(channels) {
        let pixel = pixel.iter().skip(whole);
        rest.iter_mut().zip(pixel).for_each(|(sum, &step)| *sum = sum.wrapping_add(i32::from(step)));
    }
}
