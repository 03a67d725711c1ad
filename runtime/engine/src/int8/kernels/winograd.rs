//! Dense 3 x 3 convolutions with 2.25 times fewer products: Winograd's F(2 x 2, 3 x 3) (Lavin and Gray 2015, section
//! 4.1), in integers and exact.
//!
//! A tile of 2 x 2 outputs is made of 16 products per pair of channels instead of 36. Inputs are transformed to sums of
//! four bytes, which fit i16. The weights' transform has halves; taken four times it is whole, fits i16, and each sum
//! comes out four times too large. Sums may wrap on the way: the result is the true one as long as four times the sum
//! fits i32, which the compiler of a plan checks.
//!
//! The definition of the whole is the direct convolution; `winograd_portable` has the three steps in plain Rust.

use crate::int8::aligned::Aligned;
use crate::int8::weights::{Epilogue, PANEL};
use crate::int8::window::Window;

/// Products of a tile for each pair of channels, and places of a tile's input.
pub const POSITIONS: usize = 16;

/// Output rows and columns of a tile.
pub const TILE: usize = 2;

/// The three steps.
#[derive(Clone, Copy)]
pub struct WinogradKernels {
    /// Transforms the inputs of some tiles.
    pub gather: fn(&Gather<'_>, &mut [i16]),
    /// Multiplies them by a panel of weights.
    pub multiply: fn(&Product<'_>, &mut [i32]),
    /// Transforms the sums of a panel to outputs.
    pub finish: fn(&Finish<'_>, &mut [u8]),
}

/// Numbers of a cache line that keep the positions of a block apart: at powers of two all would share a few lines.
const APART: usize = 64;

/// Numbers from one position's rows to the next one's.
pub fn row_pitch(tiles: usize, depth: usize) -> usize {
    tiles.saturating_mul(depth).saturating_add(APART / size_of::<i16>())
}

/// Numbers from one position's sums to the next one's.
pub fn sum_pitch(tiles: usize) -> usize {
    tiles.saturating_mul(PANEL).saturating_add(APART / size_of::<i32>())
}

/// Weights, transformed.
#[derive(Debug, Clone)]
pub struct WinogradWeights {
    /// Input channels, a multiple of [`PANEL`].
    pub depth: usize,
    /// Output channels, a multiple of [`PANEL`].
    pub channels: usize,
    /// `[panel][POSITIONS][depth / 2][PANEL][2]`.
    pub panels: Aligned<i16>,
    /// What follows the sums.
    pub epilogue: Epilogue,
}

/// Tiles of an image, counted row by row.
#[derive(Debug, Clone, Copy)]
pub struct Tiles<'a> {
    /// Geometry: 3 x 3, without stride and dilation.
    pub window: &'a Window,
    /// The first.
    pub first: usize,
    /// How many.
    pub count: usize,
}

/// Where the inputs of some tiles are.
#[derive(Debug, Clone, Copy)]
pub struct Gather<'a> {
    /// NHWC.
    pub input: &'a [u8],
    /// One pixel of the border.
    pub border: &'a [u8],
    /// Channels, a multiple of [`PANEL`].
    pub channels: usize,
    /// Which.
    pub tiles: Tiles<'a>,
}

/// One panel's weights and some tiles' transformed inputs. The sums become `[POSITIONS][tile][PANEL]`, positions
/// [`sum_pitch`] apart.
#[derive(Debug, Clone, Copy)]
pub struct Product<'a> {
    /// `[POSITIONS][tile][depth]`, positions [`row_pitch`] apart.
    pub rows: &'a [i16],
    /// `[POSITIONS][depth / 2][PANEL][2]`.
    pub panel: &'a [i16],
    /// Tiles.
    pub tiles: usize,
    /// Input channels.
    pub depth: usize,
}

/// Sums of one panel and where their outputs go.
#[derive(Debug, Clone, Copy)]
pub struct Finish<'a> {
    /// `[POSITIONS][tile][PANEL]`, positions [`sum_pitch`] apart.
    pub sums: &'a [i32],
    /// Which.
    pub tiles: Tiles<'a>,
    /// Of all channels.
    pub epilogue: &'a Epilogue,
    /// The first channel of the panel.
    pub first_channel: usize,
    /// Channels of the output, a multiple of [`PANEL`].
    pub channels: usize,
}

/// Twice `G` of the paper on three weights.
fn transform_weights([a, b, c]: [i16; 3]) -> [i16; 4] {
    let (sum, middle) = (a.wrapping_add(c), b);
    [a.wrapping_mul(2), sum.wrapping_add(middle), sum.wrapping_sub(middle), c.wrapping_mul(2)]
}

/// Makes the transforms for numbers, or vectors of numbers, that can be added and subtracted: `B` and `A` of the paper on
/// both axes. (As functions that are handed the two operations they would not be compiled for a vector's features.)
macro_rules! transforms {
    ($(#[$attribute:meta])* $input:ty, $add:path, $subtract:path; $sum:ty, $add_sums:path, $subtract_sums:path) => {
        /// From a patch of inputs to what is multiplied.
        $(#[$attribute])*
        fn transform_input(patch: [[$input; 4]; 4]) -> [[$input; 4]; 4] {
            $(#[$attribute])*
            fn line([a, b, c, d]: [$input; 4]) -> [$input; 4] {
                [$subtract(a, c), $add(b, c), $subtract(c, b), $subtract(b, d)]
            }
            let [[a, b, c, d], [e, f, g, h], [i, j, k, l], [m, n, o, p]] = patch;
            let [a, e, i, m] = line([a, e, i, m]);
            let [b, f, j, n] = line([b, f, j, n]);
            let [c, g, k, o] = line([c, g, k, o]);
            let [d, h, l, p] = line([d, h, l, p]);
            [line([a, b, c, d]), line([e, f, g, h]), line([i, j, k, l]), line([m, n, o, p])]
        }

        /// From sums of products to four times the outputs of a tile.
        $(#[$attribute])*
        fn transform_sums(sums: [[$sum; 4]; 4]) -> [[$sum; 2]; 2] {
            $(#[$attribute])*
            fn line([a, b, c, d]: [$sum; 4]) -> [$sum; 2] {
                [$add_sums($add_sums(a, b), c), $subtract_sums($subtract_sums(b, c), d)]
            }
            let [[a, b, c, d], [e, f, g, h], [i, j, k, l], [m, n, o, p]] = sums;
            let ([a, e], [b, f]) = (line([a, e, i, m]), line([b, f, j, n]));
            let ([c, g], [d, h]) = (line([c, g, k, o]), line([d, h, l, p]));
            [line([a, b, c, d]), line([e, f, g, h])]
        }
    };
}
pub(super) use transforms;

impl WinogradWeights {
    /// Whether a layer can be done so: `largest` is how far from 0 the sums of each channel can be.
    pub fn suit(window: &Window, [inputs, outputs]: [usize; 2], largest: impl IntoIterator<Item = u64>) -> bool {
        let is_whole = |channels: usize| channels > 0 && channels.is_multiple_of(PANEL);
        let fits = |sum: u64| sum.saturating_mul(4) < 1 << 31;
        window.kernel == [3, 3]
            && window.stride == [1, 1]
            && window.dilation == [1, 1]
            && is_whole(inputs)
            && is_whole(outputs)
            && largest.into_iter().all(fits)
    }

    /// Bytes for so many channels.
    pub fn bytes([inputs, outputs]: [usize; 2]) -> usize {
        inputs.saturating_mul(outputs).saturating_mul(POSITIONS * size_of::<i16>())
    }

    /// Transforms rows of weights, one an output channel: `[tap row][tap column][input channel]`. `None` where they are
    /// not as [`Self::suit`] wants them.
    pub fn new(rows: &[Vec<i16>], epilogue: Epilogue) -> Option<Self> {
        let depth = rows.first()?.len() / 9;
        let channels = rows.len();
        if depth == 0 || !depth.is_multiple_of(PANEL) || !channels.is_multiple_of(PANEL) {
            return None;
        }
        let mut panels = Aligned::zeros(channels * depth * POSITIONS);
        for (row, weights) in rows.iter().enumerate() {
            let panel = row / PANEL * PANEL * depth * POSITIONS;
            for channel in 0..depth {
                let tap = |row: usize, column: usize| weights.get((3 * row + column) * depth + channel).copied();
                let line = |row: usize| Some(transform_weights([tap(row, 0)?, tap(row, 1)?, tap(row, 2)?]));
                let [top, middle, bottom] = [line(0)?, line(1)?, line(2)?];
                let columns = top.into_iter().zip(middle).zip(bottom).enumerate();
                for (column, ((top, middle), bottom)) in columns {
                    for (line, weight) in transform_weights([top, middle, bottom]).into_iter().enumerate() {
                        let pair = ((4 * line + column) * depth / 2 + channel / 2) * PANEL + row % PANEL;
                        *panels.get_mut(panel + 2 * pair + channel % 2)? = weight;
                    }
                }
            }
        }
        Some(Self { depth, channels, panels, epilogue })
    }
}

impl Tiles<'_> {
    /// Tiles of a row.
    pub fn columns(window: &Window) -> usize {
        let [_, columns] = window.output;
        columns.div_ceil(TILE)
    }

    /// Tiles of an image.
    pub fn of(window: &Window) -> usize {
        let [rows, _] = window.output;
        rows.div_ceil(TILE).saturating_mul(Self::columns(window))
    }

    /// Output row and column of each tile's first pixel.
    #[inline]
    pub fn places(self) -> impl Iterator<Item = (usize, usize)> {
        let columns = Self::columns(self.window).max(1);
        let (mut row, mut column) = (self.first / columns, self.first % columns);
        (0..self.count).map(move |_| {
            let place = (TILE * row, TILE * column);
            column += 1;
            if column == columns {
                (row, column) = (row + 1, 0);
            }
            place
        })
    }

    fn fits(&self) -> bool {
        let end = self.first.checked_add(self.count);
        self.window.kernel == [3, 3]
            && self.window.stride == [1, 1]
            && self.window.dilation == [1, 1]
            && end.is_some_and(|end| end <= Self::of(self.window))
    }
}

impl Gather<'_> {
    /// Whether all slices are long enough for what the numbers say.
    pub fn fits(&self, rows: &[i16]) -> bool {
        let [height, width] = self.tiles.window.input;
        self.tiles.fits()
            && self.channels > 0
            && self.channels.is_multiple_of(PANEL)
            && self.border.len() >= self.channels
            && self.input.len() >= height.saturating_mul(width).saturating_mul(self.channels)
            && rows.len() >= row_pitch(self.tiles.count, self.channels).saturating_mul(POSITIONS)
    }

    /// Where the first of the 4 x 4 pixels under the tile at an output row and column begins, if all are on the image.
    #[inline]
    pub fn inside(&self, (row, column): (usize, usize)) -> Option<usize> {
        let ([pad_rows, pad_columns], [rows, columns]) = (self.tiles.window.pad, self.tiles.window.input);
        let (row, column) = (row.checked_sub(pad_rows)?, column.checked_sub(pad_columns)?);
        (row + 4 <= rows && column + 4 <= columns).then_some((row * columns + column) * self.channels)
    }

    /// Where the 4 x 4 pixels under the tile at an output row and column begin; `None` in the border.
    pub fn patch(&self, (row, column): (usize, usize)) -> [[Option<usize>; 4]; 4] {
        let [_, width] = self.tiles.window.input;
        let columns: [Option<usize>; 4] = std::array::from_fn(|tap| self.tiles.window.column(column, tap));
        std::array::from_fn(|tap| {
            let line = self.tiles.window.row(row, tap);
            columns.map(|x| line.zip(x).map(|(y, x)| (y * width + x) * self.channels))
        })
    }
}

impl Product<'_> {
    /// Whether all slices are long enough for what the numbers say.
    pub fn fits(&self, sums: &[i32]) -> bool {
        let rows = row_pitch(self.tiles, self.depth).saturating_mul(POSITIONS);
        self.tiles > 0
            && self.depth > 0
            && self.depth.is_multiple_of(PANEL)
            && self.rows.len() >= rows
            && self.panel.len() >= POSITIONS.saturating_mul(self.depth).saturating_mul(PANEL)
            && sums.len() >= POSITIONS.saturating_mul(sum_pitch(self.tiles))
    }
}

impl Finish<'_> {
    /// Whether all slices are long enough for what the numbers say.
    pub fn fits(&self, output: &[u8]) -> bool {
        let end = self.first_channel.saturating_add(PANEL);
        self.tiles.fits()
            && end <= self.channels
            && self.epilogue.bias.len() >= end
            && self.epilogue.scale.len() >= end
            && self.sums.len() >= POSITIONS.saturating_mul(sum_pitch(self.tiles.count))
            && output.len() >= self.tiles.window.outputs().saturating_mul(self.channels)
    }
}
