//! Depthwise convolutions, line by line.

use super::dense::BLOCK;
use super::depthwise::{Line, Row};
use super::geometry::Geometry;
use super::kernel::{Kernel, Vectors, Weights};
use super::weights::{Dense, Depthwise};
use super::{avx2, avx512};
use crate::int8::aligned::Aligned;

/// Rows of pictures, channels last.
pub(super) enum Source<'a> {
    Pictures { numbers: &'a [f32], geometry: &'a Geometry },
    Made(Made<'a>),
}

/// Rows that another convolution makes when they are asked for, which are as many as a window sees.
pub(super) struct Made<'a> {
    kernel: &'a Kernel,
    weights: &'a Dense,
    input: &'a [f32],
    zeros: &'a [f32],
    rows: Aligned<f32>,
    /// Which row is in each place. Row `r` of all pictures' is in the place `r` modulo their count.
    held: Vec<Option<usize>>,
}

impl<'a> Source<'a> {
    /// What `kernel` reads, made of `input`; `zeros` are a pixel of that.
    pub(super) fn new(kernel: &'a Kernel, input: &'a [f32], zeros: &'a [f32]) -> Self {
        match kernel.before.as_deref().map(|before| (before, &before.weights)) {
            Some((before, Weights::Dense(weights))) => {
                let places = kernel.geometry.rows.reach();
                let rows = Aligned::zeros(places * before.geometry.columns.output * before.geometry.filters);
                Self::Made(Made { kernel: before, weights, input, zeros, rows, held: vec![None; places] })
            }
            _ => Self::Pictures { numbers: input, geometry: &kernel.geometry },
        }
    }

    /// One that there is. It stays where it is until one is asked for that is further away than a window reaches.
    fn row(&mut self, picture: usize, row: usize) -> &[f32] {
        match self {
            Self::Pictures { numbers, geometry } => {
                let start = geometry.pixel(picture, row, 0);
                numbers.get(start..start + geometry.columns.input * geometry.channels).unwrap_or_default()
            }
            Self::Made(made) => made.row(picture, row),
        }
    }
}

impl Made<'_> {
    fn row(&mut self, picture: usize, row: usize) -> &[f32] {
        let Geometry { rows, columns, filters, .. } = &self.kernel.geometry;
        let row = picture * rows.output + row;
        let (length, place) = (columns.output * filters, row % self.held.len());
        let numbers = self.rows.get_mut(place * length..(place + 1) * length).unwrap_or_default();
        if self.held.get_mut(place).is_some_and(|held| held.replace(row) != Some(row)) {
            let blocks = numbers.chunks_mut(BLOCK * filters).enumerate();
            let parts = blocks.map(|(block, numbers)| (row * length + block * BLOCK * filters, numbers, None));
            self.kernel.dense(self.weights, self.input, self.zeros, parts);
        }
        numbers
    }
}

impl Kernel {
    /// The lines of the output from `first` on, as many as `output` holds.
    pub(super) fn lines(
        &self,
        weights: &Depthwise,
        source: &mut Source<'_>,
        first: usize,
        output: &mut [f32],
        other: Option<&[f32]>,
    ) {
        let Geometry { rows, columns, channels, .. } = &self.geometry;
        let line_len = columns.output * channels;
        let mut others = other.map(|other| other.chunks(line_len));
        let mut window = Vec::with_capacity(rows.kernel);
        for (line, output) in (first..).zip(output.chunks_mut(line_len)) {
            let (picture, row) = (line / rows.output, line % rows.output);
            window.clear();
            let places = (0..rows.kernel).filter_map(|tap| Some((tap, rows.place(row, tap)?)));
            window.extend(places.map(|(tap, row)| Row { start: source.row(picture, row).as_ptr(), tap }));
            self.line(weights, &window, output, others.as_mut().and_then(Iterator::next));
        }
    }

    fn line(&self, weights: &Depthwise, window: &[Row], output: &mut [f32], other: Option<&[f32]>) {
        let Geometry { rows, columns, channels, .. } = &self.geometry;
        let line = Line {
            rows: window,
            kernel: [rows.kernel, columns.kernel],
            stride: columns.stride,
            dilation: columns.dilation,
            padding: columns.padding,
            columns: columns.input,
            positions: columns.output,
            inner: columns.inner(),
            channels: *channels,
            weights: weights.weights.as_ptr(),
            bias: weights.bias.as_ptr(),
            output: output.as_mut_ptr(),
            other: other.map(<[f32]>::as_ptr),
            low: self.low,
            high: self.high,
        };
        // SAFETY: `Vectors` names instructions that the processor has; rows are as long as the geometry says, weights and bias
        // are padded to whole vectors, and the line holds `channels` numbers for each position.
        unsafe {
            match self.vectors {
                Vectors::Avx2 => avx2::depthwise(&line),
                Vectors::Avx512 => avx512::depthwise(&line),
            }
        }
    }
}
