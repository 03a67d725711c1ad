//! Weights in the order in which the kernels read them.

use std::ops::Range;

use super::aligned::Aligned;
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
    /// Whether all sums lie within [`SMALL_SUM`] of 0 and no scale is negative.
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "kernels for x86-64 have a Relu of their own"))]
    pub is_small: bool,
}

/// What vector kernels can turn into f32 by writing it into the bits of 2^23, from where to 2^24 neighbours differ by 1.
pub const SMALL_SUM: u64 = 1 << 23;

/// Largest scaled sum that is rounded without a clamp; half of i32's range, to be safe from the rounding of the product.
const MOST_STEPS: f64 = (1u32 << 30) as f64;

impl Epilogue {
    /// Constants of as many channels as there are biases and scales, for any sums.
    #[cfg(test)]
    pub fn new(bias: Vec<i32>, scale: Vec<f32>, bounds: Bounds) -> Self {
        Self::for_sums(bias, scale, bounds, std::iter::repeat(u64::MAX))
    }

    /// The same for sums, before the bias, that are at most as far from 0 as `largest` says for each channel.
    pub fn for_sums(bias: Vec<i32>, scale: Vec<f32>, bounds: Bounds, largest: impl IntoIterator<Item = u64>) -> Self {
        let (mut most_steps, mut most_sum) = (0.0, 0);
        for ((bias, scale), largest) in bias.iter().zip(&scale).zip(largest) {
            // What leaves i32 wraps, and is then anywhere in it.
            let sum = largest.saturating_add(bias.unsigned_abs().into()).min(1 << 31);
            most_steps = f64::max(most_steps, sum as f64 * f64::from(scale.abs()));
            most_sum = most_sum.max(sum);
        }
        let is_wide = most_steps > MOST_STEPS || scale.iter().any(|scale| scale.is_nan());
        let is_small = most_sum < SMALL_SUM && scale.iter().all(|&scale| scale >= 0.0);
        Self { bias, scale, bounds, is_wide, is_small }
    }

    /// A part of the channels.
    pub fn part(&self, channels: Range<usize>) -> Self {
        Self {
            bias: self.bias.get(channels.clone()).unwrap_or_default().to_vec(),
            scale: self.scale.get(channels).unwrap_or_default().to_vec(),
            ..*self
        }
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
    pub panels: Aligned<i16>,
    /// What follows the sums.
    pub epilogue: Epilogue,
}

impl Packed {
    /// Packs rows of weights, one an output channel, all of the same length.
    pub fn new(rows: &[Vec<i16>], mut epilogue: Epilogue) -> Self {
        let depth = rows.iter().map(Vec::len).max().unwrap_or(0).next_multiple_of(2);
        let channels = rows.len();
        let mut panels = Aligned::zeros(channels.next_multiple_of(PANEL) * depth);
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
    /// The smallest weight that the kernel takes.
    pub least: i8,
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
    pub panels: Aligned<i8>,
    /// What follows the sums; it makes up for `packing.offset`. Padded to whole panels.
    pub epilogue: Epilogue,
}

impl DotWeights {
    /// Packs rows of weights, one an output channel, each of `runs` runs of equal length; `None` where one does not fit
    /// i8. The epilogue is one for unsigned inputs.
    pub fn new(rows: &[Vec<i16>], runs: usize, packing: DotPacking, mut epilogue: Epilogue) -> Option<Self> {
        let DotPacking { panel, group, offset, least } = packing;
        let length = rows.iter().map(Vec::len).max().unwrap_or(0) / runs.max(1);
        let (run, channels) = (length.next_multiple_of(group.max(1)), rows.len());
        let padded = channels.next_multiple_of(panel.max(1));
        let mut panels = Aligned::zeros(padded * runs * run);
        for (channel, row) in rows.iter().enumerate() {
            let first = channel / panel * panel * runs * run + channel % panel * group;
            for (index, weights) in row.chunks(length.max(1)).enumerate() {
                for (block, weights) in weights.chunks(group.max(1)).enumerate() {
                    let start = first + (index * run + block * group) * panel;
                    let slots = panels.get_mut(start..start + weights.len())?;
                    for (slot, &weight) in slots.iter_mut().zip(weights) {
                        *slot = i8::try_from(weight).ok().filter(|&weight| weight >= least)?;
                    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_leave_i32_is_wide() {
        let is_wide =
            |bias, scale, largest| Epilogue::for_sums(vec![bias], vec![scale], Bounds::full(0), [largest]).is_wide;
        assert!(!is_wide(0, 0.5, u64::MAX) && is_wide(0, 0.51, u64::MAX));
        assert!(!is_wide(1000, 100.0, 1_000_000) && is_wide(1000, 1e6, 1_000_000));
        assert!(is_wide(i32::MIN, 0.6, 1), "a sum that wraps");
        assert!(is_wide(0, f32::INFINITY, 1) && is_wide(0, f32::NAN, 1));
        let is_small =
            |bias, scale, largest| Epilogue::for_sums(vec![bias], vec![scale], Bounds::full(0), [largest]).is_small;
        assert!(is_small(-8, 1.0, SMALL_SUM - 9) && !is_small(-8, 1.0, SMALL_SUM - 8));
        assert!(!is_small(0, -1.0, 1) && !is_small(0, f32::NAN, 1));
        let epilogue = Epilogue::new(vec![1, 2, 3], vec![0.1, 0.2, 0.3], Bounds::full(0));
        let part = epilogue.part(1..3);
        assert_eq!((part.bias, part.scale), (vec![2, 3], vec![0.2, 0.3]));
    }
}
