//! Depthwise convolutions column by column with AVX2: two rows of a column are brought together as pairs of i16 once, and
//! multiplied into all output columns whose window covers them.
#![allow(unsafe_code)]

use std::arch::x86_64::*;

use crate::int8::depthwise_weights::PairColumnBlock;
use crate::int8::kernels::Depthwise;
use crate::int8::kernels::columns::Rows;
use crate::int8::kernels::vnni::FinishHalf;

/// Channels of a block.
pub const WIDTH: usize = 16;

/// Whether there is a loop for a window of that many rows and columns. (At stride 2 a 3 x 3 window shares too little
/// between its columns.)
pub fn is_known([rows, columns]: [usize; 2], stride: usize) -> bool {
    matches!((rows, columns, stride), (3, 3, 1) | (5, 5, 1 | 2))
}

/// Whether all slices are long enough for what the numbers say, and the window has a loop.
pub fn can_run(call: &Depthwise<'_>, output: &[u8]) -> bool {
    let ([rows, columns], [_, stride], [_, dilation]) = (call.window.kernel, call.window.stride, call.window.dilation);
    let fits = |block: &PairColumnBlock| {
        block.start.saturating_add(WIDTH) <= call.weights.channels
            && block.pairs.len() >= columns * rows.div_ceil(2) * 2 * WIDTH
            && block.bias.len() >= WIDTH
            && block.scale.len() >= WIDTH
    };
    is_known([rows, columns], stride)
        && dilation == 1
        && !call.weights.epilogue.is_wide
        && call.fits(output)
        && !call.weights.pair_columns.is_empty()
        && call.weights.pair_columns.iter().all(fits)
}

/// # Safety
/// `can_run` holds for the memory at `output`.
#[target_feature(enable = "avx2")]
pub unsafe fn run(call: &Depthwise<'_>, output: *mut u8) {
    let finish = FinishHalf::new(call.weights.epilogue.bounds);
    let [output_rows, output_columns] = call.window.output;
    let ([tap_rows, _], [_, stride]) = (call.window.kernel, call.window.stride);
    for row in 0..output_rows {
        let rows = Rows::new(call, row);
        // SAFETY: the output holds all rows; each block ends within the channels and has weights for the window.
        unsafe {
            let output = output.add(row * output_columns * call.weights.channels);
            for block in &call.weights.pair_columns {
                match (tap_rows, stride) {
                    (3, _) => one_row::<3, 1, 3>(&rows, block, finish, output),
                    (_, 1) => one_row::<5, 1, 5>(&rows, block, finish, output),
                    _ => one_row::<5, 2, 3>(&rows, block, finish, output),
                }
            }
        }
    }
}

/// One output row of one block: a window of `TAPS` by `TAPS`, `STRIDE` columns from one output to the next, `SLOTS` outputs
/// covered by one column.
///
/// # Safety
/// Each pixel that `rows` knows is followed by the block's bytes; the block has weights for all taps; `output` has room
/// for the row.
#[target_feature(enable = "avx2")]
unsafe fn one_row<const TAPS: usize, const STRIDE: usize, const SLOTS: usize>(
    rows: &Rows,
    block: &PairColumnBlock,
    finish: FinishHalf,
    output: *mut u8,
) {
    // SAFETY: a block holds two vectors of biases; unaligned loads.
    let bias: [__m256i; 2] =
        std::array::from_fn(|half| unsafe { _mm256_loadu_si256(block.bias.as_ptr().add(8 * half).cast()) });
    let mut sums = [bias; SLOTS];
    // The first steps make no output; they begin those that the first columns belong to.
    let early = SLOTS - 1;
    for step in 0..early + rows.output_columns {
        for fresh in 0..STRIDE {
            let offset = TAPS - STRIDE + fresh;
            let column = (step * STRIDE + offset).wrapping_sub(early * STRIDE);
            let (pixels, image_column) = rows.column(column);
            for pair in 0..TAPS.div_ceil(2) {
                let wide = |row: usize| {
                    if row >= TAPS {
                        return _mm256_setzero_si256();
                    }
                    // SAFETY: as the caller says; unaligned load.
                    let bytes = unsafe { _mm_loadu_si128(pixels.pixel(row, image_column).add(block.start).cast()) };
                    _mm256_cvtepu8_epi16(bytes)
                };
                let (first, second) = (wide(2 * pair), wide(2 * pair + 1));
                let inputs = [_mm256_unpacklo_epi16(first, second), _mm256_unpackhi_epi16(first, second)];
                for (slot, sums) in sums.iter_mut().enumerate() {
                    let tap = offset.wrapping_sub(slot * STRIDE);
                    if tap < TAPS && rows.has_output(step + slot, early) {
                        for (half, (sum, inputs)) in sums.iter_mut().zip(inputs).enumerate() {
                            let place = ((tap * TAPS.div_ceil(2) + pair) * 2 + half) * WIDTH;
                            // SAFETY: a block holds two vectors of weights for each two rows of a column.
                            let weights = unsafe { _mm256_loadu_si256(block.pairs.as_ptr().add(place).cast()) };
                            *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(inputs, weights));
                        }
                    }
                }
            }
        }
        let done = sums.first().copied().unwrap_or(bias);
        for slot in 1..SLOTS {
            sums.swap(slot - 1, slot);
        }
        if let Some(last) = sums.last_mut() {
            *last = bias;
        }
        if let Some(output_column) = step.checked_sub(early) {
            // SAFETY: the output has `channels` bytes for each column, and the block ends within them.
            unsafe { store(done, block, finish, output.add(output_column * rows.channels + block.start)) };
        }
    }
}

/// # Safety
/// `WIDTH` bytes of room at `output`; the block has scales.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn store(sums: [__m256i; 2], block: &PairColumnBlock, finish: FinishHalf, output: *mut u8) {
    let [first, second] = sums;
    // SAFETY: a block holds two vectors of scales; unaligned loads; as the caller says.
    unsafe {
        let first = finish.scale(first, _mm256_loadu_ps(block.scale.as_ptr()));
        let second = finish.scale(second, _mm256_loadu_ps(block.scale.as_ptr().add(8)));
        // Each half of the result has its own eight channels twice.
        let bytes = finish.narrow([first, second, first, second]);
        let bytes = _mm256_permute4x64_epi64::<0b00_00_10_00>(bytes);
        _mm_storeu_si128(output.cast(), _mm256_castsi256_si128(bytes));
    }
}
