#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::num::NonZeroUsize;
use std::sync::{Arc, LazyLock};

use proptest::prelude::*;
use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::Approximation;
use tract_onnx::tract_core::ops::cnn::conv::{Conv, KernelFormat};
use tract_onnx::tract_core::ops::cnn::{PaddingSpec, PoolSpec};
use tract_onnx::tract_core::ops::math;
use tract_onnx::tract_core::ops::nn::DataFormat;

use super::geometry::{Axis, Geometry};
use super::kernel::{Kernel, Vectors, Weights};
use super::operator::ConvolutionF32;
use super::weights::{Dense, Depthwise};
use crate::threads::Threads;

/// One, two and three threads.
static THREADS: LazyLock<[Threads; 3]> = LazyLock::new(|| {
    [1, 2, 3].map(|count| {
        let count = NonZeroUsize::new(count).unwrap();
        Threads::new(count, count).unwrap()
    })
});

/// Numbers between -1 and 1.
fn numbers(count: usize, seed: u32) -> Vec<f32> {
    let number = |index: usize| ((index as u32).wrapping_mul(2_654_435_761) ^ seed) % 2000;
    (0..count).map(|index| number(index) as f32 / 1000.0 - 1.0).collect()
}

fn axis(output: usize, kernel: usize, stride: usize, dilation: usize, padding: usize, spare: usize) -> Axis {
    let reach = (output - 1) * stride + (kernel - 1) * dilation + 1;
    let padding = padding.min(reach - 1);
    // What is missing behind is the padding there.
    Axis { input: (reach - padding).saturating_sub(spare).max(1), output, kernel, stride, dilation, padding }
}

fn axes() -> impl Strategy<Value = Axis> {
    (1usize..12, 1usize..6, 1usize..4, 1usize..3, 0usize..3, 0usize..3).prop_map(
        |(output, kernel, stride, dilation, padding, spare)| axis(output, kernel, stride, dilation, padding, spare),
    )
}

/// The definition, summed in the kernels' order; a fused multiplication and addition is exact here as there.
fn definition(kernel: &Kernel, weights: &[f32], bias: &[f32], input: &[f32], other: Option<&[f32]>) -> Vec<f32> {
    let Geometry { rows, columns, filters, groups, .. } = &kernel.geometry;
    let (taps, seen) = (kernel.geometry.taps(), kernel.geometry.channels_seen());
    let mut output = Vec::new();
    for position in 0..kernel.geometry.positions() {
        let [picture, row, column] = kernel.geometry.locate(position);
        for filter in 0..*filters {
            let mut sum = bias[filter];
            for tap in 0..taps {
                let place = rows.place(row, tap / columns.kernel).zip(columns.place(column, tap % columns.kernel));
                let start = place.map(|(row, column)| kernel.geometry.pixel(picture, row, column));
                let first = filter / (filters / groups) * seen;
                for channel in 0..seen {
                    let value = start.map_or(0.0, |start| input[start + first + channel]);
                    sum = value.mul_add(weights[(filter * seen + channel) * taps + tap], sum);
                }
            }
            let sum = sum + other.map_or(0.0, |other| other[position * filters + filter]);
            output.push(sum.max(kernel.low).min(kernel.high));
        }
    }
    output
}

proptest! {
    #[test]
    fn every_kernel_computes_the_definition(
        rows in axes(), columns in axes(), pictures in 1usize..3, seen in 1usize..40, filters in 1usize..80,
        groups in prop_oneof![3 => Just(1usize), 1 => 2usize..4],
        is_depthwise in any::<bool>(), adds in any::<bool>(), clips in any::<bool>(), seed in any::<u32>()
    ) {
        let (channels, filters, groups) = if is_depthwise { (seen, seen, seen) } else { (seen * groups, filters * groups, groups) };
        let geometry = Geometry { pictures, rows, columns, channels, filters, groups };
        let input = numbers(geometry.input_len(), seed);
        let seen = geometry.channels_seen();
        let kernel = numbers(filters * seen * geometry.taps(), seed ^ 7);
        let bias = numbers(filters, seed ^ 99);
        let other = adds.then(|| numbers(geometry.positions() * filters, seed ^ 3));
        let (low, high) = if clips { (-0.5, 0.75) } else { (f32::NEG_INFINITY, f32::INFINITY) };
        for vectors in Vectors::all() {
            let convolution = Kernel { low, high, ..packed(geometry.clone(), &kernel, &bias, vectors) };
            let expected = definition(&convolution, &kernel, &bias, &input, other.as_deref());
            for threads in THREADS.iter() {
                let output = run(&convolution, threads, &input, other.as_deref());
                prop_assert_eq!(&output, &expected, "{:?}, {:?}", vectors, threads);
            }
        }
    }

    #[test]
    fn convolutions_that_make_each_others_lines_say_what_they_say_one_after_the_other(
        first in (axes(), axes()), rows in (1usize..6, 1usize..4, 1usize..3, 0usize..3),
        columns in (1usize..6, 1usize..4, 1usize..3, 0usize..3), pictures in 1usize..3, seen in 1usize..20,
        channels in 2usize..70, filters in 1usize..40, projects in any::<bool>(), adds in any::<bool>(), seed in any::<u32>()
    ) {
        let over = |input: usize, (kernel, stride, dilation, padding): (usize, usize, usize, usize)| {
            let kernel = kernel.min((input - 1) / dilation + 1);
            let output = (input + padding - (kernel - 1) * dilation - 1) / stride + 1;
            Axis { input, output, kernel, stride, dilation, padding }
        };
        let (rows, columns) = (over(first.0.output, rows), over(first.1.output, columns));
        let (out_rows, out_columns) = (over(rows.output, (1, 1, 1, 0)), over(columns.output, (1, 1, 1, 0)));
        let expand = Geometry { pictures, rows: first.0, columns: first.1, channels: seen, filters: channels, groups: 1 };
        let depthwise = Geometry { pictures, rows, columns, channels, filters: channels, groups: channels };
        let project = Geometry { pictures, rows: out_rows, columns: out_columns, channels, filters, groups: 1 };
        let geometries = if projects { vec![expand, depthwise, project] } else { vec![expand, depthwise] };
        let input = numbers(geometries[0].input_len(), seed);
        let last = &geometries[geometries.len() - 1];
        let other = adds.then(|| numbers(last.positions() * last.filters, seed ^ 3));
        for vectors in Vectors::all() {
            let kernels: Vec<Kernel> = geometries.iter().map(|geometry| {
                let weights = numbers(geometry.filters * geometry.channels_seen() * geometry.taps(), seed ^ 7);
                Kernel { low: -0.5, ..packed(geometry.clone(), &weights, &numbers(geometry.filters, seed ^ 99), vectors) }
            }).collect();
            let (last, before) = kernels.split_last().unwrap();
            let between = before.iter().fold(input.clone(), |input, kernel| run(kernel, &THREADS[0], &input, None));
            let expected = run(last, &THREADS[0], &between, other.as_deref());
            let chain = kernels.into_iter().reduce(|before, kernel| Kernel { before: Some(Arc::new(before)), ..kernel });
            for threads in THREADS.iter() {
                let output = run(chain.as_ref().unwrap(), threads, &input, other.as_deref());
                prop_assert_eq!(&output, &expected, "{:?}, {:?}", vectors, threads);
            }
        }
    }
}

fn packed(geometry: Geometry, kernel: &[f32], bias: &[f32], vectors: Vectors) -> Kernel {
    let weights = if geometry.is_depthwise() {
        Weights::Depthwise(Arc::new(Depthwise::pack(&geometry, kernel, bias, vectors)))
    } else {
        Weights::Dense(Arc::new(Dense::pack(&geometry, kernel, bias, vectors)))
    };
    Kernel { geometry, vectors, weights, before: None, low: f32::NEG_INFINITY, high: f32::INFINITY }
}

fn run(kernel: &Kernel, threads: &Threads, input: &[f32], other: Option<&[f32]>) -> Vec<f32> {
    let mut output = vec![f32::NAN; kernel.geometry.positions() * kernel.geometry.filters];
    kernel.run((threads, threads.most()), input, other, &mut output).unwrap();
    output
}

/// A residual block as exporters write it between a stem and a head: expand, depthwise, project, each with a clip but the last, and a sum.
fn block(side: usize) -> TypedModel {
    let mut model = TypedModel::default();
    let source = model.add_source("x", f32::fact([1, 8, side, side])).unwrap();
    let convolution = |model: &mut TypedModel, name: &str, input: OutletId, sizes: [usize; 4]| {
        let [from, to, kernel, group] = sizes;
        let shape = [to, from / group, kernel, kernel];
        let weights = Tensor::from_shape(&shape, &numbers(shape.iter().product(), 5)).unwrap();
        let weights = model.add_const(format!("{name}.weights"), weights).unwrap();
        let bias = model.add_const(format!("{name}.bias"), tensor1(&numbers(to, 9))).unwrap();
        let pool_spec = PoolSpec {
            data_format: DataFormat::NCHW,
            kernel_shape: tvec!(kernel, kernel),
            padding: PaddingSpec::SameUpper,
            dilations: None,
            strides: None,
            input_channels: from,
            output_channels: to,
        };
        let conv = Conv { pool_spec, kernel_fmt: KernelFormat::OIHW, group, q_params: None };
        model.wire_node(name, conv, &[input, weights, bias]).unwrap()[0]
    };
    let clip = |model: &mut TypedModel, name: &str, input: OutletId| {
        let zero = model.add_const(format!("{name}.0"), tensor4(&[[[[0f32]]]])).unwrap();
        let six = model.add_const(format!("{name}.6"), tensor4(&[[[[6f32]]]])).unwrap();
        let low = model.wire_node(format!("{name}.low"), math::max(), &[input, zero]).unwrap()[0];
        model.wire_node(format!("{name}.high"), math::min(), &[low, six]).unwrap()[0]
    };
    let stem = convolution(&mut model, "stem", source, [8, 8, 3, 1]);
    let expanded = convolution(&mut model, "expand", stem, [8, 24, 1, 1]);
    let expanded = clip(&mut model, "expand.clip", expanded);
    let filtered = convolution(&mut model, "depthwise", expanded, [24, 24, 3, 24]);
    let filtered = clip(&mut model, "depthwise.clip", filtered);
    let projected = convolution(&mut model, "project", filtered, [24, 8, 1, 1]);
    let sum = model.wire_node("sum", math::add(), &[stem, projected]).unwrap();
    let head = convolution(&mut model, "head", sum[0], [8, 10, 1, 1]);
    model.select_output_outlets(&[head]).unwrap();
    model
}

fn optimized(mut model: TypedModel) -> TypedModel {
    super::rewrite(&mut model).unwrap();
    model.into_optimized().unwrap()
}

fn operators(model: &TypedModel) -> usize {
    model.nodes().iter().filter(|node| node.op_is::<ConvolutionF32>()).count()
}

#[test]
fn a_block_is_an_operator_for_each_convolution_or_one_where_there_is_much_between_them() {
    if Vectors::detect().is_none() {
        return;
    }
    for (side, count) in [(9, 5), (120, 3)] {
        let model = optimized(block(side));
        assert_eq!(operators(&model), count, "{side}");
        let rest: Vec<String> = model.nodes().iter().map(|node| node.op.name().into_owned()).collect();
        assert!(
            rest.iter()
                .all(|name| ["Source", "Const", "ConvolutionF32"].contains(&&**name) || name.starts_with("Move")),
            "{rest:?}"
        );
    }
}

#[test]
fn a_block_says_what_tract_says() {
    for side in [9, 120] {
        let input = Tensor::from_shape(&[1, 8, side, side], &numbers(8 * side * side, 1)).unwrap();
        let run = |model: TypedModel| {
            let mut state = model.into_runnable().unwrap().spawn().unwrap();
            state.run(tvec!(input.clone().into_tvalue())).unwrap().remove(0).into_tensor()
        };
        let expected = run(block(side).into_optimized().unwrap());
        run(optimized(block(side))).close_enough(&expected, Approximation::Approximate).unwrap();
    }
}
