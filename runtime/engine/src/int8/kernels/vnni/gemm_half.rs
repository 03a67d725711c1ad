//! The matrix product of bytes in vectors of 32 bytes: for processors that have VNNI without AVX-512.

use std::arch::x86_64::*;

use super::finish::FinishHalf;
use super::gemm::{GROUP, LANES, PACKING, Place};
use crate::int8::kernels::{DotGemm, scalar};

/// Pixels of a register tile; with two vectors of channels it fills 12 of the 16 registers with sums.
const TILE: usize = 6;

/// Vectors that a panel is made of.
const VECTORS: usize = 2;

/// Makes the kernel for one spelling of the instruction: the VEX one of AVX-VNNI, or the EVEX one of AVX-512.
macro_rules! half_gemm {
    ($name:ident, $features:literal, $dot:path) => {
        pub mod $name {
            use super::*;

            pub fn gemm(call: &DotGemm<'_>, output: &mut [u8]) {
                if call.weights.epilogue.is_wide {
                    scalar::dot_gemm(call, output);
                } else if call.fits(PACKING, output) {
                    // SAFETY: the features were found before this function could be reached; `fits` has shown that
                    // input, panels, bias, scale and output cover all of the product.
                    unsafe { gemm_panels(call, output.as_mut_ptr()) }
                }
            }

            /// # Safety
            /// `call.fits` holds for `PACKING` and the memory at `output`.
            #[target_feature(enable = $features)]
            unsafe fn gemm_panels(call: &DotGemm<'_>, output: *mut u8) {
                let weights = call.weights;
                let panel_bytes = weights.runs * weights.run * LANES;
                for panel in 0..weights.channels.div_ceil(LANES) {
                    // SAFETY: panels, biases and scales are whole; each output pixel has `channels` bytes.
                    unsafe {
                        let panel = Panel {
                            weights: weights.panels.as_ptr().add(panel * panel_bytes),
                            bias: weights.epilogue.bias.as_ptr().add(panel * LANES),
                            scale: weights.epilogue.scale.as_ptr().add(panel * LANES),
                            first: panel * LANES,
                            channels: (weights.channels - panel * LANES).min(LANES),
                            finish: FinishHalf::new(weights.epilogue.bounds),
                        };
                        panel.run(call, output.add(panel.first));
                    }
                }
            }

            /// What all register tiles of a panel share.
            struct Panel {
                weights: *const i8,
                bias: *const i32,
                scale: *const f32,
                first: usize,
                channels: usize,
                finish: FinishHalf,
            }

            impl Panel {
                /// Cuts the pixels into tiles of about equal size.
                ///
                /// # Safety
                /// As [`gemm_panels`]; `output` is where the first pixel's first channel of this panel goes.
                #[target_feature(enable = $features)]
                unsafe fn run(&self, call: &DotGemm<'_>, output: *mut u8) {
                    let tiles = call.pixels.div_ceil(TILE);
                    let (mut first, mut place) = (0, Place::default());
                    for tile in 0..tiles {
                        let count = (call.pixels - first).div_ceil(tiles - tile);
                        let mut pixels = [call.input.as_ptr(); TILE];
                        for pixel in pixels.iter_mut().take(count) {
                            // SAFETY: `fits` has shown that every pixel lies in the input.
                            *pixel = unsafe { call.input.as_ptr().add(place.byte) };
                            place.advance(call);
                        }
                        // SAFETY: `count` is at most TILE, and the output holds all pixels.
                        unsafe {
                            let output = output.add(first * call.output_stride);
                            match count {
                                1 => self.tile::<1>(call, &pixels, output),
                                2 => self.tile::<2>(call, &pixels, output),
                                3 => self.tile::<3>(call, &pixels, output),
                                4 => self.tile::<4>(call, &pixels, output),
                                5 => self.tile::<5>(call, &pixels, output),
                                _ => self.tile::<6>(call, &pixels, output),
                            }
                        }
                        first += count;
                    }
                }

                /// `PIXELS` pixels by 16 channels.
                ///
                /// # Safety
                /// Each of the first `PIXELS` pointers is followed by all runs; the panel is whole; `output` has room for
                /// `channels` bytes of each pixel.
                #[target_feature(enable = $features)]
                unsafe fn tile<const PIXELS: usize>(
                    &self,
                    call: &DotGemm<'_>,
                    pixels: &[*const u8; TILE],
                    output: *mut u8,
                ) {
                    // SAFETY: biases are padded to whole panels; unaligned loads.
                    let bias: [__m256i; VECTORS] =
                        std::array::from_fn(|at| unsafe { _mm256_loadu_si256(self.bias.add(8 * at).cast()) });
                    let mut sums = [bias; PIXELS];
                    let mut panel = self.weights;
                    for run in 0..call.weights.runs {
                        let mut at = run * call.run_pitch;
                        for _ in 0..call.weights.run / GROUP {
                            // SAFETY: a panel holds 64 weights for each group; the pixels' bytes are as the caller says.
                            unsafe {
                                let weights: [__m256i; VECTORS] =
                                    std::array::from_fn(|half| _mm256_loadu_si256(panel.add(32 * half).cast()));
                                for (pixel, sums) in pixels.iter().zip(&mut sums) {
                                    let inputs = _mm256_set1_epi32(pixel.add(at).cast::<i32>().read_unaligned());
                                    for (sum, weights) in sums.iter_mut().zip(weights) {
                                        *sum = $dot(*sum, inputs, weights);
                                    }
                                }
                                panel = panel.add(LANES * GROUP);
                            }
                            at += GROUP;
                        }
                    }
                    // SAFETY: as the caller says.
                    unsafe { self.store(&sums, call.output_stride, output) }
                }

                /// # Safety
                /// Scales are padded to whole panels; `output` has room for `channels` bytes of each pixel.
                #[inline]
                #[target_feature(enable = $features)]
                unsafe fn store(&self, sums: &[[__m256i; VECTORS]], output_stride: usize, output: *mut u8) {
                    // SAFETY: as the caller says; unaligned loads.
                    let scale: [__m256; VECTORS] =
                        std::array::from_fn(|at| unsafe { _mm256_loadu_ps(self.scale.add(8 * at)) });
                    for (pair, sums) in sums.chunks(2).enumerate() {
                        let mut steps = [_mm256_setzero_si256(); 4];
                        for (steps, sums) in steps.chunks_exact_mut(VECTORS).zip(sums) {
                            for (steps, (sums, scale)) in steps.iter_mut().zip(sums.iter().zip(scale)) {
                                *steps = self.finish.scale(*sums, scale);
                            }
                        }
                        let order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
                        let bytes = _mm256_permutevar8x32_epi32(self.finish.narrow(steps), order);
                        let halves = [_mm256_castsi256_si128(bytes), _mm256_extracti128_si256::<1>(bytes)];
                        for (pixel, half) in halves.into_iter().enumerate().take(sums.len()) {
                            // SAFETY: exactly `channels` bytes of each pixel are written.
                            unsafe { self.store_pixel(half, output.add((2 * pair + pixel) * output_stride)) }
                        }
                    }
                }

                /// # Safety
                /// `channels` bytes of room at `output`.
                #[inline]
                #[target_feature(enable = $features)]
                unsafe fn store_pixel(&self, bytes: __m128i, output: *mut u8) {
                    // SAFETY: whole vectors only where that many channels are there; else exactly `channels` bytes.
                    unsafe {
                        match self.channels {
                            16 => _mm_storeu_si128(output.cast(), bytes),
                            8 => _mm_storel_epi64(output.cast(), bytes),
                            channels => {
                                let mut buffer = [0u8; 16];
                                _mm_storeu_si128(buffer.as_mut_ptr().cast(), bytes);
                                std::ptr::copy_nonoverlapping(buffer.as_ptr(), output, channels);
                            }
                        }
                    }
                }
            }
        }
    };
}

half_gemm!(avx, "avx2,avxvnni", _mm256_dpbusd_avx_epi32);
// The same code where AVX-VNNI cannot be run.
#[cfg(test)]
half_gemm!(avx512, "avx2,avx512f,avx512vl,avx512vnni", _mm256_dpbusd_epi32);
