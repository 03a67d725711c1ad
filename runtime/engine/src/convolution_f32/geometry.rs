//! Which pixels an output position is made of.

use std::ops::Range;

const FEW_CHANNELS: usize = 16;

/// A window along rows or columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Axis {
    pub input: usize,
    pub output: usize,
    pub kernel: usize,
    pub stride: usize,
    pub dilation: usize,
    /// So many before the picture are zero.
    pub padding: usize,
}

impl Axis {
    /// Where an output position's tap lies; `None` in the border.
    pub(super) fn place(&self, output: usize, tap: usize) -> Option<usize> {
        let place = (output * self.stride + tap * self.dilation).checked_sub(self.padding)?;
        (place < self.input).then_some(place)
    }

    /// Output positions whose windows lie within the picture.
    pub(super) fn inner(&self) -> Range<usize> {
        let end = (self.input + self.padding)
            .checked_sub(self.reach())
            .map_or(0, |last| last / self.stride + 1)
            .min(self.output);
        self.padding.div_ceil(self.stride).min(end)..end
    }

    /// How far a window reaches.
    pub(super) fn reach(&self) -> usize {
        (self.kernel - 1) * self.dilation + 1
    }

    fn is_one_to_one(&self) -> bool {
        self.kernel == 1 && self.stride == 1 && self.padding == 0 && self.input == self.output
    }
}

/// Sizes of a convolution, channels last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Geometry {
    pub pictures: usize,
    pub rows: Axis,
    pub columns: Axis,
    pub channels: usize,
    pub filters: usize,
    /// Of channels, and of filters, which see their group's channels only.
    pub groups: usize,
}

impl Geometry {
    /// Output positions of all pictures.
    pub(super) fn positions(&self) -> usize {
        self.pictures * self.rows.output * self.columns.output
    }

    /// Input channels that a filter sees.
    pub(super) fn channels_seen(&self) -> usize {
        self.channels / self.groups
    }

    /// Each filter sees the one channel of its number.
    pub(super) fn is_depthwise(&self) -> bool {
        self.groups == self.channels && self.groups == self.filters
    }

    /// Whether pixels beside each other are read as one run of numbers, which is worth it where they have few channels.
    pub(super) fn reads_runs(&self) -> bool {
        self.groups == 1 && self.columns.dilation == 1 && self.columns.kernel > 1 && self.channels < FEW_CHANNELS
    }

    /// What a position is made of: from so many places, so many numbers that lie together.
    pub(super) fn reads(&self) -> [usize; 2] {
        if self.reads_runs() {
            [self.rows.kernel, self.columns.kernel * self.channels]
        } else {
            [self.taps(), self.channels_seen()]
        }
    }

    /// Most numbers that are read in one place.
    pub(super) fn zeros(&self) -> usize {
        let [_, together] = self.reads();
        together.max(self.channels)
    }

    pub(super) fn taps(&self) -> usize {
        self.rows.kernel * self.columns.kernel
    }

    /// Multiplications.
    pub(super) fn products(&self) -> usize {
        self.positions() * self.filters * self.taps() * self.channels_seen()
    }

    /// Numbers of the input.
    pub(super) fn input_len(&self) -> usize {
        self.pictures * self.rows.input * self.columns.input * self.channels
    }

    /// Each position is made of the one pixel in the same place.
    pub(super) fn is_pointwise(&self) -> bool {
        self.rows.is_one_to_one() && self.columns.is_one_to_one()
    }

    /// Picture, row and column of an output position.
    pub(super) fn locate(&self, position: usize) -> [usize; 3] {
        let line = position / self.columns.output;
        [line / self.rows.output, line % self.rows.output, position % self.columns.output]
    }

    /// Picture, row and column of the output position after this one.
    pub(super) fn next(&self, [picture, row, column]: [usize; 3]) -> [usize; 3] {
        match [row + 1 < self.rows.output, column + 1 < self.columns.output] {
            [_, true] => [picture, row, column + 1],
            [true, false] => [picture, row + 1, 0],
            [false, false] => [picture + 1, 0, 0],
        }
    }

    /// Where a pixel of the input begins.
    pub(super) fn pixel(&self, picture: usize, row: usize, column: usize) -> usize {
        ((picture * self.rows.input + row) * self.columns.input + column) * self.channels
    }
}
