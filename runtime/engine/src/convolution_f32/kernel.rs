//! What does not depend on the processor: which pixels are read, and which kernel runs.

use std::sync::Arc;

use tract_onnx::tract_core::internal::*;

use super::dense::{self, BLOCK};
use super::geometry::Geometry;
use super::lines::Source;
use super::weights::{Dense, Depthwise, Panel};
use super::{avx2, avx512};
use crate::threads::Threads;

/// Least multiplications that are worth another thread, which takes microseconds to call and to wait for. Estimated, not
/// searched for; `make bench-threads` shows what comes of it.
const WORTH: usize = 100_000;

/// A multiplication of a depthwise convolution takes as long as so many of a dense one.
const DEPTHWISE_COST: usize = 4;

/// Parts of blocks hold a multiple of so many positions, which kernels do at once.
const TILE: usize = 6;

/// Where a part of the output begins, that part, and what is added to it.
pub(super) type Part<'a> = (usize, &'a mut [f32], Option<&'a [f32]>);

/// Built without the kernels, for `make bench-f32` to compare with.
const IS_OFF: bool = option_env!("TINYSAVER_PLAIN_TRACT").is_some();

/// A set of vector instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Vectors {
    Avx2,
    Avx512,
}

impl Vectors {
    /// The widest that this processor has.
    pub(super) fn detect() -> Option<Self> {
        Self::all().last().filter(|_| !IS_OFF)
    }

    /// Those that this processor has, the narrowest first.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        let has = |vectors: &Self| match vectors {
            Self::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            Self::Avx512 => is_x86_feature_detected!("avx512f"),
        };
        [Self::Avx2, Self::Avx512].into_iter().filter(has)
    }

    /// Numbers in a vector.
    pub(super) fn lanes(self) -> usize {
        match self {
            Self::Avx2 => avx2::LANES,
            Self::Avx512 => avx512::LANES,
        }
    }

    /// Vectors of output channels that are computed together, at most.
    pub(super) fn most(self) -> usize {
        match self {
            Self::Avx2 => avx2::MOST_VECTORS,
            Self::Avx512 => avx512::MOST_VECTORS,
        }
    }
}

#[derive(Debug, Clone)]
pub(super) enum Weights {
    Dense(Arc<Dense>),
    Depthwise(Arc<Depthwise>),
}

/// A convolution that is ready to run.
#[derive(Debug, Clone)]
pub(super) struct Kernel {
    pub geometry: Geometry,
    pub vectors: Vectors,
    pub weights: Weights,
    /// What makes the lines that this one reads, where they are more together than caches hold.
    pub before: Option<Arc<Kernel>>,
    /// Sums are clipped to these.
    pub low: f32,
    pub high: f32,
}

impl PartialEq for Kernel {
    fn eq(&self, other: &Self) -> bool {
        let limits = |kernel: &Self| [kernel.low, kernel.high].map(f32::to_bits);
        let same_weights = match (&self.weights, &other.weights) {
            (Weights::Dense(ours), Weights::Dense(theirs)) => Arc::ptr_eq(ours, theirs),
            (Weights::Depthwise(ours), Weights::Depthwise(theirs)) => Arc::ptr_eq(ours, theirs),
            _ => false,
        };
        same_weights
            && self.geometry == other.geometry
            && self.vectors == other.vectors
            && self.before == other.before
            && limits(self) == limits(other)
    }
}

impl Eq for Kernel {}

impl Kernel {
    /// Runs on up to `count` threads. `input` is `[picture][row][column][channel]`, as is `output`, and what is added to it before it is clipped.
    pub(super) fn run(
        &self,
        (threads, count): (&Threads, usize),
        input: &[f32],
        other: Option<&[f32]>,
        output: &mut [f32],
    ) -> TractResult<()> {
        ensure!(input.len() == self.first().geometry.input_len());
        ensure!(output.len() == self.geometry.positions() * self.geometry.filters);
        ensure!(other.is_none_or(|other| other.len() == output.len()));
        self.ensure_weights()?;
        let part = self.part_len(count).max(1);
        let zeros = vec![0.0; self.chain().map(|kernel| kernel.geometry.zeros()).max().unwrap_or(0)];
        threads.share(count, output.chunks_mut(part).enumerate(), |_, parts| {
            let parts = parts.map(|(index, output)| {
                let first = index * part;
                let other = other.and_then(|other| other.get(first..first + output.len()));
                (first, output, other)
            });
            match &self.weights {
                Weights::Dense(weights) if self.before.is_none() => self.dense(weights, input, &zeros, parts),
                _ => {
                    let mut source = Source::new(self, input, &zeros);
                    parts.for_each(|part| self.lines(&mut source, &zeros, part));
                }
            }
        });
        Ok(())
    }

    /// This and those before it, the last one first.
    pub(super) fn chain(&self) -> impl Iterator<Item = &Self> {
        std::iter::successors(Some(self), |kernel| kernel.before.as_deref())
    }

    /// That which reads the input.
    fn first(&self) -> &Self {
        self.chain().last().unwrap_or(self)
    }

    /// Whether this can be `before` another: a depthwise one before one that is pointwise, or any other before a depthwise one.
    pub(super) fn makes_lines_of(&self, next: &Self) -> bool {
        let made =
            [self.geometry.pictures, self.geometry.rows.output, self.geometry.columns.output, self.geometry.filters];
        let Geometry { pictures, rows, columns, channels, .. } = &next.geometry;
        let fits = match (&self.weights, &next.weights) {
            (Weights::Depthwise(_), Weights::Dense(_)) => next.geometry.is_pointwise() && next.geometry.groups == 1,
            (Weights::Dense(_), Weights::Depthwise(_)) => self.before.is_none(),
            _ => false,
        };
        fits && made == [*pictures, rows.input, columns.input, *channels] && self.vectors == next.vectors
    }

    /// How many threads it is worth.
    pub(super) fn worth(&self) -> usize {
        let cost = |kernel: &Self| match &kernel.weights {
            Weights::Dense(_) => kernel.geometry.products(),
            Weights::Depthwise(_) => DEPTHWISE_COST * kernel.geometry.products(),
        };
        (self.chain().map(cost).sum::<usize>() / WORTH).max(1)
    }

    /// Numbers of the output that a thread does at once: whole blocks of positions, which may be smaller where several share
    /// them, or whole lines.
    fn part_len(&self, threads: usize) -> usize {
        let Geometry { rows, columns, filters, .. } = &self.geometry;
        match &self.weights {
            // Lines of the same part share what is made before.
            _ if self.before.is_some() => {
                (self.geometry.pictures * rows.output).div_ceil(threads) * columns.output * filters
            }
            Weights::Dense(_) if threads == 1 => BLOCK * filters,
            Weights::Dense(_) => {
                let share = self.geometry.positions().div_ceil(threads).max(1);
                share.div_ceil(share.div_ceil(BLOCK)).next_multiple_of(TILE).min(BLOCK) * filters
            }
            Weights::Depthwise(_) => columns.output * filters,
        }
    }

    fn ensure_weights(&self) -> TractResult<()> {
        let (taps, lanes) = (self.geometry.taps(), self.vectors.lanes());
        match &self.weights {
            Weights::Dense(weights) => {
                for panel in &weights.panels {
                    let width = panel.vectors * lanes;
                    let rows = taps * self.geometry.channels_seen();
                    ensure!((panel.weights.len(), panel.bias.len()) == (rows * width, width));
                }
            }
            Weights::Depthwise(weights) => {
                let width = self.geometry.channels.next_multiple_of(lanes);
                ensure!((weights.weights.len(), weights.bias.len()) == (taps * width, width));
            }
        }
        let Some(before) = &self.before else { return Ok(()) };
        ensure!(before.makes_lines_of(self));
        before.ensure_weights()
    }

    pub(super) fn dense<'a>(
        &self,
        weights: &Dense,
        input: &[f32],
        zeros: &[f32],
        parts: impl Iterator<Item = Part<'a>>,
    ) {
        let [places, together] = self.geometry.reads();
        let mut pixels = vec![zeros.as_ptr(); places * BLOCK];
        let mut border = if self.geometry.reads_runs() { vec![0.0; pixels.len() * together] } else { Vec::new() };
        for (first, rows, other) in parts {
            let first = first / self.geometry.filters;
            if self.geometry.reads_runs() {
                self.look_up_runs(first, input, zeros, &mut border, &mut pixels);
            } else {
                self.look_up(first, input, zeros, &mut pixels);
            }
            let following = weights.panels.iter().skip(1).chain(weights.panels.last());
            for (panel, next) in weights.panels.iter().zip(following) {
                self.part(panel, next, &pixels, rows, other);
            }
        }
    }

    /// Runs of pixels of the positions from `first` on. In the picture's border they are put together in `border`.
    fn look_up_runs(&self, first: usize, input: &[f32], zeros: &[f32], border: &mut [f32], pixels: &mut [*const f32]) {
        let Geometry { rows, columns, channels, .. } = &self.geometry;
        let [_, together] = self.geometry.reads();
        let inner = columns.inner();
        let mut place = self.geometry.locate(first);
        for position in 0..BLOCK {
            let [picture, row, column] = place;
            place = self.geometry.next(place);
            for tap in 0..rows.kernel {
                let index = tap * BLOCK + position;
                let (Some(pixel), Some(border)) =
                    (pixels.get_mut(index), border.get_mut(index * together..(index + 1) * together))
                else {
                    continue;
                };
                *pixel = zeros.as_ptr();
                let Some(row) = rows.place(row, tap) else { continue };
                let start = self.geometry.pixel(picture, row, 0);
                if inner.contains(&column) {
                    let start = start + (column * columns.stride - columns.padding) * channels;
                    *pixel = input.get(start..start + together).unwrap_or(zeros).as_ptr();
                    continue;
                }
                for (tap, pixel) in border.chunks_exact_mut(*channels).enumerate() {
                    let from = columns.place(column, tap).map(|column| start + column * channels);
                    match from.and_then(|from| input.get(from..from + channels)) {
                        Some(numbers) => pixel.copy_from_slice(numbers),
                        None => pixel.fill(0.0),
                    }
                }
                *pixel = border.as_ptr();
            }
        }
    }

    /// Pixels of the positions from `first` on; those behind the last one's are zeros.
    fn look_up(&self, first: usize, input: &[f32], zeros: &[f32], pixels: &mut [*const f32]) {
        let Geometry { rows, columns, channels, .. } = &self.geometry;
        let at = |start: usize| input.get(start..start + channels).unwrap_or(zeros).as_ptr();
        if self.geometry.is_pointwise() {
            return (first..).zip(pixels).for_each(|(position, pixel)| *pixel = at(position * channels));
        }
        let last = self.geometry.positions() - 1;
        let mut places = [[0; 3]; BLOCK];
        (first..).zip(&mut places).for_each(|(position, place)| *place = self.geometry.locate(position.min(last)));
        for (tap, pixels) in pixels.chunks_exact_mut(BLOCK).enumerate() {
            let [tap_row, tap_column] = [tap / columns.kernel, tap % columns.kernel];
            for (&[picture, row, column], pixel) in places.iter().zip(pixels) {
                let place = rows.place(row, tap_row).zip(columns.place(column, tap_column));
                let start = place.map(|(row, column)| self.geometry.pixel(picture, row, column));
                *pixel = start.map_or(zeros.as_ptr(), at);
            }
        }
    }

    fn part(&self, panel: &Panel, next: &Panel, pixels: &[*const f32], rows: &mut [f32], other: Option<&[f32]>) {
        let [_, channels] = self.geometry.reads();
        let part = dense::Part {
            pixels,
            positions: rows.len() / self.geometry.filters,
            channels,
            seen: panel.seen,
            weights: panel.weights.as_ptr(),
            bias: panel.bias.as_ptr(),
            next: next.weights.as_ptr(),
            filters: panel.filters,
            first: panel.first,
            output: rows.as_mut_ptr(),
            other: other.map(<[f32]>::as_ptr),
            stride: self.geometry.filters,
            low: self.low,
            high: self.high,
        };
        // SAFETY: `Vectors` names instructions that the processor has; the pixels have `channels` numbers each (see
        // `look_up`), weights and bias are as long as the panel is wide (see `ensure_weights`), the rows hold `positions` times `stride` numbers.
        unsafe {
            match self.vectors {
                Vectors::Avx2 => avx2::dense(&part, panel.vectors),
                Vectors::Avx512 => avx512::dense(&part, panel.vectors),
            }
        }
    }
}
