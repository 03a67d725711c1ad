//! Weights of depthwise convolutions in the order in which the kernels read them.

use super::aligned::Aligned;
use super::weights::Epilogue;

/// Weights of a depthwise convolution.
#[derive(Debug, Clone)]
pub struct DepthwiseWeights {
    /// Channels.
    pub channels: usize,
    /// `[tap][channel]`, as i16 without their zero points.
    pub taps: Vec<i16>,
    /// What follows the sums; not padded.
    pub epilogue: Epilogue,
    /// The same once more in vectors; empty where the kernel reads something else.
    pub blocks: Vec<Block>,
    /// The same once more by columns; empty where the kernel reads something else.
    pub columns: Vec<ColumnBlock>,
    /// The same once more in pairs of rows, by columns; empty where the kernel reads something else.
    pub pair_columns: Vec<PairColumnBlock>,
    /// The same once more for several pixels at once, of an image that has few channels and its border around it.
    pub narrow: Option<Box<ColumnBlock>>,
}

/// A run of channels that a kernel which multiplies four rows of a column at once does together. Two blocks may overlap,
/// so that the last one is whole.
#[derive(Debug, Clone)]
pub struct ColumnBlock {
    /// First channel.
    pub start: usize,
    /// Channels: 16, 32 or 64; bytes of whole pixels where several are done together.
    pub width: usize,
    /// `[four taps][vector][channel of the vector][tap of the four]`; taps that are lacking have 0. The four vectors have
    /// the order of [`interleaved_order`], the taps that of [`column_quads`] or [`five_by_five`].
    pub weights: Aligned<i8>,
    /// As in [`Epilogue`], in the same order.
    pub bias: Aligned<i32>,
    /// As in [`Epilogue`], in the same order.
    pub scale: Aligned<f32>,
}

/// A run of 16 channels that a kernel which multiplies two rows of a column at once does together. Two blocks may overlap.
#[derive(Debug, Clone)]
pub struct PairColumnBlock {
    /// First channel.
    pub start: usize,
    /// `[column][two rows][half][channel of the half][row of the two]`; an odd last row is paired with a weight of 0. A half
    /// has four channels of the first and four of the second eight, as [`PAIRED_ORDER`] says.
    pub pairs: Aligned<i16>,
    /// As in [`Epilogue`], in the same order.
    pub bias: Aligned<i32>,
    /// As in [`Epilogue`], in the same order.
    pub scale: Aligned<f32>,
}

/// Channels of a [`PairColumnBlock`] in the order in which unpacking i16 within 128-bit lanes leaves them.
const PAIRED_ORDER: [usize; 16] = [0, 1, 2, 3, 8, 9, 10, 11, 4, 5, 6, 7, 12, 13, 14, 15];

/// Four taps that are multiplied at once; fewer where there are no more.
type TapQuad = [Option<usize>; 4];

/// Taps of a window column by column, four rows of it at once.
fn column_quads(rows: usize, columns: usize) -> Vec<TapQuad> {
    let quad = |column: usize, first: usize| {
        std::array::from_fn(|row| (first + row < rows).then_some((first + row) * columns + column))
    };
    (0..columns).flat_map(|column| (0..rows).step_by(4).map(move |first| quad(column, first))).collect()
}

/// Taps of a 5 x 5 window: four rows of each column, four taps of the last row, and its last one.
fn five_by_five() -> Vec<TapQuad> {
    let columns = (0..5).map(|column| std::array::from_fn(|row| Some(5 * row + column)));
    let last_row = [std::array::from_fn(|column| Some(20 + column)), [Some(24), None, None, None]];
    columns.chain(last_row).collect()
}

/// Channels of a block in the order in which bringing four rows together byte by byte within 128-bit lanes leaves them:
/// four vectors, each of four channels of every 16.
fn interleaved_order(width: usize) -> impl Iterator<Item = usize> {
    let lanes = move |vector: usize| (0..width / 16).map(move |lane| 16 * lane + 4 * vector);
    (0..4).flat_map(move |vector| lanes(vector).flat_map(|first| first..first + 4))
}

/// A run of channels that a vector kernel does at once. Two blocks may overlap, so that the last one is whole.
#[derive(Debug, Clone)]
pub struct Block {
    /// First channel.
    pub start: usize,
    /// Channels: 16 or 32.
    pub width: usize,
    /// `[pair of taps][channel in vector order][2]`; an odd last tap is paired with a weight of 0.
    pub pairs: Aligned<i16>,
    /// As in [`Epilogue`], in vector order.
    pub bias: Aligned<i32>,
    /// As in [`Epilogue`], in vector order.
    pub scale: Aligned<f32>,
}

/// Channels of a 32-wide block in the order in which unpacking bytes within 128-bit lanes leaves them: four vectors of
/// eight, each of four channels of the lower and four of the upper half.
pub fn unpacked_order(width: usize) -> Vec<usize> {
    if width != 32 {
        return (0..width).collect();
    }
    let vector = |first: usize| (first..first + 4).chain(first + 16..first + 20);
    (0..4).flat_map(|index| vector(4 * index)).collect()
}

impl DepthwiseWeights {
    /// Weights as the definition reads them: `[tap][channel]`.
    pub fn new(channels: usize, taps: Vec<i16>, epilogue: Epilogue) -> Self {
        Self {
            channels,
            taps,
            epilogue,
            blocks: Vec::new(),
            columns: Vec::new(),
            pair_columns: Vec::new(),
            narrow: None,
        }
    }

    /// The channels, at least 16, in column blocks of at most `widest`, for a window of `rows` by `columns`; `None` where
    /// a weight does not fit i8.
    pub fn columns_for(&self, rows: usize, columns: usize, widest: usize) -> Option<Vec<ColumnBlock>> {
        let mut spans: Vec<(usize, usize)> = Vec::new();
        let mut start = 0;
        while start < self.channels {
            let left = self.channels - start;
            // The narrowest block that takes all that is left, or the widest.
            let width = [16, 32, 64].into_iter().find(|&width| width >= left).unwrap_or(widest).min(widest);
            let width = if width <= self.channels { width } else { width / 2 };
            spans.push((start.min(self.channels.checked_sub(width)?), width));
            start += width;
        }
        let quads = if (rows, columns) == (5, 5) { five_by_five() } else { column_quads(rows, columns) };
        let span = |(start, width)| {
            let order = interleaved_order(width).map(|channel| start + channel).collect();
            self.column_block(&quads, (start, width), order)
        };
        spans.into_iter().map(span).collect()
    }

    /// A block of as many whole pixels of few channels as fit `width` bytes; lanes that are left over have weights of 0.
    pub fn narrow_for(&self, rows: usize, columns: usize, width: usize) -> Option<Box<ColumnBlock>> {
        let bytes = width.checked_div(self.channels)? * self.channels;
        let channel = |lane: usize| if lane < bytes { lane % self.channels } else { usize::MAX };
        let order = interleaved_order(width).map(channel).collect();
        let block = self.column_block(&column_quads(rows, columns), (0, width), order)?;
        (bytes > 0).then(|| Box::new(ColumnBlock { width: bytes, ..block }))
    }

    fn column_block(
        &self,
        quads: &[TapQuad],
        (start, width): (usize, usize),
        order: Vec<usize>,
    ) -> Option<ColumnBlock> {
        let weight = |tap: Option<usize>, channel: usize| {
            let place = tap.filter(|_| channel < self.channels).map(|tap| tap * self.channels + channel);
            place.and_then(|place| self.taps.get(place)).copied().unwrap_or(0)
        };
        let mut weights = Vec::with_capacity(quads.len() * 4 * width);
        for quad in quads {
            for &channel in &order {
                for &tap in quad {
                    weights.push(i8::try_from(weight(tap, channel)).ok()?);
                }
            }
        }
        let (bias, scale) = (&self.epilogue.bias, &self.epilogue.scale);
        let bias = order.iter().map(|&channel| bias.get(channel).copied().unwrap_or(0));
        let scale = order.iter().map(|&channel| scale.get(channel).copied().unwrap_or(0.0));
        let (bias, scale): (Vec<i32>, Vec<f32>) = (bias.collect(), scale.collect());
        Some(ColumnBlock { start, width, weights: weights.into(), bias: bias.into(), scale: scale.into() })
    }

    /// The channels, at least 16, in pair blocks for a window of `rows` by `columns`.
    pub fn pair_columns_for(&self, rows: usize, columns: usize) -> Vec<PairColumnBlock> {
        let last = self.channels.saturating_sub(16);
        let starts = (0..self.channels).step_by(16).map(|start| start.min(last));
        starts.map(|start| self.pair_column_block(rows, columns, start)).collect()
    }

    fn pair_column_block(&self, rows: usize, columns: usize, start: usize) -> PairColumnBlock {
        let order = PAIRED_ORDER.map(|channel| start + channel);
        let weight = |row: usize, column: usize, channel: usize| {
            let place = (row * columns + column) * self.channels + channel;
            if row < rows { self.taps.get(place).copied().unwrap_or(0) } else { 0 }
        };
        let pairs = (0..columns).flat_map(|column| (0..rows).step_by(2).map(move |row| (row, column)));
        let pairs = pairs.flat_map(|(row, column)| {
            order.into_iter().flat_map(move |channel| [weight(row, column, channel), weight(row + 1, column, channel)])
        });
        let bias: Vec<i32> = order.iter().map(|&at| self.epilogue.bias.get(at).copied().unwrap_or(0)).collect();
        let scale: Vec<f32> = order.iter().map(|&at| self.epilogue.scale.get(at).copied().unwrap_or(0.0)).collect();
        PairColumnBlock { start, pairs: pairs.collect::<Vec<_>>().into(), bias: bias.into(), scale: scale.into() }
    }

    /// Cuts the channels into blocks of 32, and of 16 at the end.
    pub fn with_blocks(mut self) -> Self {
        let mut spans: Vec<(usize, usize)> = (0..self.channels / 32).map(|block| (32 * block, 32)).collect();
        match self.channels % 32 {
            0 => {}
            1..=16 if self.channels >= 16 => spans.push((self.channels - 16, 16)),
            _ if self.channels >= 32 => spans.push((self.channels - 32, 32)),
            _ if self.channels > 16 => spans.extend([(0, 16), (self.channels - 16, 16)]),
            // Fewer than a vector: the missing channels have weights of 0 and are not stored.
            _ => spans.push((0, 16)),
        }
        self.blocks = spans.into_iter().map(|(start, width)| self.block(start, width)).collect();
        self
    }

    fn block(&self, start: usize, width: usize) -> Block {
        let order: Vec<usize> = unpacked_order(width).into_iter().map(|channel| start + channel).collect();
        let rows: Vec<&[i16]> = self.taps.chunks_exact(self.channels).collect();
        let weight = |row: Option<&&[i16]>, channel: usize| row.and_then(|row| row.get(channel)).copied().unwrap_or(0);
        let pairs = rows.chunks(2).flat_map(|pair| {
            order.iter().flat_map(|&channel| [weight(pair.first(), channel), weight(pair.get(1), channel)])
        });
        let pick = |channel: &usize| self.epilogue.scale.get(*channel).copied().unwrap_or(0.0);
        let bias = |channel: &usize| self.epilogue.bias.get(*channel).copied().unwrap_or(0);
        Block {
            start,
            width,
            pairs: pairs.collect::<Vec<_>>().into(),
            bias: order.iter().map(bias).collect::<Vec<_>>().into(),
            scale: order.iter().map(pick).collect::<Vec<_>>().into(),
        }
    }

    /// Bytes held, at most.
    pub fn bytes(&self) -> usize {
        4 * (self.taps.len() * 2 + self.epilogue.bias.len() * 8)
    }
}
