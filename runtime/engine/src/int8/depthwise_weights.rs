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
    /// `[output row][four taps][vector][channel of the vector][tap of the four]`; taps that are lacking have 0. The four
    /// vectors have the order of [`interleaved_order`], the taps that of [`column_quads`] or [`five_by_five`].
    pub weights: Aligned<i8>,
    /// As in [`Epilogue`], in the same order.
    pub bias: Aligned<i32>,
    /// As in [`Epilogue`], in the same order.
    pub scale: Aligned<f32>,
}

/// A run of channels that a kernel which multiplies two rows of a column at once does together. Two blocks may overlap.
#[derive(Debug, Clone)]
pub struct PairColumnBlock {
    /// First channel.
    pub start: usize,
    /// Channels: 16 or 32.
    pub width: usize,
    /// `[pair][channel in vector order][2]`, pairs as [`column_pairs`] gives them; what is lacking has a weight of 0. The
    /// order is [`unpacked_order`] for 32 channels, [`PAIRED_ORDER`] for 16.
    pub pairs: Aligned<i16>,
    /// As in [`Epilogue`], in vector order.
    pub bias: Aligned<i32>,
    /// As in [`Epilogue`], in vector order.
    pub scale: Aligned<f32>,
}

/// 16 channels in the order in which unpacking i16 within 128-bit lanes leaves them.
const PAIRED_ORDER: [usize; 16] = [0, 1, 2, 3, 8, 9, 10, 11, 4, 5, 6, 7, 12, 13, 14, 15];

impl PairColumnBlock {
    /// Pairs of taps of a window.
    pub fn pairs_of(rows: usize, columns: usize) -> usize {
        column_pairs(rows, columns).count()
    }
}

/// Taps of a window of odd height, column by column, two rows at once. The last row's are paired with each other, each
/// pair in the second one's column: the first and the second, the third and the fourth, and nothing and the last.
fn column_pairs(rows: usize, columns: usize) -> impl Iterator<Item = [Option<usize>; 2]> {
    let last = rows.saturating_sub(1) * columns;
    (0..columns).flat_map(move |column| {
        let whole = (0..rows / 2).map(move |pair| [0, 1].map(|row| Some((2 * pair + row) * columns + column)));
        let across = match column {
            _ if column % 2 == 1 => Some([Some(last + column - 1), Some(last + column)]),
            _ if column + 1 == columns => Some([None, Some(last + column)]),
            _ => None,
        };
        whole.chain(across)
    })
}

/// Four taps that are multiplied at once; fewer where there are no more.
type TapQuad = [Option<usize>; 4];

/// Taps of a window column by column, four rows of it at once, if it begins `above` rows below the first of them.
fn column_quads(rows: usize, columns: usize, above: usize) -> Vec<TapQuad> {
    let tap =
        |column: usize, row: usize| row.checked_sub(above).filter(|&row| row < rows).map(|row| row * columns + column);
    let quad = |column: usize, first: usize| std::array::from_fn(|row| tap(column, first + row));
    (0..columns).flat_map(|column| (0..above + rows).step_by(4).map(move |first| quad(column, first))).collect()
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

    /// The channels, at least 16, in column blocks of at most `widest`, for a window of `rows` by `columns` and as many
    /// output rows at once, each one input row below the one before; `None` where a weight does not fit i8.
    pub fn columns_for(
        &self,
        [rows, columns]: [usize; 2],
        output_rows: usize,
        widest: usize,
    ) -> Option<Vec<ColumnBlock>> {
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
        let quads = match (rows, columns) {
            (5, 5) => five_by_five(),
            _ => (0..output_rows).flat_map(|above| column_quads(rows, columns, above)).collect(),
        };
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
        let block = self.column_block(&column_quads(rows, columns, 0), (0, width), order)?;
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

    /// The channels, at least 16, in pair blocks of at most `widest` for a window of `rows`, an odd number, by `columns`.
    pub fn pair_columns_for(&self, rows: usize, columns: usize, widest: usize) -> Vec<PairColumnBlock> {
        let pairs: Vec<[Option<usize>; 2]> = column_pairs(rows, columns).collect();
        let block = |(start, width)| {
            let order = if width == 16 { PAIRED_ORDER.to_vec() } else { unpacked_order(width) };
            let Block { pairs, bias, scale, .. } = self.block(&pairs, start, &order);
            PairColumnBlock { start, width, pairs, bias, scale }
        };
        self.spans(widest).into_iter().map(block).collect()
    }

    /// Cuts the channels into blocks of 32, and of 16 at the end.
    pub fn with_blocks(mut self) -> Self {
        let taps = self.taps.len() / self.channels.max(1);
        let pairs: Vec<_> = (0..taps).step_by(2).map(|tap| [Some(tap), (tap + 1 < taps).then_some(tap + 1)]).collect();
        self.blocks = self
            .spans(32)
            .into_iter()
            .map(|(start, width)| self.block(&pairs, start, &unpacked_order(width)))
            .collect();
        self
    }

    /// First channel and width of blocks of at most `widest`, 16 or 32; the last ones may overlap.
    fn spans(&self, widest: usize) -> Vec<(usize, usize)> {
        let mut spans: Vec<(usize, usize)> =
            (0..self.channels / widest).map(|block| (widest * block, widest)).collect();
        match self.channels % widest {
            0 => {}
            1..=16 if self.channels >= 16 => spans.push((self.channels - 16, 16)),
            _ if self.channels >= 32 => spans.push((self.channels - 32, 32)),
            _ if self.channels > 16 => spans.extend([(0, 16), (self.channels - 16, 16)]),
            // Fewer than a vector: the missing channels have weights of 0 and are not stored.
            _ => spans.push((0, 16)),
        }
        spans
    }

    fn block(&self, pairs: &[[Option<usize>; 2]], start: usize, order: &[usize]) -> Block {
        let order: Vec<usize> = order.iter().map(|channel| start + channel).collect();
        let weight = |tap: Option<usize>, channel: usize| {
            let place = tap.filter(|_| channel < self.channels).map(|tap| tap * self.channels + channel);
            place.and_then(|place| self.taps.get(place)).copied().unwrap_or(0)
        };
        let pairs =
            pairs.iter().flat_map(|pair| order.iter().flat_map(move |&channel| pair.map(|tap| weight(tap, channel))));
        let pick = |channel: &usize| self.epilogue.scale.get(*channel).copied().unwrap_or(0.0);
        let bias = |channel: &usize| self.epilogue.bias.get(*channel).copied().unwrap_or(0);
        Block {
            start,
            width: order.len(),
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
