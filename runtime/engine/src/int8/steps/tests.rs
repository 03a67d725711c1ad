//! Both forms of a convolution against each other.

use std::num::NonZeroUsize;
use std::sync::{LazyLock, Mutex};

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::int8::depthwise_weights::DepthwiseWeights;
use crate::int8::kernels::winograd::{
    Finish, Gather, POSITIONS, Product, Tiles, WinogradKernels, WinogradWeights, row_pitch, sum_pitch,
};
use crate::int8::kernels::winograd_portable::PORTABLE;
use crate::int8::kernels::{Add, KernelChoice, Multiply};
use crate::int8::memory::Buffers;
use crate::int8::quant::{Bounds, Quant};
use crate::int8::weights::{DotPacking, DotWeights, Epilogue, Packed};
use crate::int8::window::Window;
use crate::threads::Threads;

/// One, two and three threads.
static THREADS: LazyLock<[Threads; 3]> = LazyLock::new(|| {
    [1, 2, 3].map(|count| {
        let count = NonZeroUsize::new(count).unwrap();
        Threads::new(count, count).unwrap()
    })
});

/// What `work` writes into so many bytes, which must be the same for each of [`THREADS`].
fn on_threads(scratch: Scratch, length: usize, work: impl Fn(&mut [u8], Crew<'_>)) -> Vec<u8> {
    let written = THREADS.each_ref().map(|threads| {
        let mut output = vec![7; length];
        let buffers = (0..threads.most()).map(|_| {
            let mut buffers = Buffers::new(scratch);
            buffers.bytes.fill(3);
            Mutex::new(buffers)
        });
        work(&mut output, Crew::new(threads, &buffers.collect::<Vec<_>>()).whatever_it_costs());
        output
    });
    let [one, others @ ..] = written;
    for (other, count) in others.iter().zip(2..) {
        assert_eq!(other, &one, "{count} threads");
    }
    one
}

#[derive(Debug)]
struct Layer {
    window: Window,
    channels: usize,
    filters: Vec<Vec<i16>>,
    groups: usize,
    border: u8,
    input: Vec<u8>,
}

/// Windows of all kinds: pointwise, strided, dilated, with borders before and after, grouped.
fn layer() -> impl Strategy<Value = Layer> {
    let sizes = ([1..12usize, 1..12], prop_oneof![Just([1usize, 1]), [1..5usize, 1..5].prop_map(|kernel| kernel)]);
    let steps = (
        prop_oneof![Just([1usize, 1]), [1..4usize, 1..4].prop_map(|stride| stride)],
        prop_oneof![3 => Just([1usize, 1]), 1 => [1..3usize, 1..3].prop_map(|dilation| dilation)],
        prop_oneof![Just([0usize, 0]), [0..4usize, 0..4].prop_map(|pad| pad)],
        prop_oneof![Just([0usize, 0]), [0..3usize, 0..3].prop_map(|end| end)],
    );
    let channels = (prop_oneof![2 => Just(1usize), 1 => 2..4usize], 1..9usize, 1..20usize);
    (sizes, steps, channels, any::<u8>()).prop_flat_map(
        |((input, kernel), (stride, dilation, pad, end), (groups, per_group, outputs), border)| {
            let output = std::array::from_fn(|axis| {
                let room = input[axis] + pad[axis] + end[axis];
                room.saturating_sub((kernel[axis] - 1) * dilation[axis] + 1) / stride[axis] + 1
            });
            let window = Window { input, output, kernel, stride, dilation, pad };
            let filters = vec(vec(-127..=127i16, window.taps() * per_group), groups * outputs);
            let bytes = vec(any::<u8>(), input[0] * input[1] * groups * per_group);
            (filters, bytes).prop_map(move |(filters, input)| Layer {
                window,
                channels: groups * per_group,
                filters,
                groups,
                border,
                input,
            })
        },
    )
}

impl Layer {
    fn epilogue(&self) -> Epilogue {
        let channels = self.filters.len() / self.groups;
        let bias = (0..channels).map(|channel| channel as i32 * 100 - 500).collect();
        Epilogue::new(bias, vec![2e-3; channels], Bounds { low: -100.0, high: 120.0, zero_point: 110 })
    }

    fn output(&self) -> Vec<u8> {
        vec![7; self.window.outputs() * self.filters.len()]
    }

    /// What `work` writes, which must be the same on one, two and three threads.
    fn on_threads(&self, scratch: Scratch, work: impl Fn(&mut [u8], Crew<'_>)) -> Vec<u8> {
        on_threads(scratch, self.window.outputs() * self.filters.len(), work)
    }

    fn run_in_pairs(&self, kernels: &Kernels) -> Vec<u8> {
        let groups = self.filters.chunks(self.filters.len() / self.groups);
        let step = Convolution {
            input: 0,
            output: 1,
            window: self.window,
            channels: self.channels,
            border: self.border,
            groups: groups.map(|filters| Packed::new(filters, self.epilogue())).collect(),
        };
        let scratch = Step::Convolution(step.clone()).scratch();
        self.on_threads(scratch, |output, crew| step.run(&self.input, output, kernels, crew))
    }

    fn run_in_dots(&self, packing: DotPacking, kernels: &Kernels) -> Vec<u8> {
        let [runs, _] = self.window.kernel;
        let groups = self.filters.chunks(self.filters.len() / self.groups);
        let groups = groups.map(|filters| DotWeights::new(filters, runs, packing, self.epilogue()).unwrap());
        let step = DotConvolution::new((0, 1), self.window, self.channels, self.border, groups.collect());
        let scratch = Step::DotConvolution(step.clone()).scratch();
        self.on_threads(scratch, |output, crew| step.run(&self.input, output, kernels, crew))
    }
}

proptest! {
    #[test]
    fn both_forms_of_a_convolution_are_equal(layer in layer(), group in prop_oneof![Just(4usize), Just(8)]) {
        let scalar = KernelChoice::Scalar.find().unwrap();
        let expected = layer.run_in_pairs(&scalar);
        let packing = DotPacking { panel: 16, group, offset: 0, least: i8::MIN };
        prop_assert_eq!(&layer.run_in_dots(packing, &scalar), &expected);
        let fastest = KernelChoice::Fastest.find().unwrap();
        prop_assert_eq!(&layer.run_in_pairs(&fastest), &expected);
        if let Some(dot) = fastest.dot {
            prop_assert_eq!(&layer.run_in_dots(dot.packing, &fastest), &expected);
        }
    }
}

/// Depthwise windows over images of few and of many channels.
fn depthwise() -> impl Strategy<Value = Layer> {
    let kernel = prop_oneof![Just([3usize, 3]), Just([5, 5]), [1..9usize, 1..6]];
    let sizes = ([1..24usize, 1..24], kernel, 1..24usize);
    (sizes, 1..3usize, [0..3usize, 0..3], [0..3usize, 0..3], any::<u8>()).prop_flat_map(
        |((input, kernel, channels), stride, pad, end, border)| {
            let output = std::array::from_fn(|axis| {
                (input[axis] + pad[axis] + end[axis]).saturating_sub(kernel[axis]) / stride + 1
            });
            let window = Window { input, output, kernel, stride: [stride, stride], dilation: [1, 1], pad };
            let filters = vec(vec(-128..=127i16, window.taps()), channels);
            let bytes = vec(any::<u8>(), input[0] * input[1] * channels);
            (filters, bytes).prop_map(move |(filters, input)| Layer {
                window,
                channels,
                filters,
                groups: channels,
                border,
                input,
            })
        },
    )
}

impl Layer {
    fn run_depthwise(&self, kernels: &Kernels) -> Vec<u8> {
        let taps = 0..self.window.taps();
        let taps = taps.flat_map(|tap| self.filters.iter().map(move |filter| filter[tap])).collect();
        let bias = (0..self.channels).map(|channel| channel as i32 * 100 - 500).collect();
        let bounds = Bounds { low: -100.0, high: 120.0, zero_point: 110 };
        let epilogue = Epilogue::new(bias, vec![2e-2; self.channels], bounds);
        let weights = DepthwiseWeights::new(self.channels, taps, epilogue);
        let weights = (kernels.prepare_depthwise)(&self.window, weights);
        let border = vec![self.border; self.channels.max(16)];
        let step = DepthwiseStep { input: 0, output: 1, window: self.window, border, weights };
        let scratch = Step::Depthwise(step.clone()).scratch();
        self.on_threads(scratch, |output, crew| step.run(&self.input, output, kernels, crew))
    }
}

proptest! {
    #[test]
    fn depthwise_steps_are_equal(layer in depthwise()) {
        let expected = layer.run_depthwise(&KernelChoice::Scalar.find().unwrap());
        for choice in KernelChoice::runnable() {
            prop_assert_eq!(&layer.run_depthwise(&choice.find().unwrap()), &expected, "{:?}", choice);
        }
    }
}

#[test]
fn an_absurd_window_takes_no_absurd_scratch() {
    // Two taps 4096 rows apart, over a border of 4096 columns on each side.
    let window = Window {
        input: [1, 1],
        output: [1, 3],
        kernel: [2, 1],
        stride: [4096, 4096],
        dilation: [4096, 1],
        pad: [4096, 4096],
    };
    let packing = DotPacking { panel: 16, group: 4, offset: 0, least: i8::MIN };
    let epilogue = Epilogue::new(vec![0], vec![1.0], Bounds::full(0));
    let weights = DotWeights::new(&[vec![1; 2 * 16_000]], 2, packing, epilogue).unwrap();
    let step = DotConvolution::new((0, 1), window, 16_000, 0, vec![weights]);
    assert!(step.scratch() < 1 << 24, "{}", step.scratch());
}

/// What Winograd's algorithm takes, with inputs and weights at the ends of their ranges half of the time.
fn three_by_three() -> impl Strategy<Value = Layer> {
    let sizes = ([1..14usize, 1..14], [0..3usize, 0..3], [0..3usize, 0..3], [1..4usize, 1..4]);
    let byte = prop_oneof![2 => any::<u8>(), 1 => Just(0), 1 => Just(255)];
    let weight = prop_oneof![2 => -255..=255i16, 1 => Just(-255), 1 => Just(255), 1 => Just(-128), 1 => Just(127)];
    (sizes, byte.clone()).prop_flat_map(move |((input, pad, end, panels), border)| {
        let output = std::array::from_fn(|axis| (input[axis] + pad[axis] + end[axis]).saturating_sub(3) + 1);
        let window = Window { input, output, kernel: [3, 3], stride: [1, 1], dilation: [1, 1], pad };
        let [channels, outputs] = panels.map(|panels| 16 * panels);
        let filters = vec(vec(weight.clone(), 9 * channels), outputs);
        let bytes = vec(byte.clone(), input[0] * input[1] * channels);
        (filters, bytes).prop_map(move |(filters, input)| Layer { window, channels, filters, groups: 1, border, input })
    })
}

impl Layer {
    fn run_winograd(&self, kernels: WinogradKernels) -> Vec<u8> {
        let step = WinogradConvolution {
            input: 0,
            output: 1,
            window: self.window,
            border: vec![self.border; self.channels],
            weights: WinogradWeights::new(&self.filters, self.epilogue()).unwrap(),
        };
        let scratch = Step::Winograd(step.clone()).scratch();
        self.on_threads(scratch, |output, crew| step.run(&self.input, output, kernels, crew))
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn fewer_products_give_the_same_convolution(layer in three_by_three()) {
        let expected = layer.run_in_pairs(&KernelChoice::Scalar.find().unwrap());
        prop_assert_eq!(&layer.run_winograd(PORTABLE), &expected);
        for kernels in KernelChoice::runnable().filter_map(|choice| choice.find().ok()) {
            if let Some(winograd) = kernels.winograd {
                prop_assert_eq!(&layer.run_winograd(winograd), &expected, "{:?}", kernels);
            }
        }
    }

    #[test]
    fn steps_of_fewer_products_are_equal(layer in three_by_three(), from in 0..8usize) {
        for winograd in KernelChoice::runnable().filter_map(|choice| choice.find().ok()?.winograd) {
            let weights = WinogradWeights::new(&layer.filters, layer.epilogue()).unwrap();
            let (depth, channels) = (weights.depth, weights.channels);
            let first = from.min(Tiles::of(&layer.window) - 1);
            let tiles = Tiles { window: &layer.window, first, count: Tiles::of(&layer.window) - first };
            let border = vec![layer.border; depth];
            let gather = Gather { input: &layer.input, border: &border, channels: depth, tiles };
            let mut rows = [vec![7; POSITIONS * row_pitch(tiles.count, depth)], vec![7; POSITIONS * row_pitch(tiles.count, depth)]];
            (PORTABLE.gather)(&gather, &mut rows[0]);
            (winograd.gather)(&gather, &mut rows[1]);
            prop_assert_eq!(&rows[0], &rows[1]);
            let panel = &weights.panels[..POSITIONS * depth * 16];
            let product = Product { rows: &rows[0], panel, tiles: tiles.count, depth };
            let mut sums = [vec![7; POSITIONS * sum_pitch(tiles.count)], vec![7; POSITIONS * sum_pitch(tiles.count)]];
            (PORTABLE.multiply)(&product, &mut sums[0]);
            (winograd.multiply)(&product, &mut sums[1]);
            prop_assert_eq!(&sums[0], &sums[1]);
            let finish = Finish { sums: &sums[0], tiles, epilogue: &weights.epilogue, first_channel: channels - 16, channels };
            let mut outputs = [layer.output(), layer.output()];
            let [expected, output] = &mut outputs;
            (PORTABLE.finish)(&finish, expected);
            (winograd.finish)(&finish, output);
            prop_assert_eq!(expected, output);
            // One number too few of anything: left alone.
            let mut short = sums[1].clone();
            short.pop();
            let before = layer.output();
            let mut output = before.clone();
            (winograd.finish)(&Finish { sums: &short, ..finish }, &mut output);
            prop_assert_eq!(&output, &before);
            let mut left = short.clone();
            (winograd.multiply)(&product, &mut left);
            prop_assert_eq!(&left, &short);
        }
    }
}

#[test]
fn only_sums_that_can_be_four_times_as_large_suit() {
    let window =
        Window { input: [8, 8], output: [8, 8], kernel: [3, 3], stride: [1, 1], dilation: [1, 1], pad: [1, 1] };
    assert!(WinogradWeights::suit(&window, [16, 32], [(1 << 29) - 1]));
    assert!(!WinogradWeights::suit(&window, [16, 32], [1 << 29]));
    assert!(!WinogradWeights::suit(&window, [16, 24], [1]) && !WinogradWeights::suit(&window, [8, 16], [1]));
    for wrong in [
        Window { stride: [1, 2], ..window },
        Window { kernel: [3, 1], ..window },
        Window { dilation: [2, 1], ..window },
    ] {
        assert!(!WinogradWeights::suit(&wrong, [16, 16], [1]), "{wrong:?}");
    }
}

/// Images for pools and sums, with a window over them.
fn pooled() -> impl Strategy<Value = (Window, usize, Vec<u8>)> {
    ([1..12usize, 1..12], [1..4usize, 1..4], 1..3usize, [0..2usize, 0..2], 1..70usize).prop_flat_map(
        |(input, kernel, stride, pad, channels)| {
            let output =
                std::array::from_fn(|axis| (input[axis] + 2 * pad[axis]).saturating_sub(kernel[axis]) / stride + 1);
            let window = Window { input, output, kernel, stride: [stride, stride], dilation: [1, 1], pad };
            vec(any::<u8>(), input[0] * input[1] * channels).prop_map(move |bytes| (window, channels, bytes))
        },
    )
}

proptest! {
    #[test]
    fn other_steps_are_the_same_on_several_threads((window, channels, bytes) in pooled(), shift in 1..50usize) {
        let scalar = KernelChoice::Scalar.find().unwrap();
        let (scratch, pixels) = (Scratch::default(), window.outputs() * channels);
        let max = MaxPool { input: 0, output: 1, window, channels };
        on_threads(scratch, pixels, |output, crew| max.run(&bytes, output, crew));
        let quants = [0.5, 0.25].map(|scale| Quant { scale, zero_point: 3, signed: false });
        let bounds = Bounds::full(3);
        let average = AveragePool { input: 0, output: 1, window, channels, border_counts: true, quants, bounds };
        on_threads(scratch, pixels, |output, crew| average.run(&bytes, output, crew));
        let table = TableStep { input: 0, output: 1, table: Box::new(std::array::from_fn(|step| (step * shift) as u8)) };
        let expected: Vec<u8> = bytes.iter().map(|&step| (usize::from(step) * shift) as u8).collect();
        let looked_up = on_threads(scratch, bytes.len(), |output, crew| table.run(&bytes, output, crew));
        prop_assert_eq!(looked_up, expected);
        let mut other = bytes.clone();
        other.rotate_left(shift % bytes.len());
        let add = Add { scale_a: 0.5, scale_b: 0.75, offset_a: 1, offset_b: 2, fixed: 4.0, bounds };
        let add = AddStep { a: 0, b: 1, output: 2, add };
        on_threads(scratch, bytes.len(), |output, crew| add.run(&bytes, &other, output, (&scalar, crew)));
        let multiply = Multiply { zero_points: [3, 4], scale: 0.01, fixed: 3.0, bounds };
        let multiply = MultiplyStep { a: 0, b: 1, output: 2, multiply };
        for other in [&other[..], &other[..channels]] {
            on_threads(scratch, bytes.len(), |output, crew| multiply.run(&bytes, other, output, (&scalar, crew)));
        }
    }
}
