//! Depthwise convolutions of images of few channels: as many whole pixels as a vector holds are done at once, as if they
//! were channels. The image has its border around it.

use std::arch::x86_64::{_mm256_dpbusd_avx_epi32, _mm512_dpbusd_epi32};

use super::depthwise::QUAD;
use super::finish::{FinishHalf, FinishWide};
use crate::int8::depthwise_weights::ColumnBlock;
use crate::int8::kernels::Depthwise;
use crate::int8::kernels::columns::MOST_ROWS;
use crate::int8::window::Window;

/// Makes the kernel for one width of vectors.
macro_rules! narrow_kernel {
    ($name:ident, $ops:ident, $finish:ty, $features:literal, $dot:path) => {
        mod $name {
            use super::*;
            use crate::int8::kernels::vnni::ops::$ops::{Vector, add_i32, interleave, load, load_floats, store, zero};

            const WIDTH: usize = size_of::<Vector>();

            /// All rows of an image of few channels, as many pixels at once as a vector holds: taps in a row are
            /// `channels` bytes apart.
            ///
            /// # Safety
            /// `can_run` holds for the memory at `output`.
            #[target_feature(enable = $features)]
            unsafe fn rows<const COLUMNS: usize, const QUADS: usize>(
                call: &Depthwise<'_>,
                block: &ColumnBlock,
                finish: &$finish,
                output: *mut u8,
            ) {
                let channels = call.weights.channels;
                let ([tap_rows, _], [stride, _]) = (call.window.kernel, call.window.stride);
                let ([_, input_columns], [output_rows, output_columns]) = (call.window.input, call.window.output);
                let (pitch, row_bytes) = (input_columns * channels, output_columns * channels);
                let total = output_rows * row_bytes;
                for row in 0..output_rows {
                    for at in (0..row_bytes).step_by(block.width) {
                        let mut sums: [Vector; QUAD] = [zero(); QUAD];
                        for column in 0..COLUMNS {
                            for quad in 0..QUADS {
                                let first = row * stride * pitch + at + column * channels;
                                // Rows that are lacking have weights of 0.
                                let tap = |tap: usize| {
                                    let tap = (QUAD * quad + tap).min(tap_rows - 1);
                                    // SAFETY: the input holds all taps and a vector more.
                                    unsafe { load(call.input.as_ptr().add(first + tap * pitch).cast()) }
                                };
                                let inputs = interleave(tap(0), tap(1), tap(2), tap(3));
                                for (index, (sum, inputs)) in sums.iter_mut().zip(inputs).enumerate() {
                                    let place = ((column * QUADS + quad) * QUAD + index) * WIDTH;
                                    // SAFETY: a block holds `COLUMNS * QUADS` times four vectors of weights.
                                    let weights = unsafe { load(block.weights.as_ptr().add(place).cast()) };
                                    *sum = $dot(*sum, inputs, weights);
                                }
                            }
                        }
                        let mut steps = [zero(); QUAD];
                        for (index, (step, sum)) in steps.iter_mut().zip(sums).enumerate() {
                            // SAFETY: a block holds four vectors of biases and of scales; unaligned loads.
                            *step = unsafe {
                                let bias = load(block.bias.as_ptr().add(WIDTH / 4 * index).cast());
                                let scale = load_floats(block.scale.as_ptr().add(WIDTH / 4 * index));
                                finish.scale(add_i32(sum, bias), scale)
                            };
                        }
                        let place = row * row_bytes + at;
                        let bytes = finish.narrow(steps);
                        // What is stored too much is stored over by the blocks that follow; near the end there are none.
                        // SAFETY: the output holds `total` bytes.
                        unsafe {
                            if place + WIDTH <= total {
                                store(output.add(place).cast(), bytes);
                            } else {
                                let mut buffer = [0u8; WIDTH];
                                store(buffer.as_mut_ptr().cast(), bytes);
                                let count = block.width.min(row_bytes - at);
                                std::ptr::copy_nonoverlapping(buffer.as_ptr(), output.add(place), count);
                            }
                        }
                    }
                }
            }

            /// An image of few channels, by the loop made for its window.
            ///
            /// # Safety
            /// As [`rows`].
            #[target_feature(enable = $features)]
            pub unsafe fn run(call: &Depthwise<'_>, block: &ColumnBlock, output: *mut u8) {
                let finish = <$finish>::new(call.weights.epilogue.bounds);
                let [tap_rows, columns] = call.window.kernel;
                // SAFETY: passed on from the caller.
                unsafe {
                    match (columns, tap_rows > QUAD) {
                        (3, false) => rows::<3, 1>(call, block, &finish, output),
                        (3, true) => rows::<3, 2>(call, block, &finish, output),
                        (5, false) => rows::<5, 1>(call, block, &finish, output),
                        (5, true) => rows::<5, 2>(call, block, &finish, output),
                        _ => {}
                    }
                }
            }
        }
    };
}

narrow_kernel!(wide, wide, FinishWide, "avx512f,avx512bw,avx512vl,avx512vnni", _mm512_dpbusd_epi32);
narrow_kernel!(half_avx, half, FinishHalf, "avx2,avxvnni", _mm256_dpbusd_avx_epi32);
// The same code where AVX-VNNI cannot be run.
#[cfg(test)]
narrow_kernel!(half, half, FinishHalf, "avx2,avx512f,avx512vl,avx512vnni", std::arch::x86_64::_mm256_dpbusd_epi32);

#[cfg(test)]
pub use half::run as run_half;
pub use half_avx::run as run_half_avx;
pub use wide::run as run_wide;

/// Whether all taps of all outputs lie on the image with a vector to spare, and the block is for this window.
pub fn can_run(call: &Depthwise<'_>, block: &ColumnBlock, output: &[u8]) -> bool {
    let Window { input: [rows, columns], kernel: [tap_rows, tap_columns], .. } = *call.window;
    let [covered_rows, covered_columns] = call.window.covered();
    let [_, stride] = call.window.stride;
    let vectors = 4 * tap_columns * tap_rows.div_ceil(QUAD);
    // Of either kernel: a block for 64 bytes holds 64 biases.
    let width = block.bias.len();
    matches!(width, 32 | 64)
        && (1..=width).contains(&block.width)
        && block.width.is_multiple_of(call.weights.channels.max(1))
        && block.weights.len() >= vectors * width
        && block.scale.len() >= width
        && (1..=MOST_ROWS).contains(&tap_rows)
        && stride == 1
        && call.window.dilation == [1, 1]
        && call.window.pad == [0, 0]
        && covered_rows <= rows
        && covered_columns <= columns
        && call.input.len() >= rows * columns * call.weights.channels + width
        && !call.weights.epilogue.is_wide
        && call.fits(output)
}
