//! Where depthwise kernels that go column by column find their pixels.

use super::Depthwise;

/// Most rows of a window.
pub const MOST_ROWS: usize = 8;

/// Where the rows of a window lie for one output row.
pub struct Rows {
    /// For columns of the image.
    pub inside: RowPixels,
    /// For columns of the border.
    outside: RowPixels,
    /// Columns before the image.
    pub pad: usize,
    /// Columns of the image.
    pub columns: usize,
    /// Columns of the output.
    pub output_columns: usize,
    /// Channels of input and output.
    pub channels: usize,
}

/// The first pixel of each row of a window, and bytes to the next one; a border pixel and 0 where the row is not on the
/// image.
#[derive(Clone, Copy)]
pub struct RowPixels([(*const u8, usize); MOST_ROWS]);

impl RowPixels {
    /// The pixel of a row in a column of the image.
    #[inline]
    pub fn pixel(&self, row: usize, column: usize) -> *const u8 {
        let (start, step) = self.0.get(row).copied().unwrap_or_default();
        // An address only; the kernel's own check has shown that it lies in the input.
        start.wrapping_add(column.wrapping_mul(step))
    }

    /// Bytes from a row's pixel to its next one.
    #[inline]
    pub fn pitch(&self, row: usize) -> usize {
        self.0.get(row).map_or(0, |(_, step)| *step)
    }
}

impl Rows {
    /// For one output row.
    pub fn new(call: &Depthwise<'_>, row: usize) -> Self {
        let [taps, _] = call.window.kernel;
        Self::beginning(call, row, taps)
    }

    /// The first `count` rows from the first one of an output row's window on, at most [`MOST_ROWS`].
    pub fn beginning(call: &Depthwise<'_>, row: usize, count: usize) -> Self {
        let channels = call.weights.channels;
        let ([_, columns], [_, pad], [_, output_columns]) = (call.window.input, call.window.pad, call.window.output);
        let outside = RowPixels([(call.border.as_ptr(), 0); MOST_ROWS]);
        let mut inside = outside;
        for (tap, pixels) in inside.0.iter_mut().enumerate().take(count) {
            if let Some(y) = call.window.row(row, tap) {
                *pixels = (call.input.as_ptr().wrapping_add(y * columns * channels), channels);
            }
        }
        Self { inside, outside, pad, columns, output_columns, channels }
    }

    /// Whether the output that is begun `early` steps before it ends is one of the row's.
    #[inline]
    pub fn has_output(&self, step: usize, early: usize) -> bool {
        step.wrapping_sub(early) < self.output_columns
    }

    /// Rows of a column, counted with the border before the image, and the column counted without it.
    #[inline]
    pub fn column(&self, column: usize) -> (&RowPixels, usize) {
        let column = column.wrapping_sub(self.pad);
        if column < self.columns { (&self.inside, column) } else { (&self.outside, 0) }
    }
}
