//! Depthwise convolutions by SDOT, column by column: see [`crate::int8::kernels::columns`].
//!
//! Inputs are u8, so 128 is taken from each on the way (the highest bit is flipped); the blocks' biases make up for it.

use std::arch::aarch64::*;

use super::depthwise;
use super::finish::Finish;
use super::signed_dot::dot;
use crate::int8::depthwise_weights::{ColumnBlock, DepthwiseWeights};
use crate::int8::kernels::Depthwise;
use crate::int8::kernels::columns::{MOST_ROWS, Rows};
use crate::int8::window::Window;

/// Rows of a column that one product takes in.
const QUAD: usize = 4;

/// Channels of a block.
const WIDTH: usize = 16;

/// Cuts the weights for these kernels where they can do the window.
pub fn prepare(window: &Window, weights: DepthwiseWeights) -> DepthwiseWeights {
    let ([rows, columns], [_, stride], [_, dilation]) = (window.kernel, window.stride, window.dilation);
    let is_known = (1..=MOST_ROWS).contains(&rows)
        && matches!((columns, stride), (3 | 5, 1 | 2))
        && dilation == 1
        && weights.channels >= WIDTH;
    let blocks = is_known.then(|| weights.columns_for([rows, columns], 1, WIDTH)).flatten();
    let mut blocks = blocks.unwrap_or_default();
    for block in &mut blocks {
        // Every group of four weights belongs to one channel; the channels come again for every column and four rows.
        for (index, four) in block.weights.as_chunks::<QUAD>().0.iter().enumerate() {
            let sum: i32 = four.iter().map(|&weight| i32::from(weight)).sum();
            if let Some(bias) = block.bias.get_mut(index % WIDTH) {
                *bias = bias.wrapping_add(128 * sum);
            }
        }
    }
    DepthwiseWeights { columns: blocks, ..weights }
}

pub fn convolve(call: &Depthwise<'_>, output: &mut [u8]) {
    if call.weights.columns.is_empty() {
        depthwise::depthwise(call, output);
    } else if can_run(call, output) {
        // SAFETY: dot products are there, as this set was chosen; `can_run` has shown that input, border, blocks and
        // output cover the whole image and that the blocks are for this window.
        unsafe { all_rows(call, output.as_mut_ptr()) }
    }
}

/// Whether all slices are long enough for what the numbers say.
fn can_run(call: &Depthwise<'_>, output: &[u8]) -> bool {
    let ([rows, columns], [_, dilation]) = (call.window.kernel, call.window.dilation);
    let quads = if [rows, columns] == [5, 5] { 7 } else { columns * rows.div_ceil(QUAD) };
    let fits = |block: &ColumnBlock| {
        block.width == WIDTH
            && block.start.saturating_add(WIDTH) <= call.weights.channels
            && block.weights.len() >= quads * QUAD * WIDTH
            && block.bias.len() >= WIDTH
            && block.scale.len() >= WIDTH
    };
    rows <= MOST_ROWS && dilation == 1 && call.fits(output) && call.weights.columns.iter().all(fits)
}

/// # Safety
/// `can_run` holds for the memory at `output`.
#[target_feature(enable = "neon,dotprod")]
unsafe fn all_rows(call: &Depthwise<'_>, output: *mut u8) {
    let finish = Finish::new(call.weights.epilogue.bounds);
    let [output_rows, output_columns] = call.window.output;
    let ([tap_rows, columns], [_, stride]) = (call.window.kernel, call.window.stride);
    for row in 0..output_rows {
        let rows = Rows::new(call, row);
        for block in &call.weights.columns {
            // SAFETY: the output holds all rows; each block ends within the channels and has weights for all taps.
            unsafe {
                let output = output.add(row * output_columns * call.weights.channels + block.start);
                match (columns, stride, tap_rows) {
                    (3, 1, 0..=4) => one_row::<3, 1, 3, 1, false>(&rows, block, finish, output),
                    (3, 1, _) => one_row::<3, 1, 3, 2, false>(&rows, block, finish, output),
                    (3, 2, 0..=4) => one_row::<3, 2, 2, 1, false>(&rows, block, finish, output),
                    (3, 2, _) => one_row::<3, 2, 2, 2, false>(&rows, block, finish, output),
                    (5, 1, 0..=4) => one_row::<5, 1, 5, 1, false>(&rows, block, finish, output),
                    (5, 1, 5) => one_row::<5, 1, 5, 1, true>(&rows, block, finish, output),
                    (5, 1, _) => one_row::<5, 1, 5, 2, false>(&rows, block, finish, output),
                    (5, 2, 0..=4) => one_row::<5, 2, 3, 1, false>(&rows, block, finish, output),
                    (5, 2, 5) => one_row::<5, 2, 3, 1, true>(&rows, block, finish, output),
                    (5, 2, _) => one_row::<5, 2, 3, 2, false>(&rows, block, finish, output),
                    _ => {}
                }
            }
        }
    }
}

/// Four pixels of 16 channels as four vectors of four signed bytes a channel.
#[inline]
#[target_feature(enable = "neon")]
fn interleave([a, b, c, d]: [uint8x16_t; 4]) -> [int8x16_t; QUAD] {
    let wide = |bytes: uint8x16_t| vreinterpretq_u16_u8(bytes);
    let [ab_low, ab_high] = [wide(vzip1q_u8(a, b)), wide(vzip2q_u8(a, b))];
    let [cd_low, cd_high] = [wide(vzip1q_u8(c, d)), wide(vzip2q_u8(c, d))];
    let quads = [
        vzip1q_u16(ab_low, cd_low),
        vzip2q_u16(ab_low, cd_low),
        vzip1q_u16(ab_high, cd_high),
        vzip2q_u16(ab_high, cd_high),
    ];
    quads.map(|quad| vreinterpretq_s8_u8(veorq_u8(vreinterpretq_u8_u16(quad), vdupq_n_u8(128))))
}

/// Adds the products of four pixels with the weights of four taps that begin at vector `at` of the block.
///
/// # Safety
/// The block holds four vectors of weights there.
#[inline]
#[target_feature(enable = "neon,dotprod")]
unsafe fn add(sums: &mut [int32x4_t; QUAD], inputs: [int8x16_t; QUAD], block: &ColumnBlock, at: usize) {
    for (index, (sum, inputs)) in sums.iter_mut().zip(inputs).enumerate() {
        // SAFETY: as the caller promises.
        let weights = unsafe { vld1q_s8(block.weights.as_ptr().add((at + index) * WIDTH)) };
        *sum = dot(*sum, weights, inputs);
    }
}

/// One output row of one block: a window of `COLUMNS` columns, `STRIDE` columns from one output to the next, `SLOTS`
/// outputs covered by one column, at most `QUAD * QUADS` rows; `FIVE` adds the last one of a 5 x 5 window, four taps of
/// which are multiplied at once.
///
/// # Safety
/// Each pixel that `rows` knows is followed by the block's bytes; the block is of 16 channels and has weights for all taps;
/// `output` has room for the row.
#[target_feature(enable = "neon,dotprod")]
unsafe fn one_row<
    const COLUMNS: usize,
    const STRIDE: usize,
    const SLOTS: usize,
    const QUADS: usize,
    const FIVE: bool,
>(
    rows: &Rows,
    block: &ColumnBlock,
    finish: Finish,
    output: *mut u8,
) {
    // SAFETY: a block holds 16 biases.
    let bias: [int32x4_t; QUAD] = std::array::from_fn(|at| unsafe { vld1q_s32(block.bias.as_ptr().add(4 * at)) });
    let load = |row: usize, column: usize| {
        let (pixels, column) = rows.column(column);
        // SAFETY: as the caller promises.
        unsafe { vld1q_u8(pixels.pixel(row, column).add(block.start)) }
    };
    let mut sums = [bias; SLOTS];
    // The first steps make no output; they begin those that the first columns belong to.
    let early = SLOTS - 1;
    for step in 0..early + rows.output_columns {
        for fresh in 0..STRIDE {
            let offset = COLUMNS - STRIDE + fresh;
            let column = (step * STRIDE + offset).wrapping_sub(early * STRIDE);
            for quad in 0..QUADS {
                let inputs = interleave(std::array::from_fn(|row| load(QUAD * quad + row, column)));
                for (slot, sums) in sums.iter_mut().enumerate() {
                    let tap = offset.wrapping_sub(slot * STRIDE);
                    if tap < COLUMNS {
                        // SAFETY: a block holds four vectors of weights for each four rows of a column.
                        unsafe { add(sums, inputs, block, (tap * QUADS + quad) * QUAD) };
                    }
                }
            }
            if FIVE {
                let inputs = interleave(std::array::from_fn(|tap| load(QUAD, column.wrapping_add(tap))));
                for (slot, sums) in sums.iter_mut().enumerate() {
                    // The weights of the first four taps, and of the last one, are the block's last.
                    let at = match offset.wrapping_sub(slot * STRIDE) {
                        0 => COLUMNS * QUAD,
                        tap if tap == COLUMNS - 1 => COLUMNS * QUAD + QUAD,
                        _ => continue,
                    };
                    // SAFETY: a block of a 5 x 5 window holds seven times four vectors of weights.
                    unsafe { add(sums, inputs, block, at) };
                }
            }
        }
        let done = sums.first().copied().unwrap_or(bias);
        sums.rotate_left(1);
        if let Some(last) = sums.last_mut() {
            *last = bias;
        }
        if let Some(output_column) = step.checked_sub(early) {
            // SAFETY: the output has `channels` bytes for each column, and the block ends within them.
            unsafe { store(done, block, finish, output.add(output_column * rows.channels)) }
        }
    }
}

/// # Safety
/// A block of 16 channels, and as many bytes of room at `output`.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn store(sums: [int32x4_t; QUAD], block: &ColumnBlock, finish: Finish, output: *mut u8) {
    let mut steps = sums;
    for (index, step) in steps.iter_mut().enumerate() {
        // SAFETY: a block holds 16 scales.
        *step = finish.scale(*step, unsafe { vld1q_f32(block.scale.as_ptr().add(4 * index)) });
    }
    // SAFETY: as the caller promises.
    unsafe { vst1q_u8(output, finish.narrow(steps)) }
}
