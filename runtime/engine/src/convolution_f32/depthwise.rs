//! Output channels that each see one input channel.

use super::geometry::Axis;

/// Positions of a line that share the loads of their weights, and of the pixels where their windows overlap.
pub(super) const TOGETHER: usize = 4;

/// Columns of the input that so many positions see, at most, where sizes are known when this is compiled.
pub(super) const MOST_REACH: usize = (TOGETHER - 1) * 2 + 5;

/// How many columns of the input so many positions see. Where windows have gaps each position has its own.
pub(super) fn reach(columns: &Axis) -> usize {
    if columns.dilation == 1 { (TOGETHER - 1) * columns.stride + columns.kernel } else { TOGETHER * columns.kernel }
}

/// Where one of these lies, for positions from `first` on.
pub(super) fn column(columns: &Axis, first: usize, column: usize) -> Option<usize> {
    if columns.dilation == 1 {
        columns.place(first, column)
    } else {
        columns.place(first + column / columns.kernel, column % columns.kernel)
    }
}

/// Some positions of a line.
pub(super) struct Tile<'a> {
    /// Where the pixels are: for each row of the window, the columns that [`reach`] counts.
    pub pixels: &'a [*const f32],
    /// Rows and columns of the window.
    pub kernel: [usize; 2],
    /// Of the columns.
    pub stride: usize,
    pub dilation: usize,
    /// At most [`TOGETHER`].
    pub positions: usize,
    /// The first one in the line.
    pub first: usize,
    pub channels: usize,
    /// `[tap][channel]`, whole vectors.
    pub weights: *const f32,
    pub bias: *const f32,
    /// The line's.
    pub output: *mut f32,
    /// What is added, laid out as the output.
    pub other: Option<*const f32>,
    pub low: f32,
    pub high: f32,
}

/// Needs what `vectors!` of the module makes.
macro_rules! depthwise {
    ($features:literal) => {
        /// All channels of a tile.
        ///
        /// # Safety
        /// The processor has the features; the tile's pointers are as its fields say.
        #[target_feature(enable = $features)]
        pub(super) unsafe fn depthwise(tile: &Tile<'_>) {
            // SAFETY: as the caller vouches; the sizes are the tile's own.
            unsafe {
                match (tile.kernel, tile.stride, tile.dilation) {
                    ([3, 3], 1, 1) => windows::<3, 1>(tile),
                    ([3, 3], 2, 1) => windows::<3, 2>(tile),
                    ([5, 5], 1, 1) => windows::<5, 1>(tile),
                    ([5, 5], 2, 1) => windows::<5, 2>(tile),
                    _ => any_windows(tile),
                }
            }
        }

        /// Windows of `K` x `K` in steps of `S`.
        #[target_feature(enable = $features)]
        unsafe fn windows<const K: usize, const S: usize>(tile: &Tile<'_>) {
            let reach = (TOGETHER - 1) * S + K;
            let mut pixels = [[std::ptr::null(); MOST_REACH]; K];
            for (row, pointers) in pixels.iter_mut().zip(tile.pixels.chunks_exact(reach)) {
                row.iter_mut().zip(pointers).for_each(|(place, &pointer)| *place = pointer);
            }
            let whole = tile.channels - tile.channels % LANES;
            // SAFETY: each row of the window has `reach` pixels of `channels` numbers.
            unsafe {
                for channel in (0..whole).step_by(LANES) {
                    vector::<K, S>(tile, &pixels, channel, LANES);
                }
                if whole < tile.channels {
                    vector::<K, S>(tile, &pixels, whole, tile.channels - whole);
                }
            }
        }

        /// So many channels of a tile.
        #[inline]
        #[target_feature(enable = $features)]
        unsafe fn vector<const K: usize, const S: usize>(
            tile: &Tile<'_>,
            pixels: &[[*const f32; MOST_REACH]; K],
            channel: usize,
            lanes: usize,
        ) {
            let width = tile.channels.next_multiple_of(LANES);
            // SAFETY: the caller has pixels there; weights are whole vectors.
            unsafe {
                let mut sums = [load(tile.bias.add(channel), LANES); TOGETHER];
                let mut weights = tile.weights.add(channel);
                for row in pixels {
                    let mut columns = [spread(0.0); MOST_REACH];
                    for (column, pixel) in columns.iter_mut().zip(row).take((TOGETHER - 1) * S + K) {
                        *column = load(pixel.add(channel), lanes);
                    }
                    for tap in 0..K {
                        let weight = load(weights, LANES);
                        for (sum, &column) in sums.iter_mut().zip(columns.iter().skip(tap).step_by(S)) {
                            *sum = multiply_add(column, weight, *sum);
                        }
                        weights = weights.add(width);
                    }
                }
                write(tile, channel, lanes, sums);
            }
        }

        /// Windows of any size.
        #[target_feature(enable = $features)]
        unsafe fn any_windows(tile: &Tile<'_>) {
            let [rows, columns] = tile.kernel;
            let width = tile.channels.next_multiple_of(LANES);
            let reach = tile.pixels.len() / rows;
            let apart = if tile.dilation == 1 { tile.stride } else { columns };
            for channel in (0..tile.channels).step_by(LANES) {
                let lanes = (tile.channels - channel).min(LANES);
                // SAFETY: as above; `reach` counts `apart` for each position before the last, and the columns.
                unsafe {
                    let mut sums = [load(tile.bias.add(channel), LANES); TOGETHER];
                    let mut weights = tile.weights.add(channel);
                    for row in tile.pixels.chunks_exact(reach) {
                        for tap in 0..columns {
                            let weight = load(weights, LANES);
                            for (position, sum) in sums.iter_mut().enumerate() {
                                let pixel = *row.get_unchecked(position * apart + tap);
                                *sum = multiply_add(load(pixel.add(channel), lanes), weight, *sum);
                            }
                            weights = weights.add(width);
                        }
                    }
                    write(tile, channel, lanes, sums);
                }
            }
        }

        #[inline]
        #[target_feature(enable = $features)]
        unsafe fn write(tile: &Tile<'_>, channel: usize, lanes: usize, sums: [Vector; TOGETHER]) {
            let (low, high) = (spread(tile.low), spread(tile.high));
            for (position, sum) in (tile.first..).zip(sums).take(tile.positions) {
                let place = position * tile.channels + channel;
                // SAFETY: so many lanes are channels of this position.
                unsafe {
                    let sum = tile.other.map_or(sum, |other| add(sum, load(other.add(place), lanes)));
                    store(tile.output.add(place), clip(sum, low, high), lanes);
                }
            }
        }
    };
}
