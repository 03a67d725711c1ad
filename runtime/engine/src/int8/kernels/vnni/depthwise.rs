//! Depthwise convolutions column by column: the bytes of one input column, four rows of it, are brought together once
//! for each channel and then multiplied into all output columns whose window covers them.

use std::arch::x86_64::*;

use super::finish::{FinishHalf, FinishQuarter, FinishWide};
use super::narrow;
use crate::int8::depthwise_weights::{ColumnBlock, DepthwiseWeights};
use crate::int8::kernels::columns::{MOST_ROWS, Rows};
use crate::int8::kernels::{Depthwise, avx2};
use crate::int8::window::Window;

/// Rows of a column that one product takes in.
pub const QUAD: usize = 4;

/// Cuts the weights for these kernels where they can do the window, for AVX2's otherwise.
fn prepare(window: &Window, weights: DepthwiseWeights, widest: usize, at_once: usize) -> DepthwiseWeights {
    let ([rows, columns], [_, stride], [_, dilation]) = (window.kernel, window.stride, window.dilation);
    let known = (1..=MOST_ROWS).contains(&rows)
        && matches!((columns, stride), (3 | 5, 1 | 2))
        && dilation == 1
        && !weights.epilogue.is_wide;
    if known && weights.channels < 16 && stride == 1 && window.dilation == [1, 1] {
        let narrow = weights.narrow_for(rows, columns, widest);
        return DepthwiseWeights { narrow, ..avx2::prepare_depthwise(window, weights) };
    }
    let is_wide_enough = known && weights.channels >= 16;
    let blocks = is_wide_enough.then(|| weights.columns_for(window.kernel, at_once, widest)).flatten();
    match blocks {
        Some(columns) => DepthwiseWeights { columns, ..weights },
        None => avx2::prepare_depthwise(window, weights),
    }
}

/// Output rows that are done at once with 32 registers: two where the four rows that are brought together serve both.
fn output_rows(window: &Window) -> usize {
    let ([rows, columns], Window { stride, dilation, .. }) = (window.kernel, window);
    if rows < QUAD && columns == 3 && *stride == [1, 1] && *dilation == [1, 1] { 2 } else { 1 }
}

/// The same with 16 registers.
fn one_row(_: &Window) -> usize {
    1
}

/// As [`prepare`], in blocks of up to 32 channels.
pub fn prepare_256(window: &Window, weights: DepthwiseWeights) -> DepthwiseWeights {
    prepare(window, weights, half::WIDTH, one_row(window))
}

/// As [`prepare`], in blocks of up to 64 channels.
pub fn prepare_512(window: &Window, weights: DepthwiseWeights) -> DepthwiseWeights {
    prepare(window, weights, wide::WIDTH, output_rows(window))
}

/// Makes the kernel for one width of vectors.
macro_rules! column_kernel {
    ($name:ident, $ops:ident, $finish:ty, $features:literal, $dot:path) => {
        mod $name {
            use super::*;
            use crate::int8::kernels::vnni::ops::$ops::{Floats, Vector, interleave, load, load_floats, store, zero};

            /// Bytes of a vector: channels of a block.
            pub const WIDTH: usize = size_of::<Vector>();

            /// Adds the products of four pixels with the weights that begin at vector `at` of the block.
            ///
            /// # Safety
            /// The block holds four vectors of weights there.
            #[inline]
            #[target_feature(enable = $features)]
            unsafe fn add(sums: &mut [Vector; QUAD], inputs: [Vector; QUAD], block: &ColumnBlock, at: usize) {
                for (index, (sum, inputs)) in sums.iter_mut().zip(inputs).enumerate() {
                    // SAFETY: as the caller says; unaligned loads.
                    let weights = unsafe { load(block.weights.as_ptr().add((at + index) * WIDTH).cast()) };
                    *sum = $dot(*sum, inputs, weights);
                }
            }

            /// One output row of one block: a window of `COLUMNS` columns, `STRIDE` columns from one output to the next,
            /// `SLOTS` outputs covered by one column. The rows are at most `ROWS`; `FIVE` adds the last one of
            /// a 5 x 5 window, four taps of which are multiplied at once.
            ///
            /// # Safety
            /// Each pixel that `rows` knows is followed by the block's bytes; the block is of this width and has weights
            /// for all taps; `output` has room for the row.
            #[target_feature(enable = $features)]
            pub unsafe fn row<
                const COLUMNS: usize,
                const STRIDE: usize,
                const SLOTS: usize,
                const ROWS: usize,
                const FIVE: bool,
                const RELU: bool,
            >(
                rows: &Rows,
                block: &ColumnBlock,
                finish: &$finish,
                output: *mut u8,
            ) {
                // SAFETY: the block is of this width.
                let finish = unsafe { Finisher::<RELU>::new(finish, block) };
                let bias = finish.bias;
                let mut sums = [bias; SLOTS];
                // The first steps make no output; they begin those that the first columns belong to.
                let early = SLOTS - 1;
                for step in 0..early + rows.output_columns {
                    for fresh in 0..STRIDE {
                        let offset = COLUMNS - STRIDE + fresh;
                        let column = (step * STRIDE + offset).wrapping_sub(early * STRIDE);
                        for quad_row in 0..ROWS.div_ceil(QUAD) {
                            let (pixels, image_column) = rows.column(column);
                            let bytes = |row: usize| {
                                let row = QUAD * quad_row + row;
                                if row >= ROWS {
                                    return zero();
                                }
                                // SAFETY: as the caller says; unaligned load.
                                unsafe { load(pixels.pixel(row, image_column).add(block.start).cast()) }
                            };
                            let inputs = interleave(bytes(0), bytes(1), bytes(2), bytes(3));
                            for (slot, sums) in sums.iter_mut().enumerate() {
                                let tap = offset.wrapping_sub(slot * STRIDE);
                                if tap < COLUMNS && rows.has_output(step + slot, early) {
                                    let at = (tap * ROWS.div_ceil(QUAD) + quad_row) * QUAD;
                                    // SAFETY: a block holds four vectors of weights for each four rows of a column.
                                    unsafe { add(sums, inputs, block, at) };
                                }
                            }
                        }
                        if FIVE {
                            let bytes = |tap: usize| {
                                let (pixels, column) = rows.column(column.wrapping_add(tap));
                                // SAFETY: as the caller says; unaligned load.
                                unsafe { load(pixels.pixel(QUAD, column).add(block.start).cast()) }
                            };
                            let inputs = interleave(bytes(0), bytes(1), bytes(2), bytes(3));
                            for (slot, sums) in sums.iter_mut().enumerate() {
                                // The weights of the first four taps, and of the last one, are the block's last.
                                let at = match offset.wrapping_sub(slot * STRIDE) {
                                    0 => COLUMNS * QUAD,
                                    tap if tap == COLUMNS - 1 => COLUMNS * QUAD + QUAD,
                                    _ => continue,
                                };
                                if rows.has_output(step + slot, early) {
                                    // SAFETY: a block of a 5 x 5 window holds seven times four vectors of weights.
                                    unsafe { add(sums, inputs, block, at) };
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
                        unsafe {
                            finish.store(done, output.add(output_column * rows.channels + block.start));
                        }
                    }
                }
            }

            /// Two output rows of one block: a window of at most three rows by three columns without stride. What four
            /// input rows are brought together for serves both.
            ///
            /// # Safety
            /// As [`row`], for four rows of pixels, weights of two output rows and room for both rows of output.
            #[target_feature(enable = $features)]
            pub unsafe fn two_rows<const RELU: bool>(
                rows: &Rows,
                block: &ColumnBlock,
                finish: &$finish,
                output: [*mut u8; 2],
            ) {
                const COLUMNS: usize = 3;
                // SAFETY: the block is of this width.
                let finish = unsafe { Finisher::<RELU>::new(finish, block) };
                let bias = finish.bias;
                let mut sums = [[bias; 2]; COLUMNS];
                for column in 0..COLUMNS - 1 + rows.output_columns {
                    let (pixels, image_column) = rows.column(column);
                    // SAFETY: as the caller says; unaligned load.
                    let bytes = |row: usize| unsafe { load(pixels.pixel(row, image_column).add(block.start).cast()) };
                    let inputs = interleave(bytes(0), bytes(1), bytes(2), bytes(3));
                    // Outputs beyond the ends of the rows get sums as well, which nobody reads.
                    for (slot, sums) in sums.iter_mut().enumerate() {
                        for (row, sums) in sums.iter_mut().enumerate() {
                            let at = (row * COLUMNS + COLUMNS - 1 - slot) * QUAD;
                            // SAFETY: a block holds four vectors of weights for each column and output row.
                            unsafe { add(sums, inputs, block, at) };
                        }
                    }
                    let [done, middle, fresh] = sums;
                    sums = [middle, fresh, [bias; 2]];
                    let Some(output_column) = column.checked_sub(COLUMNS - 1) else { continue };
                    for (sums, output) in done.into_iter().zip(output) {
                        // SAFETY: the output has `channels` bytes for each column, and the block ends within them.
                        unsafe {
                            let output = output.add(output_column * rows.channels + block.start);
                            finish.store(sums, output);
                        }
                    }
                }
            }

            /// What turns sums of a block into steps.
            struct Finisher<'a, const RELU: bool> {
                finish: $finish,
                block: &'a ColumnBlock,
                /// What sums begin with.
                bias: [Vector; QUAD],
                unshift: [Floats; QUAD],
            }

            impl<'a, const RELU: bool> Finisher<'a, RELU> {
                /// # Safety
                /// The block is of this width.
                #[inline]
                #[target_feature(enable = $features)]
                unsafe fn new(finish: &$finish, block: &'a ColumnBlock) -> Self {
                    let vector = |at: usize| WIDTH / 4 * at;
                    // SAFETY: a block holds four vectors of biases and of scales; unaligned loads.
                    let (bias, unshift) = unsafe {
                        let bias =
                            |at: usize| <$finish>::begin::<RELU>(load(block.bias.as_ptr().add(vector(at)).cast()));
                        let unshift = |at: usize| <$finish>::unshift(load_floats(block.scale.as_ptr().add(vector(at))));
                        (std::array::from_fn(bias), std::array::from_fn(unshift))
                    };
                    Self { finish: finish.known::<RELU>(), block, bias, unshift }
                }

                /// # Safety
                /// As [`Self::new`]; `WIDTH` bytes of room at `output`.
                #[inline]
                #[target_feature(enable = $features)]
                unsafe fn store(&self, sums: [Vector; QUAD], output: *mut u8) {
                    let mut steps = [zero(); QUAD];
                    for (index, (step, (sums, unshift))) in
                        steps.iter_mut().zip(sums.into_iter().zip(self.unshift)).enumerate()
                    {
                        // SAFETY: a block holds four vectors of scales; unaligned loads.
                        let scale = unsafe { load_floats(self.block.scale.as_ptr().add(WIDTH / 4 * index)) };
                        *step = self.finish.steps::<RELU>(sums, scale, unshift);
                    }
                    // SAFETY: as the caller says.
                    unsafe { store(output.cast(), self.finish.narrow(steps)) }
                }
            }

            /// One output row of one block, by the loop made for its window and epilogue; two where there is a `second`.
            ///
            /// # Safety
            /// As [`row`] or [`two_rows`].
            #[inline]
            #[target_feature(enable = $features)]
            pub unsafe fn any_row(
                call: &Depthwise<'_>,
                rows: &Rows,
                block: &ColumnBlock,
                finish: &$finish,
                output: (*mut u8, Option<*mut u8>),
            ) {
                // SAFETY: passed on from the caller.
                unsafe {
                    if finish.is_relu(&call.weights.epilogue) {
                        finished_row::<true>(call, rows, block, finish, output);
                    } else {
                        finished_row::<false>(call, rows, block, finish, output);
                    }
                }
            }

            /// # Safety
            /// As [`any_row`].
            #[inline]
            #[target_feature(enable = $features)]
            unsafe fn finished_row<const RELU: bool>(
                call: &Depthwise<'_>,
                rows: &Rows,
                block: &ColumnBlock,
                finish: &$finish,
                (output, second): (*mut u8, Option<*mut u8>),
            ) {
                if let Some(second) = second {
                    // SAFETY: passed on from the caller.
                    return unsafe { two_rows::<RELU>(rows, block, finish, [output, second]) };
                }
                let ([tap_rows, columns], [_, stride]) = (call.window.kernel, call.window.stride);
                // SAFETY: passed on from the caller.
                unsafe {
                    match (columns, stride, tap_rows) {
                        (3, 1, 0..=3) => row::<3, 1, 3, 3, false, RELU>(rows, block, finish, output),
                        (3, 2, 0..=3) => row::<3, 2, 2, 3, false, RELU>(rows, block, finish, output),
                        (5, 1, 5) => row::<5, 1, 5, 4, true, RELU>(rows, block, finish, output),
                        (5, 2, 5) => row::<5, 2, 3, 4, true, RELU>(rows, block, finish, output),
                        // Windows that are rare, once.
                        (3, 1, 4) => row::<3, 1, 3, 4, false, false>(rows, block, finish, output),
                        (3, 1, _) => row::<3, 1, 3, 8, false, false>(rows, block, finish, output),
                        (3, 2, 4) => row::<3, 2, 2, 4, false, false>(rows, block, finish, output),
                        (3, 2, _) => row::<3, 2, 2, 8, false, false>(rows, block, finish, output),
                        (5, 1, 0..=4) => row::<5, 1, 5, 4, false, false>(rows, block, finish, output),
                        (5, 1, _) => row::<5, 1, 5, 8, false, false>(rows, block, finish, output),
                        (5, 2, 0..=4) => row::<5, 2, 3, 4, false, false>(rows, block, finish, output),
                        (5, 2, _) => row::<5, 2, 3, 8, false, false>(rows, block, finish, output),
                        _ => {}
                    }
                }
            }
        }
    };
}

/// Makes the loop over rows and blocks, for vectors of 32 and 16 bytes and perhaps 64.
macro_rules! run {
    ($name:ident, $rows:ident, $features:literal, $at_once:path, $narrow:ident, $half:ident, $quarter:ident $(, $wide:ident)?) => {
        pub fn $name(call: &Depthwise<'_>, output: &mut [u8]) {
            let narrow = call.weights.narrow.as_deref().filter(|block| narrow::can_run(call, block, output));
            if let Some(block) = narrow {
                // SAFETY: the features were found before this function could be reached, and `can_run` holds.
                unsafe { narrow::$narrow(call, block, output.as_mut_ptr()) }
            } else if call.weights.columns.is_empty() {
                avx2::depthwise(call, output);
            } else if can_run(call, output, $at_once(call.window)) {
                // SAFETY: the features were found before this function could be reached; `can_run` has shown that
                // input, border, blocks and output cover the whole image and that the blocks are for this window.
                unsafe { $rows(call, output.as_mut_ptr()) }
            }
        }

        /// # Safety
        /// `can_run` holds for the memory at `output`.
        #[target_feature(enable = $features)]
        unsafe fn $rows(call: &Depthwise<'_>, output: *mut u8) {
            let bounds = call.weights.epilogue.bounds;
            let [output_rows, output_columns] = call.window.output;
            let at_once = $at_once(call.window);
            for row in (0..output_rows).step_by(at_once) {
                let (pitch, is_whole) = (output_columns * call.weights.channels, row + at_once <= output_rows);
                let count = if is_whole { at_once } else { 1 };
                let [taps, _] = call.window.kernel;
                let rows = Rows::beginning(call, row, taps + count - 1);
                // SAFETY: the output holds all rows; each block ends within the channels, and is long enough for its width.
                unsafe {
                    let output = output.add(row * pitch);
                    let output = (output, (count > 1).then(|| output.add(pitch)));
                    for block in &call.weights.columns {
                        match block.width {
                            $(64 => $wide::any_row(call, &rows, block, &FinishWide::new(bounds), output),)?
                            32 => $half::any_row(call, &rows, block, &FinishHalf::new(bounds), output),
                            16 => $quarter::any_row(call, &rows, block, &FinishQuarter::new(bounds), output),
                            _ => {}
                        }
                    }
                }
            }
        }
    };
}

column_kernel!(wide, wide, FinishWide, "avx512f,avx512bw,avx512vl,avx512vnni", _mm512_dpbusd_epi32);
column_kernel!(half, half, FinishHalf, "avx2,avx512f,avx512vl,avx512vnni", _mm256_dpbusd_epi32);
column_kernel!(quarter, quarter, FinishQuarter, "avx2,avx512f,avx512vl,avx512vnni", _mm_dpbusd_epi32);
run!(depthwise_512, run_512, "avx2,avx512f,avx512bw,avx512vl,avx512vnni", output_rows, run_wide, half, quarter, wide);
// What `avx` holds, where AVX-VNNI cannot be run.
#[cfg(test)]
run!(depthwise_256, run_256, "avx2,avx512f,avx512vl,avx512vnni", one_row, run_half, half, quarter);

/// The same code with the VEX spelling of the instruction, for processors that have VNNI without AVX-512.
pub mod avx {
    use super::*;

    column_kernel!(half, half, FinishHalf, "avx2,fma,avxvnni", _mm256_dpbusd_avx_epi32);
    column_kernel!(quarter, quarter, FinishQuarter, "avx2,fma,avxvnni", _mm_dpbusd_avx_epi32);
    run!(depthwise, run, "avx2,fma,avxvnni", one_row, run_half_avx, half, quarter);
}

/// Whether all slices are long enough for what the numbers say, with weights of `at_once` output rows.
fn can_run(call: &Depthwise<'_>, output: &[u8], at_once: usize) -> bool {
    let [rows, columns] = call.window.kernel;
    let quads = if [rows, columns] == [5, 5] { 7 } else { columns * rows.div_ceil(QUAD) };
    let weights = QUAD * quads * at_once;
    let fits = |block: &ColumnBlock| {
        matches!(block.width, 16 | 32 | 64)
            && block.start.saturating_add(block.width) <= call.weights.channels
            && block.weights.len() >= weights * block.width
            && block.bias.len() >= block.width
            && block.scale.len() >= block.width
    };
    let [_, dilation] = call.window.dilation;
    rows <= MOST_ROWS
        && dilation == 1
        && !call.weights.epilogue.is_wide
        && call.fits(output)
        && call.weights.columns.iter().all(fits)
}
