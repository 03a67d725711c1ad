//! Convolutions line by line: depthwise ones, and those that make each other's lines.

use super::dense::BLOCK;
use super::depthwise::{Line, Row};
use super::geometry::Geometry;
use super::kernel::{Kernel, Part, Vectors, Weights};
use super::weights::{Dense, Depthwise};
use super::{avx2, avx512};
use crate::int8::aligned::Aligned;

/// Lines of pictures, channels last.
pub(super) enum Source<'a> {
    Pictures(&'a [f32]),
    Made(Box<Made<'a>>),
}

/// Lines that another convolution makes when they are asked for; those stay that a window sees.
pub(super) struct Made<'a> {
    kernel: &'a Kernel,
    source: Source<'a>,
    zeros: &'a [f32],
    lines: Aligned<f32>,
    /// Which line is in each place: line `l` of all pictures' in the place `l` modulo their count.
    held: Vec<Option<usize>>,
}

impl<'a> Source<'a> {
    /// What `kernel` reads, made of `input`; `zeros` are enough for a pixel of any of those before it.
    pub(super) fn new(kernel: &'a Kernel, input: &'a [f32], zeros: &'a [f32]) -> Self {
        let Some(before) = kernel.before.as_deref() else { return Self::Pictures(input) };
        let places = kernel.geometry.rows.reach();
        let lines = Aligned::zeros(places * before.line_len());
        let source = Self::new(before, input, zeros);
        Self::Made(Box::new(Made { kernel: before, source, zeros, lines, held: vec![None; places] }))
    }

    /// Makes a line, if it is not there. Lines stay where they are as long as a window sees them together with new ones.
    fn make(&mut self, line: usize) {
        if let Self::Made(made) = self {
            made.make(line);
        }
    }

    /// One of `length` numbers that is there.
    fn line(&self, line: usize, length: usize) -> &[f32] {
        let (numbers, place) = match self {
            Self::Pictures(numbers) => (*numbers, line),
            Self::Made(made) => (&*made.lines, line % made.held.len()),
        };
        numbers.get(place * length..(place + 1) * length).unwrap_or_default()
    }
}

impl Made<'_> {
    fn make(&mut self, line: usize) {
        let (length, place) = (self.kernel.line_len(), line % self.held.len());
        if self.held.get_mut(place).is_some_and(|held| held.replace(line) != Some(line)) {
            let numbers = self.lines.get_mut(place * length..(place + 1) * length).unwrap_or_default();
            self.kernel.lines(&mut self.source, self.zeros, (line * length, numbers, None));
        }
    }
}

impl Kernel {
    /// Numbers of a line of the output.
    fn line_len(&self) -> usize {
        self.geometry.columns.output * self.geometry.filters
    }

    /// Whole lines of the output.
    pub(super) fn lines(&self, source: &mut Source<'_>, zeros: &[f32], (first, output, other): Part<'_>) {
        let length = self.line_len();
        let mut others = other.map(|other| other.chunks(length));
        let mut window = Vec::with_capacity(self.geometry.rows.kernel);
        for (line, output) in (first / length..).zip(output.chunks_mut(length)) {
            let other = others.as_mut().and_then(Iterator::next);
            match &self.weights {
                Weights::Dense(weights) => self.dense_line(weights, source, zeros, (line * length, output, other)),
                Weights::Depthwise(weights) => {
                    self.window(source, line, &mut window);
                    self.line(weights, &window, output, other);
                }
            }
        }
    }

    fn dense_line(&self, weights: &Dense, source: &mut Source<'_>, zeros: &[f32], (first, output, other): Part<'_>) {
        let length = BLOCK * self.geometry.filters;
        // Where lines are made this is pointwise, and its one line all that it sees.
        let (input, first) = match source {
            Source::Pictures(numbers) => (*numbers, first),
            Source::Made(_) => {
                let line = first / self.line_len();
                source.make(line);
                (source.line(line, self.geometry.columns.input * self.geometry.channels), 0)
            }
        };
        let others = other.into_iter().flat_map(|other| other.chunks(length).map(Some)).chain(std::iter::repeat(None));
        let parts = output.chunks_mut(length).zip(others).enumerate();
        self.dense(weights, input, zeros, parts.map(|(block, (part, other))| (first + block * length, part, other)));
    }

    /// The lines that a line of the output sees.
    fn window(&self, source: &mut Source<'_>, line: usize, window: &mut Vec<Row>) {
        let Geometry { rows, columns, channels, .. } = &self.geometry;
        let (picture, row) = (line / rows.output, line % rows.output);
        let lines = (0..rows.kernel).filter_map(|tap| Some((tap, picture * rows.input + rows.place(row, tap)?)));
        lines.clone().for_each(|(_, line)| source.make(line));
        window.clear();
        window
            .extend(lines.map(|(tap, line)| Row { start: source.line(line, columns.input * channels).as_ptr(), tap }));
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
