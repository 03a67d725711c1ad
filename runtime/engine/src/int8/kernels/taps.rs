//! Where the taps of a depthwise convolution's outputs lie: the walk over an image that all vector kernels share.

use std::ops::Range;

use super::Depthwise;
use crate::int8::window::Window;

/// Taps of the largest window of which the walk keeps pointers.
pub const MOST_TAPS: usize = 64;

/// Pointers to the pixels under a window; one more than it has taps, so that an odd last tap has a partner.
pub type Taps = [*const u8; MOST_TAPS + 1];

/// Calls `work` with the index of each output pixel and pointers to the input pixels, or the border, under its taps. The
/// window has at most [`MOST_TAPS`]; the pointers after them stay at the border.
#[inline(always)]
pub fn for_pixels(call: &Depthwise<'_>, mut work: impl FnMut(usize, &Taps)) {
    let [rows, columns] = call.window.output;
    let ([_, stride], channels) = (call.window.stride, call.weights.channels);
    let mut taps: Taps = [call.border.as_ptr(); MOST_TAPS + 1];
    let inside = inside_columns(call.window);
    for row in 0..rows {
        let inner_row = (0..call.window.kernel[0]).all(|tap| call.window.row(row, tap).is_some());
        for column in 0..columns {
            if inner_row && column > inside.start && column < inside.end {
                // All taps lie on the image, as those of the column before did.
                taps.iter_mut().take(call.window.taps()).for_each(|tap| *tap = tap.wrapping_add(stride * channels));
            } else {
                point_at_taps(call, row, column, &mut taps);
            }
            work(row * columns + column, &taps);
        }
    }
}

/// The output columns whose taps all lie on the image.
fn inside_columns(window: &Window) -> Range<usize> {
    let ([_, columns], [_, taps]) = (window.output, window.kernel);
    let is_inside = |column: &usize| {
        window.column(*column, 0).is_some() && window.column(*column, taps.saturating_sub(1)).is_some()
    };
    let first = (0..columns).find(is_inside).unwrap_or(columns);
    let count = (first..columns).take_while(is_inside).count();
    first..first + count
}

/// Points `taps` at the input pixels under the window, or at the border.
#[inline]
fn point_at_taps(call: &Depthwise<'_>, row: usize, column: usize, taps: &mut [*const u8]) {
    let [tap_rows, tap_columns] = call.window.kernel;
    let [_, input_columns] = call.window.input;
    let mut slots = taps.iter_mut();
    for tap_row in 0..tap_rows {
        let y = call.window.row(row, tap_row);
        for (tap_column, slot) in (0..tap_columns).zip(slots.by_ref()) {
            let place = y.zip(call.window.column(column, tap_column));
            // An address only; it is read where `fits` holds.
            *slot = place.map_or(call.border.as_ptr(), |(y, x)| {
                call.input.as_ptr().wrapping_add((y * input_columns + x) * call.weights.channels)
            });
        }
    }
}
