//! Both forms of a convolution against each other.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::int8::depthwise_weights::DepthwiseWeights;
use crate::int8::kernels::KernelChoice;
use crate::int8::quant::Bounds;
use crate::int8::weights::{DotPacking, DotWeights, Epilogue, Packed};
use crate::int8::window::Window;

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
        let mut output = self.output();
        step.run(&self.input, &mut output, &mut vec![0; step.scratch()], kernels);
        output
    }

    fn run_in_dots(&self, packing: DotPacking, kernels: &Kernels) -> Vec<u8> {
        let [runs, _] = self.window.kernel;
        let groups = self.filters.chunks(self.filters.len() / self.groups);
        let groups = groups.map(|filters| DotWeights::new(filters, runs, packing, self.epilogue()).unwrap());
        let step = DotConvolution::new((0, 1), self.window, self.channels, self.border, groups.collect());
        let mut output = self.output();
        step.run(&self.input, &mut output, &mut vec![3; step.scratch()], kernels);
        output
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
        let mut output = self.output();
        step.run(&self.input, &mut output, &mut vec![3; step.scratch()], kernels);
        output
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
