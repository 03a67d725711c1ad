//! The matrix product of bytes: `vpdpbusd` adds four products of an unsigned by a signed byte to each of 16 sums.

use std::arch::x86_64::*;

use super::finish::FinishWide;
use crate::int8::kernels::{DotGemm, scalar};
use crate::int8::weights::DotPacking;

/// Output channels of a vector of sums.
pub const LANES: usize = 16;

/// Vectors of weights that are worked on at once.
const MOST_VECTORS: usize = 4;

/// Pixels of a register tile; with three or four vectors of channels it fills up to 24 of the 32 registers with sums.
const TILE: usize = 6;

/// The same with one or two vectors: fewer sums would wait for the products before them.
const TALL_TILE: usize = 8;

/// Bytes that one sum takes in at once.
pub const GROUP: usize = 4;

pub const PACKING: DotPacking = DotPacking { panel: LANES, group: GROUP, offset: 0, least: i8::MIN };

/// For processors that take a product of 64 bytes as two of 32, such as Zen 4: a last vector of no more than eight channels
/// takes one.
pub fn gemm_in_halves(call: &DotGemm<'_>, output: &mut [u8]) {
    checked_gemm(call, output, true);
}

/// For processors that do products of 64 bytes in two ports and lose one of them to those of 32.
pub fn gemm(call: &DotGemm<'_>, output: &mut [u8]) {
    checked_gemm(call, output, false);
}

fn checked_gemm(call: &DotGemm<'_>, output: &mut [u8], is_halved: bool) {
    if call.weights.epilogue.is_wide {
        // Scales that large are in no real model; a clamp before rounding would cost all others time.
        scalar::dot_gemm(call, output);
    } else if call.fits(PACKING, output) {
        // SAFETY: the features were found before this function could be reached; `fits` has shown that input, panels,
        // bias, scale and output cover all of the product.
        unsafe { gemm_avx512(call, output.as_mut_ptr(), is_halved) }
    }
}

/// # Safety
/// `call.fits` holds for `PACKING` and the memory at `output`.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn gemm_avx512(call: &DotGemm<'_>, output: *mut u8, is_halved: bool) {
    let weights = call.weights;
    let panel_bytes = weights.runs * weights.run * LANES;
    let finish = FinishWide::new(weights.epilogue.bounds);
    let panels = weights.channels.div_ceil(LANES);
    for first in (0..panels).step_by(MOST_VECTORS) {
        // The next panels, or these once more.
        let next = if first + MOST_VECTORS < panels { first + MOST_VECTORS } else { first };
        // SAFETY: panels, biases and scales are whole; each output pixel has `channels` bytes.
        let tile = unsafe {
            Tile {
                panel: weights.panels.as_ptr().add(first * panel_bytes),
                panel_bytes,
                ahead: weights.panels.as_ptr().add(next * panel_bytes),
                bias: weights.epilogue.bias.as_ptr().add(first * LANES),
                scale: weights.epilogue.scale.as_ptr().add(first * LANES),
                runs: weights.runs,
                groups: weights.run / GROUP,
                run_pitch: call.run_pitch,
                channels: (weights.channels - first * LANES).min(MOST_VECTORS * LANES),
                output_stride: call.output_stride,
                finish,
                is_relu: finish.is_relu(&weights.epilogue),
                is_halved,
            }
        };
        // SAFETY: as above; the first byte of a pixel that these panels write.
        unsafe { tile.run_all(call, output.add(first * LANES)) };
    }
}

/// What all register tiles of up to four panels share.
struct Tile {
    panel: *const i8,
    panel_bytes: usize,
    /// What is brought near meanwhile: large weights come from far each time, and the processor's own foresight ends with each
    /// page.
    ahead: *const i8,
    bias: *const i32,
    scale: *const f32,
    runs: usize,
    /// Groups of a run.
    groups: usize,
    run_pitch: usize,
    /// Channels of these panels.
    channels: usize,
    output_stride: usize,
    finish: FinishWide,
    /// Whether steps are made as after a Relu.
    is_relu: bool,
    /// Whether a last vector of no more than eight channels is taken as half of one.
    is_halved: bool,
}

impl Tile {
    /// Cuts the pixels into tiles of about equal size.
    ///
    /// # Safety
    /// As [`gemm_avx512`]; `output` is where the first pixel's first channel of these panels goes.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn run_all(&self, call: &DotGemm<'_>, output: *mut u8) {
        let most = if self.channels > 2 * LANES { TILE } else { TALL_TILE };
        let tiles = call.pixels.div_ceil(most);
        let (mut first, mut place) = (0, Place::default());
        // Bytes of the next panels that are brought near with each group of this tile's sums.
        let step = (MOST_VECTORS * LANES * GROUP).div_ceil(tiles.max(1));
        for tile in 0..tiles {
            let count = (call.pixels - first).div_ceil(tiles - tile);
            let mut pixels = [call.input.as_ptr(); TALL_TILE];
            for pixel in pixels.iter_mut().take(count) {
                // SAFETY: `fits` has shown that every pixel lies in the input.
                *pixel = unsafe { call.input.as_ptr().add(place.byte) };
                place.advance(call);
            }
            // SAFETY: `count` is at most what these vectors take, and the output holds all pixels.
            unsafe {
                let output = output.add(first * self.output_stride);
                let ahead = (self.ahead.wrapping_add(tile * step * self.runs * self.groups), step);
                match self.is_relu {
                    true => self.run_vectors::<true>(count, &pixels, ahead, output),
                    false => self.run_vectors::<false>(count, &pixels, ahead, output),
                }
            }
            first += count;
        }
    }

    /// # Safety
    /// As [`Self::run`], for `count` pixels and however many vectors there are channels for.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn run_vectors<const RELU: bool>(
        &self,
        count: usize,
        pixels: &[*const u8; TALL_TILE],
        ahead: (*const i8, usize),
        output: *mut u8,
    ) {
        // SAFETY: passed on from the caller.
        unsafe {
            let halves = self.channels.div_ceil(LANES / 2);
            match if self.is_halved { halves } else { halves.next_multiple_of(2) } {
                1 => self.run_many::<1, true, false>(count, pixels, ahead, output),
                2 => self.run_many::<1, false, RELU>(count, pixels, ahead, output),
                3 => self.run_many::<2, true, false>(count, pixels, ahead, output),
                4 => self.run_many::<2, false, RELU>(count, pixels, ahead, output),
                5 => self.run_pixels::<3, true, false>(count, pixels, ahead, output),
                6 => self.run_pixels::<3, false, RELU>(count, pixels, ahead, output),
                7 => self.run_pixels::<4, true, false>(count, pixels, ahead, output),
                _ => self.run_pixels::<4, false, RELU>(count, pixels, ahead, output),
            }
        }
    }

    /// # Safety
    /// As [`Self::run`], for `count` pixels.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn run_pixels<const VECTORS: usize, const HALF: bool, const RELU: bool>(
        &self,
        count: usize,
        pixels: &[*const u8; TALL_TILE],
        ahead: (*const i8, usize),
        output: *mut u8,
    ) {
        // SAFETY: passed on from the caller.
        unsafe {
            match count {
                1 => self.run::<1, VECTORS, HALF, RELU>(pixels, ahead, output),
                2 => self.run::<2, VECTORS, HALF, RELU>(pixels, ahead, output),
                3 => self.run::<3, VECTORS, HALF, RELU>(pixels, ahead, output),
                4 => self.run::<4, VECTORS, HALF, RELU>(pixels, ahead, output),
                5 => self.run::<5, VECTORS, HALF, RELU>(pixels, ahead, output),
                _ => self.run::<6, VECTORS, HALF, RELU>(pixels, ahead, output),
            }
        }
    }

    /// # Safety
    /// As [`Self::run`], for `count` pixels.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn run_many<const VECTORS: usize, const HALF: bool, const RELU: bool>(
        &self,
        count: usize,
        pixels: &[*const u8; TALL_TILE],
        ahead: (*const i8, usize),
        output: *mut u8,
    ) {
        // SAFETY: passed on from the caller.
        unsafe {
            match count {
                0..=6 => self.run_pixels::<VECTORS, HALF, RELU>(count, pixels, ahead, output),
                7 => self.run::<7, VECTORS, HALF, RELU>(pixels, ahead, output),
                _ => self.run::<8, VECTORS, HALF, RELU>(pixels, ahead, output),
            }
        }
    }

    /// `PIXELS` pixels by `VECTORS` times 16 channels, of which the last vector has no more than eight if `HALF`.
    ///
    /// # Safety
    /// Each of the first `PIXELS` pointers is followed by `runs` runs of `groups` groups; `VECTORS` panels with biases
    /// and scales are there; `output` has room for `channels` bytes of each pixel.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn run<const PIXELS: usize, const VECTORS: usize, const HALF: bool, const RELU: bool>(
        &self,
        pixels: &[*const u8; TALL_TILE],
        ahead: (*const i8, usize),
        output: *mut u8,
    ) {
        let whole = if HALF { VECTORS - 1 } else { VECTORS };
        // SAFETY: biases and scales are padded to whole panels; unaligned loads.
        let (bias, half_bias): ([__m512i; VECTORS], __m256i) = unsafe {
            let bias = |vector: usize| _mm512_loadu_si512(self.bias.add(LANES * vector).cast());
            let bias = std::array::from_fn(|vector| FinishWide::begin::<RELU>(bias(vector)));
            (bias, _mm256_loadu_si256(self.bias.add(LANES * (VECTORS - 1)).cast()))
        };
        let (mut sums, mut halves) = ([bias; PIXELS], [half_bias; PIXELS]);
        let (mut panel, (mut ahead, step)) = (self.panel, ahead);
        for run in 0..self.runs {
            let mut at = run * self.run_pitch;
            for _ in 0..self.groups {
                // SAFETY: a panel holds `runs * groups` vectors of 64 weights; the pixels' bytes are as the caller says.
                unsafe {
                    let weights: [__m512i; VECTORS] =
                        std::array::from_fn(|vector| _mm512_loadu_si512(panel.add(vector * self.panel_bytes).cast()));
                    let half_weights = _mm256_loadu_si256(panel.add((VECTORS - 1) * self.panel_bytes).cast());
                    for (pixel, (sums, half)) in pixels.iter().zip(sums.iter_mut().zip(&mut halves)) {
                        let inputs = _mm512_set1_epi32(pixel.add(at).cast::<i32>().read_unaligned());
                        for (sum, weights) in sums.iter_mut().zip(weights).take(whole) {
                            *sum = _mm512_dpbusd_epi32(*sum, inputs, weights);
                        }
                        if HALF {
                            *half = _mm256_dpbusd_epi32(*half, _mm512_castsi512_si256(inputs), half_weights);
                        }
                    }
                    panel = panel.add(LANES * GROUP);
                    if VECTORS > 2 {
                        // Brings an address near, which reads nothing.
                        _mm_prefetch::<_MM_HINT_T1>(ahead);
                        ahead = ahead.wrapping_add(step);
                    }
                }
                at += GROUP;
            }
        }
        if HALF {
            for (sums, half) in sums.iter_mut().zip(halves) {
                sums.iter_mut().skip(whole).for_each(|sum| *sum = _mm512_zextsi256_si512(half));
            }
        }
        // Not a function of its own: where that is not inlined, all sums go through memory.
        // SAFETY: scales are padded to whole panels; unaligned loads.
        let scale: [__m512; VECTORS] =
            std::array::from_fn(|vector| unsafe { _mm512_loadu_ps(self.scale.add(LANES * vector)) });
        let (finish, unshift) = (self.finish.known::<RELU>(), scale.map(|scale| FinishWide::unshift(scale)));
        // As many pixels at once as fit four vectors.
        let together = if VECTORS > 2 { 1 } else { MOST_VECTORS / VECTORS };
        for (index, pixels) in sums.chunks(together).enumerate() {
            let mut steps = [_mm512_setzero_si512(); MOST_VECTORS];
            for (steps, sums) in steps.chunks_mut(VECTORS).zip(pixels) {
                for (steps, (sums, (scale, unshift))) in
                    steps.iter_mut().zip(sums.iter().zip(scale.iter().zip(unshift)))
                {
                    *steps = finish.steps::<RELU>(*sums, *scale, unshift);
                }
            }
            // SAFETY: the pixels of this chunk have `channels` bytes of room each.
            unsafe {
                let output = output.add(index * together * self.output_stride);
                self.store::<VECTORS>(finish.narrow_in_order(steps), pixels.len(), output);
            }
        }
    }

    /// As many pixels of `VECTORS` vectors as fit four.
    ///
    /// # Safety
    /// `channels` bytes of room for each pixel.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    unsafe fn store<const VECTORS: usize>(&self, bytes: __m512i, pixels: usize, output: *mut u8) {
        // SAFETY: passed on from the caller.
        unsafe {
            match VECTORS {
                1 => self.store_four(bytes, pixels, output),
                2 => self.store_two(bytes, pixels, output),
                _ => self.store_one(bytes, output),
            }
        }
    }

    /// Up to 64 channels of one pixel.
    ///
    /// # Safety
    /// `channels` bytes of room at `output`.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    unsafe fn store_one(&self, bytes: __m512i, output: *mut u8) {
        // SAFETY: exactly `channels` bytes are written.
        unsafe {
            if self.channels == 4 * LANES {
                _mm512_storeu_si512(output.cast(), bytes);
            } else {
                _mm512_mask_storeu_epi8(output.cast(), (1 << self.channels) - 1, bytes);
            }
        }
    }

    /// Up to 32 channels of one or two pixels.
    ///
    /// # Safety
    /// `channels` bytes of room for each pixel.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    unsafe fn store_two(&self, bytes: __m512i, pixels: usize, output: *mut u8) {
        let halves = [_mm512_castsi512_si256(bytes), _mm512_extracti64x4_epi64::<1>(bytes)];
        for (pixel, half) in halves.into_iter().enumerate().take(pixels) {
            // SAFETY: exactly `channels` bytes of each pixel are written.
            unsafe {
                let output = output.add(pixel * self.output_stride);
                if self.channels == 2 * LANES {
                    _mm256_storeu_si256(output.cast(), half);
                } else {
                    _mm256_mask_storeu_epi8(output.cast(), ((1u64 << self.channels) - 1) as u32, half);
                }
            }
        }
    }

    /// Up to 16 channels of one to four pixels.
    ///
    /// # Safety
    /// `channels` bytes of room for each pixel.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    unsafe fn store_four(&self, bytes: __m512i, pixels: usize, output: *mut u8) {
        let quarters = [
            _mm512_castsi512_si128(bytes),
            _mm512_extracti32x4_epi32::<1>(bytes),
            _mm512_extracti32x4_epi32::<2>(bytes),
            _mm512_extracti32x4_epi32::<3>(bytes),
        ];
        for (pixel, quarter) in quarters.into_iter().enumerate().take(pixels) {
            // SAFETY: exactly `channels` bytes of each pixel are written.
            unsafe {
                let output = output.add(pixel * self.output_stride);
                match self.channels {
                    LANES => _mm_storeu_si128(output.cast(), quarter),
                    8 => _mm_storel_epi64(output.cast(), quarter),
                    channels => _mm_mask_storeu_epi8(output.cast(), ((1u32 << channels) - 1) as u16, quarter),
                }
            }
        }
    }
}

/// Where the next pixel's input begins.
#[derive(Default)]
pub struct Place {
    column: usize,
    pub byte: usize,
    row: usize,
}

impl Place {
    #[inline]
    pub fn advance(&mut self, call: &DotGemm<'_>) {
        self.column += 1;
        self.byte += call.pixel_pitch;
        if self.column == call.columns {
            self.row += call.row_pitch;
            (self.column, self.byte) = (0, self.row);
        }
    }
}
