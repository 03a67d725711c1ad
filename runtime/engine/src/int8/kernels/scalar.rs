//! The definition, in portable Rust. Read this to know what a kernel has to do.

use super::{Add, Depthwise, DotGemm, DotKernels, Gather, Gemm, Kernels, Multiply};
use crate::int8::quant::Bounds;
use crate::int8::weights::{DotPacking, PANEL};

const PACKING: DotPacking = DotPacking { panel: PANEL, group: 4, offset: 0, least: i8::MIN };

pub const KERNELS: Kernels = Kernels {
    name: "int8-scalar",
    dot: Some(DotKernels { packing: PACKING, gemm: dot_gemm }),
    dot_row: None,
    winograd: None,
    widen,
    gather,
    gemm,
    depthwise,
    add,
    multiply,
    sum_pixels,
    prepare_depthwise: |_, weights| weights,
    peak: None,
};

pub fn widen(bytes: &[u8], wide: &mut [i16]) {
    wide.iter_mut().zip(bytes).for_each(|(wide, &byte)| *wide = i16::from(byte));
}

pub fn gather(call: &Gather<'_>, rows: &mut [i16]) {
    if call.fits(rows) {
        gather_from(0, call, rows);
    }
}

/// All rows from the one at `first` on.
pub fn gather_from(first: usize, call: &Gather<'_>, rows: &mut [i16]) {
    let rows = rows.chunks_exact_mut(call.depth.max(1)).take(call.count).enumerate().skip(first);
    for (index, row) in rows {
        for (run, start) in row.chunks_exact_mut(call.length.max(1)).zip(call.starts) {
            let bytes = start.and_then(|start| call.input.get(start + index * call.step..));
            match bytes {
                Some(bytes) => widen(bytes, run),
                None => run.fill(i16::from(call.border)),
            }
        }
    }
}

pub fn gemm(call: &Gemm<'_>, output: &mut [u8]) {
    let weights = call.weights;
    if !call.fits(output) || weights.depth == 0 || call.output_stride == 0 {
        return;
    }
    let pixels = call.rows.chunks_exact(weights.depth).take(call.pixels);
    for (row, output) in pixels.zip(output.chunks_mut(call.output_stride)) {
        let epilogue = weights.epilogue.bias.chunks_exact(PANEL).zip(weights.epilogue.scale.chunks_exact(PANEL));
        let panels = weights.panels.chunks_exact(weights.depth * PANEL).zip(epilogue);
        let channels = output.iter_mut().take(weights.channels);
        let sums = panels.flat_map(|(panel, (bias, scale))| {
            let sums = panel_sums(row, panel);
            let bounds = weights.epilogue.bounds;
            sums.into_iter()
                .zip(bias.iter().zip(scale))
                .map(move |(sum, (bias, scale))| finish(bounds, sum, *bias, *scale))
        });
        channels.zip(sums).for_each(|(output, step)| *output = step);
    }
}

fn panel_sums(row: &[i16], panel: &[i16]) -> [i32; PANEL] {
    let mut sums = [0i32; PANEL];
    for (pixels, weights) in row.chunks_exact(2).zip(panel.chunks_exact(2 * PANEL)) {
        for (sum, weights) in sums.iter_mut().zip(weights.chunks_exact(2)) {
            for (&pixel, &weight) in pixels.iter().zip(weights) {
                *sum = sum.wrapping_add(i32::from(pixel) * i32::from(weight));
            }
        }
    }
    sums
}

/// Takes every packing, so that other sets' kernels can be compared with it.
pub fn dot_gemm(call: &DotGemm<'_>, output: &mut [u8]) {
    let weights = call.weights;
    let DotPacking { panel, .. } = weights.packing;
    let panel_bytes = panel * weights.runs * weights.run;
    if !call.fits(weights.packing, output) || panel_bytes == 0 || call.output_stride == 0 {
        return;
    }
    for (pixel, output) in (0..call.pixels).zip(output.chunks_mut(call.output_stride)) {
        let steps = output.get_mut(..weights.channels).unwrap_or_default().chunks_mut(panel);
        for (index, (panel, steps)) in weights.panels.chunks_exact(panel_bytes).zip(steps).enumerate() {
            dot_panel(call, call.place(pixel), (index, panel), steps);
        }
    }
}

/// Channels of a panel for which sums are kept at once.
const MOST_SUMS: usize = 64;

/// One pixel of one panel.
fn dot_panel(call: &DotGemm<'_>, place: usize, (index, panel): (usize, &[i8]), steps: &mut [u8]) {
    let weights = call.weights;
    let DotPacking { panel: width, group, offset, .. } = weights.packing;
    for first in (0..steps.len()).step_by(MOST_SUMS) {
        let mut sums = [0i32; MOST_SUMS];
        let groups = panel.chunks_exact(width * group).enumerate();
        for (at, filters) in groups {
            let (run, byte) = (at * group / weights.run, at * group % weights.run);
            let start = place + run * call.run_pitch + byte;
            let inputs = call.input.get(start..start + group).unwrap_or_default();
            let filters = filters.chunks_exact(group).skip(first);
            for (sum, filter) in sums.iter_mut().zip(filters) {
                for (&input, &weight) in inputs.iter().zip(filter) {
                    *sum = sum.wrapping_add((i32::from(input) - offset) * i32::from(weight));
                }
            }
        }
        let epilogue = weights.epilogue.bias.iter().zip(&weights.epilogue.scale).skip(index * width + first);
        for ((step, sum), (&bias, &scale)) in steps.iter_mut().skip(first).zip(sums).zip(epilogue) {
            *step = finish(weights.epilogue.bounds, sum, bias, scale);
        }
    }
}

/// From an exact sum to a stored step.
pub fn finish(bounds: Bounds, sum: i32, bias: i32, scale: f32) -> u8 {
    bounds.requantise(sum.wrapping_add(bias) as f32 * scale)
}

pub fn depthwise(call: &Depthwise<'_>, output: &mut [u8]) {
    if !call.fits(output) {
        return;
    }
    let channels = call.weights.channels;
    let [rows, columns] = call.window.output;
    let places = (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column)));
    for ((row, column), pixel) in places.zip(output.chunks_exact_mut(channels)) {
        for (block, steps) in pixel.chunks_mut(PANEL).enumerate() {
            depthwise_block(call, row, column, block * PANEL, steps);
        }
    }
}

/// Up to a panel of channels, beginning with `first`, of one output pixel.
fn depthwise_block(call: &Depthwise<'_>, row: usize, column: usize, first: usize, steps: &mut [u8]) {
    let (weights, window) = (call.weights, call.window);
    let [tap_rows, tap_columns] = window.kernel;
    let [_, input_columns] = window.input;
    let mut sums = [0i32; PANEL];
    let taps = (0..tap_rows).flat_map(|tap_row| (0..tap_columns).map(move |tap_column| (tap_row, tap_column)));
    for ((tap_row, tap_column), filter) in taps.zip(weights.taps.chunks_exact(weights.channels)) {
        let place = window.row(row, tap_row).zip(window.column(column, tap_column));
        let place = place.map(|(y, x)| (y * input_columns + x) * weights.channels);
        let pixel = place.map_or(call.border, |place| call.input.get(place..).unwrap_or(&[]));
        let products = pixel.iter().skip(first).zip(filter.iter().skip(first));
        for (sum, (&pixel, &weight)) in sums.iter_mut().zip(products) {
            *sum = sum.wrapping_add(i32::from(pixel) * i32::from(weight));
        }
    }
    let epilogue = weights.epilogue.bias.iter().zip(&weights.epilogue.scale).skip(first);
    for ((step, sum), (&bias, &scale)) in steps.iter_mut().zip(sums).zip(epilogue) {
        *step = finish(weights.epilogue.bounds, sum, bias, scale);
    }
}

pub fn add(call: &Add, a: &[u8], b: &[u8], output: &mut [u8]) {
    for (output, (&a, &b)) in output.iter_mut().zip(a.iter().zip(b)) {
        let a = (i32::from(a) - call.offset_a) as f32;
        let b = (i32::from(b) - call.offset_b) as f32;
        *output = call.bounds.requantise(a.mul_add(call.scale_a, b.mul_add(call.scale_b, call.fixed)));
    }
}

#[inline]
pub fn multiply(call: &Multiply, a: &[u8], b: &[u8], output: &mut [u8]) {
    for (output, a) in output.chunks_mut(b.len().max(1)).zip(a.chunks(b.len().max(1))) {
        output.iter_mut().zip(a.iter().zip(b)).for_each(|(output, (&a, &b))| *output = call.of(a, b));
    }
}

pub fn sum_pixels(image: &[u8], sums: &mut [i32]) {
    if sums.is_empty() {
        return;
    }
    for pixel in image.chunks_exact(sums.len()) {
        sums.iter_mut().zip(pixel).for_each(|(sum, &step)| *sum = sum.wrapping_add(i32::from(step)));
    }
}
