//! Copies of parts of an image with the border around them, so that every tap of a window lies on the copy.

use std::ops::Range;

use crate::int8::window::Window;

/// A part of an image that covers all taps of some output rows.
#[derive(Clone, Copy)]
pub struct Image<'a> {
    /// NHWC.
    pub bytes: &'a [u8],
    /// Bytes from one row to the next.
    pub row_pitch: usize,
}

/// What is copied and what the border is filled with.
#[derive(Debug, Clone, Copy)]
pub struct Bordered {
    /// Geometry.
    pub window: Window,
    /// Channels of the input.
    pub channels: usize,
    /// The input's zero point.
    pub border: u8,
}

impl Bordered {
    /// Bytes of a row of the copy.
    fn row_bytes(&self) -> usize {
        let [_, columns] = self.window.covered();
        columns.saturating_mul(self.channels)
    }

    /// Output rows that are worth doing at once, if their input is to take about `bytes`.
    pub fn rows_for(&self, bytes: usize) -> usize {
        let [stride, _] = self.window.stride;
        bytes / self.row_bytes().saturating_mul(stride).max(1)
    }

    /// Bytes of the copy for `count` output rows.
    pub fn bytes(&self, count: usize) -> usize {
        self.window.covered_rows(count).saturating_mul(self.row_bytes())
    }

    /// Copies the input rows that a band of output rows needs, with the border on all sides.
    pub fn copy<'a>(&self, band: &Range<usize>, input: &[u8], scratch: &'a mut [u8]) -> Image<'a> {
        let ([stride, _], [pad_rows, pad_columns]) = (self.window.stride, self.window.pad);
        let [rows, columns] = self.window.input;
        let (row_pitch, source_pitch) = (self.row_bytes(), columns * self.channels);
        let before = (pad_columns * self.channels).min(row_pitch);
        let copied = source_pitch.min(row_pitch - before);
        let count = self.window.covered_rows(band.len());
        for (index, row) in scratch.chunks_exact_mut(row_pitch.max(1)).take(count).enumerate() {
            let source = (band.start * stride + index).checked_sub(pad_rows).filter(|&row| row < rows);
            let source = source.and_then(|row| input.get(row * source_pitch..row * source_pitch + copied));
            let Some(source) = source else {
                row.fill(self.border);
                continue;
            };
            let (left, rest) = row.split_at_mut(before);
            let (middle, right) = rest.split_at_mut(copied);
            left.fill(self.border);
            middle.copy_from_slice(source);
            right.fill(self.border);
        }
        Image { bytes: scratch, row_pitch }
    }
}

/// Cuts rows into bands.
pub fn bands(rows: usize, band: usize) -> impl DoubleEndedIterator<Item = Range<usize>> + ExactSizeIterator {
    (0..rows).step_by(band.max(1)).map(move |start| start..(start + band.max(1)).min(rows))
}
