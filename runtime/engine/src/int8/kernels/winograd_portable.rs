//! The steps of Winograd's convolution in portable Rust: what the kernels of a set have to do, and what tests run where a
//! processor has no such set.

use super::winograd::{Finish, Gather, POSITIONS, Product, WinogradKernels, row_pitch, sum_pitch, transforms};
use crate::int8::kernels::scalar;
use crate::int8::weights::PANEL;

transforms!(i16, i16::wrapping_add, i16::wrapping_sub; i32, i32::wrapping_add, i32::wrapping_sub);

/// The three steps.
pub const PORTABLE: WinogradKernels = WinogradKernels { gather, multiply, finish };

fn gather(call: &Gather<'_>, rows: &mut [i16]) {
    let depth = call.channels;
    for (tile, place) in call.tiles.places().enumerate() {
        let patch = call.patch(place);
        for channel in 0..depth {
            let numbers = patch
                .map(|line| line.map(|at| i16::from(at.map_or(call.border[channel], |at| call.input[at + channel]))));
            let lines = transform_input(numbers);
            for (position, number) in lines.into_iter().flatten().enumerate() {
                rows[position * row_pitch(call.tiles.count, depth) + tile * depth + channel] = number;
            }
        }
    }
}

fn multiply(call: &Product<'_>, sums: &mut [i32]) {
    for (position, tile) in (0..POSITIONS).flat_map(|position| (0..call.tiles).map(move |tile| (position, tile))) {
        let row = &call.rows[position * row_pitch(call.tiles, call.depth) + tile * call.depth..][..call.depth];
        let sums = &mut sums[position * sum_pitch(call.tiles) + tile * PANEL..][..PANEL];
        let panel = &call.panel[position * call.depth * PANEL..][..call.depth * PANEL];
        for (channel, sum) in sums.iter_mut().enumerate() {
            let weight = |at: usize| panel[(at / 2 * PANEL + channel) * 2 + at % 2];
            let product = |(at, &number): (usize, &i16)| i32::from(number).wrapping_mul(i32::from(weight(at)));
            *sum = row.iter().enumerate().map(product).fold(0, i32::wrapping_add);
        }
    }
}

fn finish(call: &Finish<'_>, output: &mut [u8]) {
    let [rows, columns] = call.tiles.window.output;
    for (tile, (row, column)) in call.tiles.places().enumerate() {
        for channel in 0..PANEL {
            let sum = |position: usize| call.sums[position * sum_pitch(call.tiles.count) + tile * PANEL + channel];
            let sums = std::array::from_fn(|line| std::array::from_fn(|at| sum(4 * line + at)));
            let sums = transform_sums(sums);
            let at = call.first_channel + channel;
            for (y, x) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
                if row + y < rows && column + x < columns {
                    let step = scalar::finish(
                        call.epilogue.bounds,
                        sums[y][x] >> 2,
                        call.epilogue.bias[at],
                        call.epilogue.scale[at],
                    );
                    output[((row + y) * columns + column + x) * call.channels + at] = step;
                }
            }
        }
    }
}
