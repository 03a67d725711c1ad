//! Every set of kernels against the scalar one, bit for bit.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::int8::weights::Epilogue;

/// All sets that this processor can run, but the scalar one.
fn others() -> Vec<Kernels> {
    vector().into_iter().collect()
}

/// Ranges of an output: whole, clipped, a single step; zero points at both ends.
fn bounds() -> impl Strategy<Value = Bounds> {
    (0..=255i32, 0..=255i32, 0..=255i32).prop_map(|(zero_point, a, b)| Bounds {
        low: (a.min(b) - zero_point) as f32,
        high: (a.max(b) - zero_point) as f32,
        zero_point,
    })
}

/// Scales from vanishing to saturating everything.
fn scale() -> impl Strategy<Value = f32> {
    prop_oneof![4 => 1e-5f32..1e-2, 1 => 0.0f32..4.0, 1 => Just(0.5), 1 => Just(1e30), 1 => Just(1e-30)]
}

fn bias() -> impl Strategy<Value = i32> {
    prop_oneof![4 => -100_000..100_000i32, 1 => any::<i32>()]
}

fn weight() -> impl Strategy<Value = i16> {
    prop_oneof![4 => -128..=127i16, 1 => Just(-255), 1 => Just(255)]
}

fn byte() -> impl Strategy<Value = u8> {
    prop_oneof![3 => any::<u8>(), 1 => Just(255), 1 => Just(0)]
}

#[derive(Debug)]
struct Product {
    rows: Vec<i16>,
    pixels: usize,
    packed: Packed,
    extra_stride: usize,
}

fn product() -> impl Strategy<Value = Product> {
    (1..40usize, 1..20usize, 1..40usize, 0..5usize, bounds()).prop_flat_map(
        |(channels, depth, pixels, extra_stride, bounds)| {
            let filters = vec(vec(weight(), depth), channels);
            let constants = (vec(bias(), channels), vec(scale(), channels));
            let rows = vec(byte(), pixels * depth.next_multiple_of(2));
            (filters, constants, rows).prop_map(move |(filters, (bias, scale), rows)| Product {
                rows: rows.into_iter().map(i16::from).collect(),
                pixels,
                packed: Packed::new(&filters, Epilogue::new(bias, scale, bounds)),
                extra_stride,
            })
        },
    )
}

#[derive(Debug)]
struct Image {
    input: Vec<u8>,
    border: Vec<u8>,
    window: Window,
    weights: DepthwiseWeights,
}

fn image() -> impl Strategy<Value = Image> {
    let sizes = (1..80usize, [1..9usize, 1..9], [1..6usize, 1..6]);
    let steps = ([1..4usize, 1..4], [1..3usize, 1..3], [0..4usize, 0..4], [0..3usize, 0..3]);
    (sizes, steps, bounds()).prop_flat_map(|((channels, input, kernel), (stride, dilation, pad, end), bounds)| {
        let output = std::array::from_fn(|axis| {
            let room = input[axis] + pad[axis] + end[axis];
            room.saturating_sub((kernel[axis] - 1) * dilation[axis] + 1) / stride[axis] + 1
        });
        let window = Window { input, output, kernel, stride, dilation, pad };
        let taps = vec(weight(), channels * window.taps());
        let constants = (vec(bias(), channels), vec(scale(), channels));
        let pixels = vec(byte(), input[0] * input[1] * channels);
        (pixels, any::<u8>(), taps, constants).prop_map(move |(input, border, taps, (bias, scale))| {
            let epilogue = Epilogue::new(bias, scale, bounds);
            let weights = DepthwiseWeights { channels, taps, epilogue, blocks: Vec::new() }.with_blocks();
            Image { input, border: vec![border; channels.max(16)], window, weights }
        })
    })
}

proptest! {
    #[test]
    fn products_are_equal(case in product()) {
        let stride = case.packed.channels + case.extra_stride;
        let call = Gemm { rows: &case.rows, pixels: case.pixels, weights: &case.packed, output_stride: stride };
        let mut expected = vec![7; case.pixels * stride];
        (scalar::KERNELS.gemm)(&call, &mut expected);
        for kernels in others() {
            let mut output = vec![7; case.pixels * stride];
            (kernels.gemm)(&call, &mut output);
            prop_assert_eq!(&output, &expected, "{}", kernels.name);
        }
    }

    #[test]
    fn depthwise_convolutions_are_equal(case in image()) {
        let call = Depthwise {
            input: &case.input, border: &case.border, window: &case.window, weights: &case.weights
        };
        let length = case.window.outputs() * case.weights.channels;
        let mut expected = vec![7; length];
        (scalar::KERNELS.depthwise)(&call, &mut expected);
        for kernels in others() {
            let mut output = vec![7; length];
            (kernels.depthwise)(&call, &mut output);
            prop_assert_eq!(&output, &expected, "{}", kernels.name);
        }
    }

    #[test]
    fn sums_are_equal(
        pairs in vec((any::<u8>(), any::<u8>()), 0..100),
        scales in (scale(), scale()),
        fixed in -400f32..400.0,
        is_signed in [any::<bool>(), any::<bool>()],
        bounds in bounds(),
    ) {
        let (a, b): (Vec<u8>, Vec<u8>) = pairs.into_iter().unzip();
        let [offset_a, offset_b] = is_signed.map(|is_signed| if is_signed { 128 } else { 0 });
        let call = Add { scale_a: scales.0, scale_b: scales.1, offset_a, offset_b, fixed, bounds };
        let mut expected = vec![0; a.len()];
        (scalar::KERNELS.add)(&call, &a, &b, &mut expected);
        for kernels in others() {
            let mut output = vec![0; a.len()];
            (kernels.add)(&call, &a, &b, &mut output);
            prop_assert_eq!(&output, &expected, "{}", kernels.name);
        }
    }

    #[test]
    fn widening_and_pixel_sums_are_equal(bytes in vec(any::<u8>(), 0..200), channels in 1..40usize) {
        for kernels in others() {
            let (mut wide, mut expected) = (vec![0; 150], vec![0; 150]);
            (kernels.widen)(&bytes, &mut wide);
            (scalar::KERNELS.widen)(&bytes, &mut expected);
            prop_assert_eq!(wide, expected);
            let (mut sums, mut expected) = (vec![-5; channels], vec![-5; channels]);
            (kernels.sum_pixels)(&bytes, &mut sums);
            (scalar::KERNELS.sum_pixels)(&bytes, &mut expected);
            prop_assert_eq!(sums, expected);
        }
    }
}

#[test]
fn what_does_not_fit_is_left_alone() {
    let bounds = Bounds::full(0);
    let packed = Packed::new(&[vec![1, 2], vec![3, 4]], Epilogue::new(vec![0; 2], vec![1.0; 2], bounds));
    for kernels in others().into_iter().chain([scalar::KERNELS]) {
        let mut output = vec![9; 3];
        (kernels.gemm)(&Gemm { rows: &[1, 1, 1, 1], pixels: 2, weights: &packed, output_stride: 2 }, &mut output);
        assert_eq!(output, [9; 3], "{}", kernels.name);
    }
}
