//! Weights in the order in which the kernels read them.

use super::quant::Bounds;

/// Output channels of a panel.
pub const PANEL: usize = 16;

/// Per output channel: what is added to the sum, what it is multiplied by; for all: where it is clamped.
#[derive(Debug, Clone)]
pub struct Epilogue {
    /// Bias minus the part of the sum that the input's zero point adds, padded with 0 to whole panels.
    pub bias: Vec<i32>,
    /// `input scale * weight scale / output scale`, padded with 0 to whole panels.
    pub scale: Vec<f32>,
    /// Range and zero point of the output.
    pub bounds: Bounds,
    /// Whether a scaled sum may leave i32, so that it has to be clamped before it is rounded.
    pub is_wide: bool,
}

/// Largest scale with which no scaled i32 leaves i32.
const TAME_SCALE: f32 = 0.5;

impl Epilogue {
    /// Constants of as many channels as there are biases and scales.
    pub fn new(bias: Vec<i32>, scale: Vec<f32>, bounds: Bounds) -> Self {
        let is_wide = !scale.iter().all(|&scale| scale <= TAME_SCALE);
        Self { bias, scale, bounds, is_wide }
    }
}

/// Weights of a matrix product, as i16 without their zero points.
#[derive(Debug, Clone)]
pub struct Packed {
    /// Length of the sums; even, the last weight may be a padding 0.
    pub depth: usize,
    /// Output channels.
    pub channels: usize,
    /// `[panel][depth / 2][PANEL][2]`.
    pub panels: Vec<i16>,
    /// What follows the sums.
    pub epilogue: Epilogue,
}

impl Packed {
    /// Packs rows of weights, one an output channel, all of the same length.
    pub fn new(rows: &[Vec<i16>], mut epilogue: Epilogue) -> Self {
        let depth = rows.iter().map(Vec::len).max().unwrap_or(0).next_multiple_of(2);
        let channels = rows.len();
        let mut panels = vec![0; channels.next_multiple_of(PANEL) * depth];
        if depth > 0 {
            for (panel, rows) in panels.chunks_exact_mut(depth * PANEL).zip(rows.chunks(PANEL)) {
                for (channel, row) in rows.iter().enumerate() {
                    for (pair, weights) in panel.chunks_exact_mut(2 * PANEL).zip(row.chunks(2)) {
                        let slots = pair.iter_mut().skip(2 * channel);
                        slots.zip(weights).for_each(|(slot, &weight)| *slot = weight);
                    }
                }
            }
        }
        epilogue.pad_to(channels.next_multiple_of(PANEL));
        Self { depth, channels, panels, epilogue }
    }
}

impl Epilogue {
    fn pad_to(&mut self, length: usize) {
        self.bias.resize(length, 0);
        self.scale.resize(length, 0.0);
    }
}

/// How a set of kernels wants the weights of products of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DotPacking {
    /// Output channels of a panel.
    pub panel: usize,
    /// Bytes of one channel that lie together: what one instruction adds up, 4 or 8.
    pub group: usize,
    /// Taken from every input byte before it is multiplied: 0 for unsigned by signed products, 128 for signed ones.
    pub offset: i32,
}

/// Weights of a product of bytes: all fit i8 without their zero points.
#[derive(Debug, Clone)]
pub struct DotWeights {
    /// How they are packed.
    pub packing: DotPacking,
    /// Runs of bytes that a row of the input is made of: rows of the window.
    pub runs: usize,
    /// Bytes of a run as they are read: whole groups. What is too much has weights of 0.
    pub run: usize,
    /// Output channels.
    pub channels: usize,
    /// `[panel][run][group of the run][channel of the panel][byte of the group]`.
    pub panels: Vec<i8>,
    /// What follows the sums; it makes up for `packing.offset`. Padded to whole panels.
    pub epilogue: Epilogue,
}

impl DotWeights {
    /// Packs rows of weights, one an output channel, each of `runs` runs of equal length; `None` where one does not fit
    /// i8. The epilogue is one for unsigned inputs.
    pub fn new(rows: &[Vec<i16>], runs: usize, packing: DotPacking, mut epilogue: Epilogue) -> Option<Self> {
        let DotPacking { panel, group, offset } = packing;
        let length = rows.iter().map(Vec::len).max().unwrap_or(0) / runs.max(1);
        let (run, channels) = (length.next_multiple_of(group.max(1)), rows.len());
        let padded = channels.next_multiple_of(panel.max(1));
        let mut panels = vec![0i8; padded * runs * run];
        for (channel, row) in rows.iter().enumerate() {
            let first = channel / panel * panel * runs * run + channel % panel * group;
            for (index, weights) in row.chunks(length.max(1)).enumerate() {
                for (at, &weight) in weights.iter().enumerate() {
                    let place = index * run + at;
                    let slot = panels.get_mut(first + place / group * panel * group + place % group)?;
                    *slot = i8::try_from(weight).ok()?;
                }
            }
        }
        for (bias, row) in epilogue.bias.iter_mut().zip(rows) {
            let sum = row.iter().fold(0i32, |sum, &weight| sum.wrapping_add(i32::from(weight)));
            *bias = bias.wrapping_add(offset.wrapping_mul(sum));
        }
        epilogue.pad_to(padded);
        Some(Self { packing, runs, run, channels, panels, epilogue })
    }
}

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
}

/// A run of channels that a kernel which multiplies four rows of a column at once does together. Two blocks may overlap,
/// so that the last one is whole.
#[derive(Debug, Clone)]
pub struct ColumnBlock {
    /// First channel.
    pub start: usize,
    /// Channels: 16, 32 or 64.
    pub width: usize,
    /// `[column][four rows][vector][channel of the vector][row of the four]`; rows that are lacking have 0. The four
    /// vectors have the order of [`interleaved_order`].
    pub weights: Vec<i8>,
    /// As in [`Epilogue`], in the same order.
    pub bias: Vec<i32>,
    /// As in [`Epilogue`], in the same order.
    pub scale: Vec<f32>,
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
    pub pairs: Vec<i16>,
    /// As in [`Epilogue`], in vector order.
    pub bias: Vec<i32>,
    /// As in [`Epilogue`], in vector order.
    pub scale: Vec<f32>,
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
        Self { channels, taps, epilogue, blocks: Vec::new(), columns: Vec::new() }
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
        spans.into_iter().map(|(start, width)| self.column_block(rows, columns, (start, width))).collect()
    }

    fn column_block(&self, rows: usize, columns: usize, (start, width): (usize, usize)) -> Option<ColumnBlock> {
        let order: Vec<usize> = interleaved_order(width).map(|channel| start + channel).collect();
        let weight = |row: usize, column: usize, channel: usize| {
            let tap = (row < rows).then(|| (row * columns + column) * self.channels + channel);
            tap.and_then(|tap| self.taps.get(tap)).copied().unwrap_or(0)
        };
        let mut weights = Vec::with_capacity(columns * rows.next_multiple_of(4) * width);
        for column in 0..columns {
            for first in (0..rows).step_by(4) {
                for &channel in &order {
                    for row in first..first + 4 {
                        weights.push(i8::try_from(weight(row, column, channel)).ok()?);
                    }
                }
            }
        }
        let (bias, scale) = (&self.epilogue.bias, &self.epilogue.scale);
        let bias = order.iter().map(|&channel| bias.get(channel).copied().unwrap_or(0));
        let scale = order.iter().map(|&channel| scale.get(channel).copied().unwrap_or(0.0));
        Some(ColumnBlock { start, width, weights, bias: bias.collect(), scale: scale.collect() })
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
            pairs: pairs.collect(),
            bias: order.iter().map(bias).collect(),
            scale: order.iter().map(pick).collect(),
        }
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        2 * (self.taps.len() * 2 + self.epilogue.bias.len() * 8)
    }
}
