//! Dense 3 x 3 convolutions by Winograd's algorithm.

use super::border::bands;
use super::crew::{Crew, Cut};
use crate::int8::kernels::winograd::{
    Finish, Gather, POSITIONS, Product, TILE, Tiles, WinogradKernels, WinogradWeights, row_pitch, sum_pitch,
};
use crate::int8::memory::{Buffers, TensorId};
use crate::int8::weights::PANEL;
use crate::int8::window::Window;

/// Tiles that are worked on at once: the sums of a panel stay in the first-level cache.
const BLOCK: usize = 24;

/// Tiles of a block are a multiple of this, so that register tiles come out even.
const BLOCK_MULTIPLE: usize = 6;

/// Bytes of weights that stay in a second-level cache; more are read again for each block, so that these are larger.
const CACHED: usize = 768 * 1024;

/// A dense convolution of 3 x 3 without stride and dilation.
#[derive(Debug, Clone)]
pub struct WinogradConvolution {
    /// Read.
    pub input: TensorId,
    /// Written.
    pub output: TensorId,
    /// Geometry.
    pub window: Window,
    /// One pixel of the border.
    pub border: Vec<u8>,
    /// Weights.
    pub weights: WinogradWeights,
}

impl WinogradConvolution {
    /// Tiles that are worked on at once; blocks of about equal size rather than a short one at the end.
    fn block(&self) -> usize {
        let tiles = Tiles::of(&self.window);
        let is_cached = size_of::<i16>() * self.weights.panels.len() <= CACHED;
        let blocks = tiles.div_ceil(if is_cached { BLOCK } else { 2 * BLOCK }).max(1);
        tiles.div_ceil(blocks).next_multiple_of(BLOCK_MULTIPLE).min(tiles)
    }

    /// Numbers of scratch wanted: of transformed inputs, and of sums.
    pub fn scratch(&self) -> [usize; 2] {
        let pitches = [row_pitch(self.block(), self.weights.depth), sum_pitch(self.block())];
        pitches.map(|pitch| pitch.saturating_mul(POSITIONS))
    }

    pub(super) fn run(&self, input: &[u8], output: &mut [u8], kernels: WinogradKernels, crew: Crew<'_>) {
        let WinogradWeights { depth, channels, .. } = self.weights;
        let ([rows, columns], [_, input_columns]) = (self.window.output, self.window.input);
        let row_bytes = columns.saturating_mul(channels);
        let cost = rows.saturating_mul(row_bytes).saturating_mul(9 * depth);
        let cut = Cut { units: rows.div_ceil(TILE), unit_bytes: TILE * row_bytes, fewest: 1, cost };
        crew.run(cut, output, |buffers, lines, output| {
            let (window, first) = self.window.band(&(TILE * lines.start..rows.min(TILE * lines.end)));
            let input = input.get(first * input_columns * depth..).unwrap_or_default();
            self.run_window(&window, input, output, buffers, kernels);
        });
    }

    /// Some output rows, as an image of their own.
    fn run_window(
        &self,
        window: &Window,
        input: &[u8],
        output: &mut [u8],
        buffers: &mut Buffers,
        kernels: WinogradKernels,
    ) {
        let WinogradWeights { depth, channels, .. } = self.weights;
        let Buffers { rows, sums, .. } = buffers;
        for band in bands(Tiles::of(window), self.block()) {
            let tiles = Tiles { window, first: band.start, count: band.len() };
            let gather = Gather { input, border: &self.border, channels: depth, tiles };
            (kernels.gather)(&gather, rows);
            let panels = self.weights.panels.chunks_exact((POSITIONS * depth * PANEL).max(1));
            for (index, panel) in panels.enumerate() {
                (kernels.multiply)(&Product { rows, panel, tiles: tiles.count, depth }, sums);
                let epilogue = &self.weights.epilogue;
                let finish = Finish { sums, tiles, epilogue, first_channel: index * PANEL, channels };
                (kernels.finish)(&finish, output);
            }
        }
    }
}
