//! The matrix product in pairs of i16.

use std::arch::x86_64::*;

use crate::int8::kernels::vnni::FinishHalf;
use crate::int8::kernels::{Gemm, scalar};
use crate::int8::weights::PANEL;

/// Pixels of a register tile; with two vectors of channels it fills 12 of the 16 registers with sums.
const TILE: usize = 6;

/// Bytes of weights of a pair for a panel, and of a cache line.
const LINE: usize = 64;

/// Output channels of a vector of sums.
const LANES: usize = 8;

pub fn gemm(call: &Gemm<'_>, output: &mut [u8]) {
    if call.weights.epilogue.is_wide {
        // Scales that large are in no real model; a clamp before rounding would cost all others time.
        scalar::gemm(call, output);
    } else if call.fits(output) && call.weights.depth > 0 {
        // SAFETY: AVX2 was found; `fits` has shown that rows, panels, bias, scale and output cover all of the product.
        unsafe { gemm_avx2(call, output.as_mut_ptr()) }
    }
}

/// # Safety
/// `call.fits` holds for the memory at `output`.
#[target_feature(enable = "avx2,fma")]
unsafe fn gemm_avx2(call: &Gemm<'_>, output: *mut u8) {
    let tiles = call.pixels.div_ceil(TILE).max(1);
    let weights = call.weights;
    let finish = FinishHalf::new(weights.epilogue.bounds);
    for panel in 0..weights.channels.div_ceil(PANEL) {
        // SAFETY: panels, biases and scales are whole, as `fits` has shown; rows and output begin with pixel 0.
        let mut place = unsafe {
            Place {
                rows: call.rows.as_ptr(),
                depth: weights.depth,
                panel: weights.panels.as_ptr().add(panel * PANEL * weights.depth),
                bias: weights.epilogue.bias.as_ptr().add(panel * PANEL),
                scale: weights.epilogue.scale.as_ptr().add(panel * PANEL),
                output: output.add(panel * PANEL),
                stride: call.output_stride,
                channels: (weights.channels - panel * PANEL).min(PANEL),
                ahead: weights.panels.as_ptr().wrapping_add((panel + 1) * PANEL * weights.depth).cast(),
                ahead_step: LINE.div_ceil(tiles),
            }
        };
        // Tiles of about equal size rather than one short tile at the end.
        let (pixels, larger) = (call.pixels / tiles, call.pixels % tiles);
        // SAFETY: the tiles are all pixels, as `fits` has shown.
        unsafe {
            if finish.is_relu(&weights.epilogue) {
                place = place.run::<true>(pixels + 1, larger, &finish);
                place.run::<true>(pixels, tiles - larger, &finish);
            } else {
                place = place.run::<false>(pixels + 1, larger, &finish);
                place.run::<false>(pixels, tiles - larger, &finish);
            }
        }
    }
}

/// Register tiles of a panel: where their numbers come from and go to.
#[derive(Clone, Copy)]
struct Place {
    rows: *const i16,
    depth: usize,
    panel: *const i16,
    bias: *const i32,
    scale: *const f32,
    output: *mut u8,
    stride: usize,
    channels: usize,
    /// What is brought near while this tile is done: its part of the next panel, bytes apart for each pair. Large weights come
    /// from far each time, and the processor's own foresight ends with each tile.
    ahead: *const i8,
    ahead_step: usize,
}

impl Place {
    /// Does `tiles` tiles of `pixels` pixels; gives the place of the next one.
    ///
    /// # Safety
    /// As many rows, a panel and `channels` bytes of each output pixel lie at the pointers.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn run<const RELU: bool>(&self, pixels: usize, tiles: usize, finish: &FinishHalf) -> Self {
        // SAFETY: passed on from the caller; the constant equals `pixels`.
        unsafe {
            match (self.channels <= LANES, pixels) {
                (false, 1) => self.tiles::<1, 2, RELU>(tiles, finish),
                (false, 2) => self.tiles::<2, 2, RELU>(tiles, finish),
                (false, 3) => self.tiles::<3, 2, RELU>(tiles, finish),
                (false, 4) => self.tiles::<4, 2, RELU>(tiles, finish),
                (false, 5) => self.tiles::<5, 2, RELU>(tiles, finish),
                (false, 6) => self.tiles::<6, 2, RELU>(tiles, finish),
                (true, 1) => self.tiles::<1, 1, RELU>(tiles, finish),
                (true, 2) => self.tiles::<2, 1, RELU>(tiles, finish),
                (true, 3) => self.tiles::<3, 1, RELU>(tiles, finish),
                (true, 4) => self.tiles::<4, 1, RELU>(tiles, finish),
                (true, 5) => self.tiles::<5, 1, RELU>(tiles, finish),
                (true, 6) => self.tiles::<6, 1, RELU>(tiles, finish),
                _ => *self,
            }
        }
    }

    /// Tiles of `PIXELS` pixels by `VECTORS` times eight channels.
    ///
    /// # Safety
    /// As [`Self::run`], with `PIXELS` pixels and at most `8 * VECTORS` channels.
    // All sizes in one function have too few registers for their addresses.
    #[inline(never)]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn tiles<const PIXELS: usize, const VECTORS: usize, const RELU: bool>(
        &self,
        tiles: usize,
        finish: &FinishHalf,
    ) -> Self {
        let mut place = *self;
        for _ in 0..tiles {
            // SAFETY: passed on from the caller.
            unsafe { place.tile::<PIXELS, VECTORS, RELU>(finish) }
            place.rows = place.rows.wrapping_add(PIXELS * self.depth);
            place.output = place.output.wrapping_add(PIXELS * self.stride);
            place.ahead = place.ahead.wrapping_add(self.ahead_step * (self.depth / 2));
        }
        place
    }

    /// # Safety
    /// As [`Self::tiles`], for one.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn tile<const PIXELS: usize, const VECTORS: usize, const RELU: bool>(&self, finish: &FinishHalf) {
        // SAFETY: biases are padded to whole panels, of two vectors of eight; unaligned loads.
        let bias = |vector: usize| unsafe { _mm256_loadu_si256(self.bias.add(LANES * vector).cast()) };
        let bias: [__m256i; VECTORS] = std::array::from_fn(|vector| FinishHalf::begin::<RELU>(bias(vector)));
        let mut sums = [bias; PIXELS];
        for pair in 0..self.depth / 2 {
            // Brings an address near, which reads nothing.
            _mm_prefetch::<_MM_HINT_T0>(self.ahead.wrapping_add(self.ahead_step * pair));
            // SAFETY: a panel holds `depth / 2` groups of 16 pairs, a row `depth / 2` pairs; unaligned loads.
            unsafe {
                let weights: [__m256i; VECTORS] = std::array::from_fn(|vector| {
                    _mm256_loadu_si256(self.panel.add(pair * 2 * PANEL + vector * 2 * LANES).cast())
                });
                for (pixel, sums) in sums.iter_mut().enumerate() {
                    let inputs = self.rows.add(pixel * self.depth + 2 * pair).cast::<i32>().read_unaligned();
                    let inputs = _mm256_set1_epi32(inputs);
                    for (sum, weights) in sums.iter_mut().zip(weights) {
                        *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(inputs, weights));
                    }
                }
            }
        }
        // SAFETY: scales are padded to whole panels, of two vectors of eight; unaligned loads.
        let scale: [__m256; VECTORS] =
            std::array::from_fn(|vector| unsafe { _mm256_loadu_ps(self.scale.add(LANES * vector)) });
        let (finish, unshift) = (finish.known::<RELU>(), scale.map(|scale| FinishHalf::unshift(scale)));
        let narrowed = |sums: [__m256i; VECTORS]| {
            let mut steps = [_mm256_setzero_si256(); 2];
            for ((steps, sum), (scale, unshift)) in steps.iter_mut().zip(sums).zip(scale.into_iter().zip(unshift)) {
                *steps = finish.steps::<RELU>(sum, scale, unshift);
            }
            steps
        };
        let (pairs, last) = sums.as_chunks::<2>();
        let mut output = self.output;
        for &[first, second] in pairs {
            let ([a, b], [c, d]) = (narrowed(first), narrowed(second));
            let bytes = finish.narrow_in_order([a, b, c, d]);
            // SAFETY: two more pixels have `channels` bytes of room each.
            unsafe {
                self.store(_mm256_castsi256_si128(bytes), output);
                self.store(_mm256_extracti128_si256::<1>(bytes), output.add(self.stride));
            }
            output = output.wrapping_add(2 * self.stride);
        }
        for &last in last {
            let [a, b] = narrowed(last);
            let bytes = finish.narrow_in_order([a, b, a, b]);
            // SAFETY: one more pixel has `channels` bytes of room.
            unsafe { self.store(_mm256_castsi256_si128(bytes), output) };
        }
    }

    /// # Safety
    /// `channels` bytes of room at `output`.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn store(&self, bytes: __m128i, output: *mut u8) {
        // SAFETY: whole vectors only where that many channels are there; else exactly `channels` bytes.
        unsafe {
            match self.channels {
                16 => _mm_storeu_si128(output.cast(), bytes),
                8 => _mm_storel_epi64(output.cast(), bytes),
                channels => {
                    let mut buffer = [0u8; 16];
                    _mm_storeu_si128(buffer.as_mut_ptr().cast(), bytes);
                    std::ptr::copy_nonoverlapping(buffer.as_ptr(), output, channels.min(16));
                }
            }
        }
    }
}
