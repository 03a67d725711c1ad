//! Weights in the order in which the kernels read them.

use super::geometry::Geometry;
use super::kernel::Vectors;
use crate::int8::aligned::Aligned;

/// Some of the output channels.
#[derive(Debug)]
pub(super) struct Panel {
    /// The first.
    pub first: usize,
    /// How many; the last vector may not be full.
    pub filters: usize,
    /// The first input channel that they see.
    pub seen: usize,
    pub vectors: usize,
    /// `[tap][input channel][output channel]`, padded with zeros to whole vectors.
    pub weights: Aligned<f32>,
    /// Padded likewise.
    pub bias: Aligned<f32>,
}

/// Of a convolution whose output channels each see all input channels, or those of their group.
#[derive(Debug)]
pub(super) struct Dense {
    pub panels: Vec<Panel>,
}

impl Dense {
    /// From `kernel`, `[output channel][input channel of its group][tap]`.
    pub(super) fn pack(geometry: &Geometry, kernel: &[f32], bias: &[f32], vectors: Vectors) -> Self {
        let (taps, seen) = (geometry.taps(), geometry.channels_seen());
        let group_len = geometry.filters / geometry.groups;
        let filters: Vec<(&[f32], f32)> = kernel.chunks_exact(seen * taps).zip(bias.iter().copied()).collect();
        let mut panels = Vec::new();
        for (group, filters) in filters.chunks_exact(group_len).enumerate() {
            let mut first = group * group_len;
            let mut rest = filters;
            for vectors_together in split(group_len.div_ceil(vectors.lanes()), vectors.most()) {
                let width = vectors_together * vectors.lanes();
                let (some, later) = rest.split_at(width.min(rest.len()));
                let (weights, bias) = panel(some, width, taps, seen);
                panels.push(Panel {
                    first,
                    filters: some.len(),
                    seen: group * seen,
                    vectors: vectors_together,
                    weights,
                    bias,
                });
                (first, rest) = (first + some.len(), later);
            }
        }
        Self { panels }
    }
}

/// Weights and bias of a panel, `width` numbers in each row.
fn panel(filters: &[(&[f32], f32)], width: usize, taps: usize, seen: usize) -> (Aligned<f32>, Aligned<f32>) {
    let mut weights = Vec::with_capacity(taps * seen * width);
    for tap in 0..taps {
        for channel in 0..seen {
            let end = weights.len() + width;
            weights.extend(filters.iter().filter_map(|(filter, _)| filter.get(channel * taps + tap)));
            weights.resize(end, 0.0);
        }
    }
    let mut bias: Vec<f32> = filters.iter().map(|(_, bias)| *bias).collect();
    bias.resize(width, 0.0);
    (weights.into(), bias.into())
}

/// So many vectors, as evenly as can be, at most `most` together.
fn split(vectors: usize, most: usize) -> impl Iterator<Item = usize> {
    let panels = vectors.div_ceil(most).max(1);
    (0..panels).map(move |panel| (panel + 1) * vectors / panels - panel * vectors / panels)
}

/// Of a convolution whose output channels each see the input channel of the same number.
#[derive(Debug)]
pub(super) struct Depthwise {
    /// `[vector of channels][tap][channel]`, padded with zeros to whole vectors.
    pub weights: Aligned<f32>,
    /// Padded likewise.
    pub bias: Aligned<f32>,
}

impl Depthwise {
    /// From `kernel`, `[channel][tap]`.
    pub(super) fn pack(geometry: &Geometry, kernel: &[f32], bias: &[f32], vectors: Vectors) -> Self {
        let (taps, lanes) = (geometry.taps(), vectors.lanes());
        let mut weights = Vec::with_capacity(taps * geometry.channels.next_multiple_of(lanes));
        for strip in kernel.chunks(taps * lanes) {
            for tap in 0..taps {
                let end = weights.len() + lanes;
                weights.extend(strip.iter().skip(tap).step_by(taps));
                weights.resize(end, 0.0);
            }
        }
        let mut bias = bias.to_vec();
        bias.resize(geometry.channels.next_multiple_of(lanes), 0.0);
        Self { weights: weights.into(), bias: bias.into() }
    }
}
