//! Steps that gather a window or the whole image into one pixel.

use std::ops::Range;

use super::crew::{Crew, Cut};
use crate::int8::kernels::Kernels;
use crate::int8::memory::TensorId;
use crate::int8::quant::{Bounds, Quant};
use crate::int8::window::Window;

/// See [`cut`].
const MAX_COST: usize = 8;

/// See [`cut`]; each number becomes a real one.
const AVERAGE_COST: usize = 100;

/// Largest of a window; the border does not count.
#[derive(Debug, Clone)]
pub struct MaxPool {
    /// Read.
    pub input: TensorId,
    /// Written.
    pub output: TensorId,
    /// Geometry.
    pub window: Window,
    /// Channels.
    pub channels: usize,
}

/// The place of each pixel of some output rows.
fn places(window: &Window, rows: Range<usize>) -> impl Iterator<Item = (usize, usize)> {
    let [_, columns] = window.output;
    rows.flat_map(move |row| (0..columns).map(move |column| (row, column)))
}

/// Rows of an output of which each number takes as long as `cost` products of a convolution for each tap.
fn cut(window: &Window, channels: usize, cost: usize) -> Cut {
    let [units, columns] = window.output;
    let unit_bytes = columns.saturating_mul(channels);
    let cost = units.saturating_mul(unit_bytes).saturating_mul(window.taps()).saturating_mul(cost);
    Cut { units, unit_bytes, fewest: 1, cost }
}

/// The input pixels under the window at an output place.
fn covered<'a>(
    window: &'a Window,
    channels: usize,
    input: &'a [u8],
    (row, column): (usize, usize),
) -> impl Iterator<Item = &'a [u8]> {
    let ([tap_rows, tap_columns], [_, columns]) = (window.kernel, window.input);
    let rows = (0..tap_rows).filter_map(move |tap| window.row(row, tap));
    let pixels =
        rows.flat_map(move |y| (0..tap_columns).filter_map(move |tap| window.column(column, tap).map(|x| (y, x))));
    pixels.filter_map(move |(y, x)| {
        let place = (y * columns + x) * channels;
        input.get(place..place + channels)
    })
}

impl MaxPool {
    pub(super) fn run(&self, input: &[u8], output: &mut [u8], crew: Crew<'_>) {
        crew.run(cut(&self.window, self.channels, MAX_COST), output, |_, rows, output| {
            for (place, output) in places(&self.window, rows).zip(output.chunks_exact_mut(self.channels)) {
                output.fill(0);
                for pixel in covered(&self.window, self.channels, input, place) {
                    output.iter_mut().zip(pixel).for_each(|(largest, &step)| *largest = (*largest).max(step));
                }
            }
        });
    }
}

/// Mean of a window. As in ONNX Runtime the real numbers are summed in f32, row by row, and the zero point is added
/// before rounding.
#[derive(Debug, Clone)]
pub struct AveragePool {
    /// Read.
    pub input: TensorId,
    /// Written.
    pub output: TensorId,
    /// Geometry.
    pub window: Window,
    /// Channels.
    pub channels: usize,
    /// Whether the border counts, as zeros.
    pub border_counts: bool,
    /// Of the input and the output.
    pub quants: [Quant; 2],
    /// Range in the model's own type; `zero_point` is what is added to store it.
    pub bounds: Bounds,
}

impl AveragePool {
    pub(super) fn run(&self, input: &[u8], output: &mut [u8], crew: Crew<'_>) {
        crew.run(cut(&self.window, self.channels, AVERAGE_COST), output, |_, rows, output| {
            self.run_rows(rows, input, output);
        });
    }

    fn run_rows(&self, rows: Range<usize>, input: &[u8], output: &mut [u8]) {
        let [from, to] = self.quants;
        for (place, output) in places(&self.window, rows).zip(output.chunks_exact_mut(self.channels)) {
            let covered_pixels = covered(&self.window, self.channels, input, place).count();
            let count = if self.border_counts { self.window.taps() } else { covered_pixels.max(1) };
            for (channel, output) in output.iter_mut().enumerate() {
                let steps = covered(&self.window, self.channels, input, place).filter_map(|pixel| pixel.get(channel));
                let sum: f32 = steps.map(|&step| from.dequantise(step)).fold(0.0, |sum, real| sum + real);
                *output = self.bounds.requantise(sum / count as f32 / to.scale + to.model_zero_point());
            }
        }
    }
}

/// Mean of each channel over the whole image: an exact sum, then `* scale of the input / (scale of the output * n)`.
#[derive(Debug, Clone)]
pub struct GlobalAverage {
    /// Read.
    pub input: TensorId,
    /// Written.
    pub output: TensorId,
    /// Channels.
    pub channels: usize,
    /// What the input's zero point takes from each sum.
    pub bias: i32,
    /// From sums to steps.
    pub scale: f32,
    /// Range and zero point of the output.
    pub bounds: Bounds,
}

impl GlobalAverage {
    pub(super) fn run(&self, input: &[u8], output: &mut [u8], kernels: &Kernels, crew: Crew<'_>) {
        let Some(mut buffers) = crew.own() else { return };
        let Some(sums) = buffers.sums.get_mut(..self.channels) else { return };
        sums.fill(self.bias);
        (kernels.sum_pixels)(input, sums);
        for (output, &sum) in output.iter_mut().zip(sums.iter()) {
            *output = self.bounds.requantise(sum as f32 * self.scale);
        }
    }
}
