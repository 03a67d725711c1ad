//! The three steps of Winograd's convolution.

use std::arch::x86_64::*;

use crate::int8::kernels::vnni::FinishHalf;
use crate::int8::kernels::winograd::{
    Finish, Gather, POSITIONS, Product, TILE, WinogradKernels, row_pitch, sum_pitch, transforms,
};
use crate::int8::weights::PANEL;

pub const KERNELS: WinogradKernels = WinogradKernels { gather, multiply, finish };

/// Tiles whose sums are kept at once: twice as many vectors fill 12 of the 16 registers.
const MOST_TILES: usize = 6;

/// Depth from which the weights of a layer, or of the layers since the last inference, are more than a second-level cache
/// holds: each register tile brings a part of the next position's near.
const FAR_DEPTH: usize = 64;

/// Bytes of weights of a pair for a panel, and of a cache line.
const LINE: usize = 64;

/// Numbers of a vector of i32.
const LANES: usize = 8;

transforms!(
    #[inline]
    #[target_feature(enable = "avx2")]
    __m256i, _mm256_add_epi16, _mm256_sub_epi16; __m256i, _mm256_add_epi32, _mm256_sub_epi32
);

fn gather(call: &Gather<'_>, rows: &mut [i16]) {
    if call.fits(rows) {
        // SAFETY: AVX2 was found; `fits` has shown that the image, the border and the rows are whole.
        unsafe { gather_avx2(call, rows.as_mut_ptr()) }
    }
}

/// # Safety
/// `call.fits` holds for the memory at `rows`.
#[target_feature(enable = "avx2")]
unsafe fn gather_avx2(call: &Gather<'_>, rows: *mut i16) {
    let pitch = row_pitch(call.tiles.count, call.channels);
    let [_, columns] = call.tiles.window.input;
    for (tile, place) in call.tiles.places().enumerate() {
        let mut pixels = [[call.border.as_ptr(); 4]; 4];
        if let Some(first) = call.inside(place) {
            for (at, pixel) in pixels.as_flattened_mut().iter_mut().enumerate() {
                *pixel = call.input.as_ptr().wrapping_add(first + (at / 4 * columns + at % 4) * call.channels);
            }
        } else {
            for (pixel, at) in pixels.as_flattened_mut().iter_mut().zip(call.patch(place).as_flattened()) {
                *pixel = at.map_or(*pixel, |at| call.input.as_ptr().wrapping_add(at));
            }
        }
        for channel in (0..call.channels).step_by(PANEL) {
            let mut patch = [[_mm256_setzero_si256(); 4]; 4];
            for (numbers, &pixel) in patch.as_flattened_mut().iter_mut().zip(pixels.as_flattened()) {
                // SAFETY: each pixel has `channels` bytes, a multiple of 16; unaligned load.
                *numbers = unsafe { _mm256_cvtepu8_epi16(_mm_loadu_si128(pixel.add(channel).cast())) };
            }
            let lines = transform_input(patch);
            for (position, numbers) in lines.as_flattened().iter().enumerate() {
                // SAFETY: the rows hold all positions of all tiles.
                unsafe {
                    let row = rows.add(position * pitch + tile * call.channels + channel);
                    _mm256_storeu_si256(row.cast(), *numbers);
                }
            }
        }
    }
}

fn multiply(call: &Product<'_>, sums: &mut [i32]) {
    if call.fits(sums) {
        // SAFETY: AVX2 was found; `fits` has shown that rows, panel and sums are whole.
        unsafe { multiply_avx2(call, sums.as_mut_ptr()) }
    }
}

/// # Safety
/// `call.fits` holds for the memory at `sums`.
#[target_feature(enable = "avx2")]
unsafe fn multiply_avx2(call: &Product<'_>, sums: *mut i32) {
    // Register tiles of about equal size rather than a short one at the end.
    let blocks = call.tiles.div_ceil(MOST_TILES).max(1);
    let (count, larger) = (call.tiles / blocks, call.tiles % blocks);
    let (row, sum) = (row_pitch(call.tiles, call.depth), sum_pitch(call.tiles));
    for position in 0..POSITIONS {
        // SAFETY: rows and sums hold `tiles` tiles of each position, the panel its weights.
        unsafe {
            let place = Place {
                rows: call.rows.as_ptr().add(position * row),
                panel: call.panel.as_ptr().add(position * call.depth * PANEL),
                depth: call.depth,
                sums: sums.add(position * sum),
                ahead: call.panel.as_ptr().wrapping_add((position + 1) * call.depth * PANEL).cast(),
                ahead_step: LINE.div_ceil(blocks),
            };
            if call.depth >= FAR_DEPTH {
                place.run::<true>(count + 1, larger).run::<true>(count, blocks - larger);
            } else {
                place.run::<false>(count + 1, larger).run::<false>(count, blocks - larger);
            }
        }
    }
}

/// Register tiles of one position: where their numbers come from and go to.
#[derive(Clone, Copy)]
struct Place {
    rows: *const i16,
    panel: *const i16,
    depth: usize,
    sums: *mut i32,
    /// What is brought near while this tile is done: its part of the next position's weights, bytes apart for each pair.
    ahead: *const i8,
    ahead_step: usize,
}

impl Place {
    /// Does `blocks` register tiles of `count` tiles; gives the place of the next one.
    ///
    /// # Safety
    /// As many rows of `depth` numbers, pairs of weights for 16 channels, and room for 16 sums of each row.
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn run<const AHEAD: bool>(self, count: usize, blocks: usize) -> Self {
        // SAFETY: passed on from the caller; the constant equals `count`.
        unsafe {
            match count {
                1 => self.multiply::<1, AHEAD>(blocks),
                2 => self.multiply::<2, AHEAD>(blocks),
                3 => self.multiply::<3, AHEAD>(blocks),
                4 => self.multiply::<4, AHEAD>(blocks),
                5 => self.multiply::<5, AHEAD>(blocks),
                6 => self.multiply::<6, AHEAD>(blocks),
                _ => self,
            }
        }
    }

    /// # Safety
    /// As [`Self::run`], for `COUNT` tiles each.
    // All sizes in one function have too few registers for their addresses.
    #[inline(never)]
    #[target_feature(enable = "avx2")]
    unsafe fn multiply<const COUNT: usize, const AHEAD: bool>(self, blocks: usize) -> Self {
        let Self { mut rows, panel, depth, mut sums, mut ahead, ahead_step } = self;
        for _ in 0..blocks {
            let mut vectors = [[_mm256_setzero_si256(); 2]; COUNT];
            for pair in 0..depth / 2 {
                // SAFETY: as the caller says; unaligned loads; bringing an address near reads nothing.
                unsafe {
                    if AHEAD {
                        _mm_prefetch::<_MM_HINT_T0>(ahead.wrapping_add(ahead_step * pair));
                    }
                    let weights: [__m256i; 2] =
                        std::array::from_fn(|half| _mm256_loadu_si256(panel.add((2 * pair + half) * PANEL).cast()));
                    for (tile, vectors) in vectors.iter_mut().enumerate() {
                        let inputs = rows.add(tile * depth + 2 * pair).cast::<i32>().read_unaligned();
                        let inputs = _mm256_set1_epi32(inputs);
                        for (vector, weights) in vectors.iter_mut().zip(weights) {
                            *vector = _mm256_add_epi32(*vector, _mm256_madd_epi16(inputs, weights));
                        }
                    }
                }
            }
            for (at, vector) in vectors.as_flattened().iter().enumerate() {
                // SAFETY: as the caller says.
                unsafe { _mm256_storeu_si256(sums.add(at * LANES).cast(), *vector) }
            }
            (rows, sums) = (rows.wrapping_add(COUNT * depth), sums.wrapping_add(COUNT * PANEL));
            ahead = ahead.wrapping_add(ahead_step * (depth / 2));
        }
        Self { rows, sums, ahead, ..self }
    }
}

fn finish(call: &Finish<'_>, output: &mut [u8]) {
    // No scale is so large that it needs a clamp before rounding: the layer would not have been done so.
    if call.fits(output) && !call.epilogue.is_wide {
        // SAFETY: AVX2 was found; `fits` has shown that sums, bias, scale and output are whole.
        unsafe {
            match FinishHalf::new(call.epilogue.bounds).is_relu(call.epilogue) {
                true => finish_avx2::<true>(call, output.as_mut_ptr()),
                false => finish_avx2::<false>(call, output.as_mut_ptr()),
            }
        }
    }
}

/// # Safety
/// `call.fits` holds for the memory at `output`.
#[target_feature(enable = "avx2,fma")]
unsafe fn finish_avx2<const RELU: bool>(call: &Finish<'_>, output: *mut u8) {
    let finish = FinishHalf::new(call.epilogue.bounds).known::<RELU>();
    let [rows, columns] = call.tiles.window.output;
    let pitch = sum_pitch(call.tiles.count);
    // SAFETY: the panel has 16 biases and scales; unaligned loads.
    let (bias, scale) = unsafe {
        let (bias, scale) = (call.epilogue.bias.as_ptr(), call.epilogue.scale.as_ptr());
        let at = |half: usize| call.first_channel + half * LANES;
        (
            [_mm256_loadu_si256(bias.add(at(0)).cast()), _mm256_loadu_si256(bias.add(at(1)).cast())],
            [_mm256_loadu_ps(scale.add(at(0))), _mm256_loadu_ps(scale.add(at(1)))],
        )
    };
    let bias = bias.map(|bias| FinishHalf::begin::<RELU>(bias));
    let unshift = scale.map(|scale| FinishHalf::unshift(scale));
    for (tile, (row, column)) in call.tiles.places().enumerate() {
        let mut steps = [[_mm256_setzero_si256(); 4]; TILE];
        for (half, (bias, (scale, unshift))) in bias.into_iter().zip(scale.into_iter().zip(unshift)).enumerate() {
            let mut sums = [[_mm256_setzero_si256(); 4]; 4];
            for (position, sums) in sums.as_flattened_mut().iter_mut().enumerate() {
                let at = position * pitch + tile * PANEL + half * LANES;
                // SAFETY: there are 16 sums for each position and tile; unaligned load.
                *sums = unsafe { _mm256_loadu_si256(call.sums.as_ptr().add(at).cast()) };
            }
            let sums = transform_sums(sums);
            for (steps, sums) in steps.iter_mut().zip(sums) {
                // In the order of channels of one pixel, then of the other.
                for (slot, sum) in steps.iter_mut().skip(half).step_by(2).zip(sums) {
                    let sum = _mm256_add_epi32(_mm256_srai_epi32::<2>(sum), bias);
                    *slot = finish.steps::<RELU>(sum, scale, unshift);
                }
            }
        }
        for (y, steps) in steps.into_iter().enumerate().take(rows - row) {
            let bytes = finish.narrow_in_order(steps);
            // SAFETY: the pixel is one of the output's, and so is the next where it is written.
            unsafe {
                let pixel = ((row + y) * columns + column) * call.channels + call.first_channel;
                _mm_storeu_si128(output.add(pixel).cast(), _mm256_castsi256_si128(bytes));
                if column + 1 < columns {
                    let next = output.add(pixel + call.channels);
                    _mm_storeu_si128(next.cast(), _mm256_extracti128_si256::<1>(bytes));
                }
            }
        }
    }
}
