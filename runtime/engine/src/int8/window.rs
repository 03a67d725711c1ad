//! Where a sliding window of a convolution or a pool lies on its input. Sizes are in pixels, `[vertical, horizontal]`.

use std::ops::Range;

/// Geometry of a sliding window over one NHWC image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Size of the input.
    pub input: [usize; 2],
    /// Size of the output.
    pub output: [usize; 2],
    /// Taps.
    pub kernel: [usize; 2],
    /// Step between two outputs.
    pub stride: [usize; 2],
    /// Step between two taps.
    pub dilation: [usize; 2],
    /// Rows above and columns left of the input that count as border.
    pub pad: [usize; 2],
}

impl Window {
    /// The row of tap `tap` of output row `output`, unless it is in the border.
    pub fn row(&self, output: usize, tap: usize) -> Option<usize> {
        let [stride, _] = self.stride;
        let ([dilation, _], [pad, _], [rows, _]) = (self.dilation, self.pad, self.input);
        (output * stride + tap * dilation).checked_sub(pad).filter(|&row| row < rows)
    }

    /// The column of tap `tap` of output column `output`, unless it is in the border.
    pub fn column(&self, output: usize, tap: usize) -> Option<usize> {
        let ([_, stride], [_, dilation]) = (self.stride, self.dilation);
        let ([_, pad], [_, columns]) = (self.pad, self.input);
        (output * stride + tap * dilation).checked_sub(pad).filter(|&column| column < columns)
    }

    /// The same for some output rows alone, over the image without the rows above the first that they need; and that row.
    pub fn band(&self, rows: &Range<usize>) -> (Self, usize) {
        let ([stride, _], [pad, pad_columns], [input, columns]) = (self.stride, self.pad, self.input);
        let [_, output_columns] = self.output;
        let first = (rows.start * stride).saturating_sub(pad).min(input);
        let band = Self {
            input: [input - first, columns],
            output: [rows.len(), output_columns],
            pad: [pad.saturating_sub(rows.start * stride), pad_columns],
            ..*self
        };
        (band, first)
    }

    /// Rows and columns that the taps of all outputs cover, the border before the image included.
    pub fn covered(&self) -> [usize; 2] {
        let ([rows, columns], [_, stride]) = (self.output, self.stride);
        let ([_, taps], [_, dilation]) = (self.kernel, self.dilation);
        let across = columns.saturating_sub(1) * stride + taps.saturating_sub(1) * dilation + 1;
        [self.covered_rows(rows), across]
    }

    /// Rows that the taps of `count` output rows cover.
    pub fn covered_rows(&self, count: usize) -> usize {
        let ([taps, _], [stride, _], [dilation, _]) = (self.kernel, self.stride, self.dilation);
        count.saturating_sub(1) * stride + taps.saturating_sub(1) * dilation + 1
    }

    /// Taps of one output.
    pub fn taps(&self) -> usize {
        let [rows, columns] = self.kernel;
        rows * columns
    }

    /// Outputs.
    pub fn outputs(&self) -> usize {
        let [rows, columns] = self.output;
        rows * columns
    }

    /// Whether every output is made of exactly the input pixel at its own place.
    pub fn is_pointwise(&self) -> bool {
        self.kernel == [1, 1] && self.stride == [1, 1] && self.pad == [0, 0] && self.input == self.output
    }
}
