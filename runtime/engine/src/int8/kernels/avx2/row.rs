//! A single pixel's products with weights that are kept as bytes: each is read once, and from far away, so that half as many
//! bytes are worth their widening.

use std::arch::x86_64::*;

use crate::int8::kernels::vnni::FinishHalf;
use crate::int8::kernels::{DotGemm, DotKernels, scalar};
use crate::int8::weights::DotPacking;

/// Output channels of a vector of sums.
const LANES: usize = 8;

/// Vectors of sums; the other half of the registers is for inputs and products.
const VECTORS: usize = 8;

/// Output channels that are done at once.
const PANEL: usize = VECTORS * LANES;

/// Bytes that one sum takes in at once.
const GROUP: usize = 2;

const PACKING: DotPacking = DotPacking { panel: PANEL, group: GROUP, offset: 0, least: i8::MIN };

pub const KERNELS: DotKernels = DotKernels { packing: PACKING, gemm };

fn gemm(call: &DotGemm<'_>, output: &mut [u8]) {
    if call.weights.epilogue.is_wide {
        scalar::dot_gemm(call, output);
    } else if call.fits(PACKING, output) {
        // SAFETY: AVX2 was found; `fits` has shown that input, panels, bias, scale and output cover all of the product.
        unsafe { gemm_avx2(call, output) }
    }
}

/// # Safety
/// `call.fits` holds for `PACKING` and `output`.
#[target_feature(enable = "avx2")]
unsafe fn gemm_avx2(call: &DotGemm<'_>, output: &mut [u8]) {
    let weights = call.weights;
    let panel_bytes = weights.runs * weights.run * PANEL;
    let finish = FinishHalf::new(weights.epilogue.bounds);
    for (pixel, output) in output.chunks_mut(call.output_stride.max(1)).enumerate().take(call.pixels) {
        for (panel, output) in output.chunks_mut(PANEL).enumerate().take(weights.channels.div_ceil(PANEL)) {
            let count = (weights.channels - panel * PANEL).min(PANEL);
            // SAFETY: panels, biases and scales are whole, and the pixel lies in the input, as `fits` has shown.
            let steps = unsafe {
                let sums = sums(
                    call,
                    call.input.as_ptr().add(call.place(pixel)),
                    weights.panels.as_ptr().add(panel * panel_bytes),
                    weights.epilogue.bias.as_ptr().add(panel * PANEL),
                );
                finished(sums, weights.epilogue.scale.as_ptr().add(panel * PANEL), &finish)
            };
            output.iter_mut().zip(steps).take(count).for_each(|(output, step)| *output = step);
        }
    }
}

/// The sums of one pixel and one panel.
///
/// # Safety
/// All runs lie behind `pixel`; a whole panel and its biases behind the other pointers.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn sums(call: &DotGemm<'_>, pixel: *const u8, mut panel: *const i8, bias: *const i32) -> [__m256i; VECTORS] {
    let zero = _mm256_setzero_si256();
    // SAFETY: as the caller says; unaligned loads.
    let mut sums: [__m256i; VECTORS] =
        std::array::from_fn(|vector| unsafe { _mm256_loadu_si256(bias.add(LANES * vector).cast()) });
    for run in 0..call.weights.runs {
        for group in 0..call.weights.run / GROUP {
            // SAFETY: a run has that many groups, a panel a vector of pairs for each of them.
            unsafe {
                let pair = pixel.add(run * call.run_pitch + group * GROUP).cast::<i16>().read_unaligned();
                let inputs = _mm256_unpacklo_epi8(_mm256_set1_epi16(pair), zero);
                for sum in &mut sums {
                    let weights = _mm256_cvtepi8_epi16(_mm_loadu_si128(panel.cast()));
                    *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(inputs, weights));
                    panel = panel.add(GROUP * LANES);
                }
            }
        }
    }
    sums
}

/// # Safety
/// A whole panel's scales lie at `scale`.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn finished(sums: [__m256i; VECTORS], scale: *const f32, finish: &FinishHalf) -> [u8; PANEL] {
    let mut bytes = [0; PANEL];
    let mut steps = [_mm256_setzero_si256(); VECTORS];
    for (vector, (step, sums)) in steps.iter_mut().zip(sums).enumerate() {
        // SAFETY: as the caller says; unaligned loads.
        *step = finish.scale(sums, unsafe { _mm256_loadu_ps(scale.add(LANES * vector)) });
    }
    for (four, bytes) in steps.as_chunks::<4>().0.iter().zip(bytes.as_chunks_mut::<{ 4 * LANES }>().0) {
        // SAFETY: 32 bytes of room.
        unsafe { _mm256_storeu_si256(bytes.as_mut_ptr().cast(), finish.narrow_in_order(*four)) }
    }
    bytes
}
