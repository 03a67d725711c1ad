//! Output channels that each see one input channel: a line of positions at a time, a vector of channels after the other, so that
//! what positions beside each other see comes from the first-level cache, and pages are few.

use std::ops::Range;

/// Positions of a line that share the loads of their weights: as many sums as the processor's two units have under way.
pub(super) const MANY: usize = 8;

/// Where there are fewer.
pub(super) const SOME: usize = 4;

/// A row that windows see.
#[derive(Clone, Copy)]
pub(super) struct Row {
    /// Its first pixel.
    pub start: *const f32,
    /// Which of the window's rows it is.
    pub tap: usize,
}

/// Positions of a line.
pub(super) struct Line<'a> {
    /// Those that there are.
    pub rows: &'a [Row],
    /// Rows and columns of the window.
    pub kernel: [usize; 2],
    /// Of the columns.
    pub stride: usize,
    pub dilation: usize,
    pub padding: usize,
    /// Columns of the input, and of the output.
    pub columns: usize,
    pub positions: usize,
    /// Positions whose windows lie within the picture.
    pub inner: Range<usize>,
    pub channels: usize,
    /// `[vector of channels][tap][channel]`, whole vectors.
    pub weights: *const f32,
    pub bias: *const f32,
    pub output: *mut f32,
    /// What is added, laid out as the output.
    pub other: Option<*const f32>,
    pub low: f32,
    pub high: f32,
}

impl Line<'_> {
    /// The window's columns that are there.
    pub(super) fn taps(&self, position: usize) -> Range<usize> {
        let first = position * self.stride;
        let from = self.padding.saturating_sub(first).div_ceil(self.dilation);
        let to = (self.columns + self.padding).saturating_sub(first).div_ceil(self.dilation);
        from..to.min(self.kernel[1])
    }
}

/// Needs what `vectors!` of the module makes.
macro_rules! depthwise {
    ($features:literal) => {
        /// All channels of a line.
        ///
        /// # Safety
        /// The processor has the features; the line's pointers are as its fields say.
        #[target_feature(enable = $features)]
        pub(super) unsafe fn depthwise(line: &Line<'_>) {
            // SAFETY: as the caller vouches; the sizes are the line's own.
            unsafe {
                match (line.kernel, line.stride, line.dilation) {
                    ([3, 3], 1, 1) => windows::<3, 1>(line),
                    ([3, 3], 2, 1) => windows::<3, 2>(line),
                    ([5, 5], 1, 1) => windows::<5, 1>(line),
                    ([5, 5], 2, 1) => windows::<5, 2>(line),
                    _ => any_windows(line, 0..line.positions, &(0..line.channels)),
                }
            }
        }

        /// Windows of `K` x `K` in steps of `S`.
        #[target_feature(enable = $features)]
        unsafe fn windows<const K: usize, const S: usize>(line: &Line<'_>) {
            for first in (0..line.channels).step_by(SOME * LANES) {
                let some = first..line.channels.min(first + SOME * LANES);
                // SAFETY: as above; no position is beyond the line's.
                unsafe {
                    any_windows(line, 0..line.inner.start, &some);
                    for channel in some.clone().step_by(LANES) {
                        let channels = channel..some.end.min(channel + LANES);
                        match line.inner.len() {
                            0 => {}
                            MANY.. => inner::<K, S, MANY>(line, &channels),
                            SOME.. => inner::<K, S, SOME>(line, &channels),
                            _ => inner::<K, S, 1>(line, &channels),
                        }
                    }
                    any_windows(line, line.inner.end..line.positions, &some);
                }
            }
        }

        /// All inner positions, `T` together; the last tile may have some of the one before.
        #[inline]
        #[target_feature(enable = $features)]
        unsafe fn inner<const K: usize, const S: usize, const T: usize>(
            line: &Line<'_>,
            channels: &std::ops::Range<usize>,
        ) {
            let last = line.inner.end - T;
            for first in line.inner.clone().step_by(T) {
                // SAFETY: as above; there are `T` inner positions or more.
                unsafe { tile::<K, S, T>(line, first.min(last), channels) };
            }
        }

        /// `T` inner positions from `first` on, of a vector of channels.
        #[inline]
        #[target_feature(enable = $features)]
        unsafe fn tile<const K: usize, const S: usize, const T: usize>(
            line: &Line<'_>,
            first: usize,
            channels: &std::ops::Range<usize>,
        ) {
            let lanes = channels.len();
            let step = line.channels;
            // SAFETY: the windows lie within the rows; `K` times `K` vectors are weights of these channels.
            unsafe {
                let mut sums = [load(line.bias.add(channels.start), LANES); T];
                let start = (first * S - line.padding) * step + channels.start;
                for row in line.rows {
                    let weights = line.weights.add(channels.start * K * K + row.tap * K * LANES);
                    let row = row.start.add(start);
                    for tap in 0..K {
                        let weight = load(weights.add(tap * LANES), LANES);
                        for (position, sum) in sums.iter_mut().enumerate() {
                            let pixel = load(row.add((position * S + tap) * step), lanes);
                            *sum = multiply_add(pixel, weight, *sum);
                        }
                    }
                }
                write(line, first, channels.start, lanes, sums);
            }
        }

        /// Channels of windows of any size anywhere, some of whose columns are not there.
        #[target_feature(enable = $features)]
        unsafe fn any_windows(line: &Line<'_>, positions: std::ops::Range<usize>, channels: &std::ops::Range<usize>) {
            let together = channels.end - channels.len() % (SOME * LANES);
            for position in positions {
                let taps = line.taps(position);
                // SAFETY: as above.
                unsafe {
                    for channel in (channels.start..together).step_by(SOME * LANES) {
                        window::<SOME>(line, position, &taps, channel, LANES);
                    }
                    for channel in (together..channels.end).step_by(LANES) {
                        window::<1>(line, position, &taps, channel, (channels.end - channel).min(LANES));
                    }
                }
            }
        }

        /// `V` vectors of a position's channels, as far as the window's columns are there.
        #[inline]
        #[target_feature(enable = $features)]
        unsafe fn window<const V: usize>(
            line: &Line<'_>,
            position: usize,
            taps: &std::ops::Range<usize>,
            channel: usize,
            lanes: usize,
        ) {
            let [rows, columns] = line.kernel;
            let apart = rows * columns * LANES;
            // SAFETY: the taps see columns of the picture, which has so many lanes of each of these vectors' channels.
            unsafe {
                let mut sums = row::<V>(line.bias.add(channel));
                for row in line.rows {
                    let weights = line.weights.add((channel * rows + row.tap * LANES) * columns);
                    let start = row.start.add(channel);
                    for tap in taps.clone() {
                        let column = position * line.stride + tap * line.dilation - line.padding;
                        let pixel = start.add(column * line.channels);
                        for (vector, sum) in sums.iter_mut().enumerate() {
                            let weight = load(weights.add(tap * LANES + vector * apart), LANES);
                            *sum = multiply_add(load(pixel.add(vector * LANES), lanes), weight, *sum);
                        }
                    }
                }
                for (vector, sum) in sums.into_iter().enumerate() {
                    write(line, position, channel + vector * LANES, lanes, [sum]);
                }
            }
        }

        #[inline]
        #[target_feature(enable = $features)]
        unsafe fn write<const T: usize>(
            line: &Line<'_>,
            first: usize,
            channel: usize,
            lanes: usize,
            sums: [Vector; T],
        ) {
            let (low, high) = (spread(line.low), spread(line.high));
            for (position, sum) in (first..).zip(sums) {
                let place = position * line.channels + channel;
                // SAFETY: so many lanes are channels of this position.
                unsafe {
                    let sum = line.other.map_or(sum, |other| add(sum, load(other.add(place), lanes)));
                    store(line.output.add(place), clip(sum, low, high), lanes);
                }
            }
        }
    };
}
