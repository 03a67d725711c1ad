//! Every set of kernels against the scalar one, bit for bit.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::int8::weights::{Epilogue, SMALL_SUM};

/// All sets that this processor can run, but the scalar one.
fn others() -> Vec<Kernels> {
    let sets = choice::runnable().filter(|kernels| kernels.name != scalar::KERNELS.name);
    #[cfg(target_arch = "x86_64")]
    let sets = sets.chain(vnni::avx_by_avx512()).chain(vnni::avx512_otherwise());
    sets.collect()
}

/// Ranges of an output: whole, clipped, a single step; zero points at both ends.
fn bounds() -> impl Strategy<Value = Bounds> {
    let any = (0..=255i32, 0..=255i32, 0..=255i32).prop_map(|(zero_point, a, b)| Bounds {
        low: (a.min(b) - zero_point) as f32,
        high: (a.max(b) - zero_point) as f32,
        zero_point,
    });
    // After a Relu, which kernels may do more simply.
    prop_oneof![2 => any, 1 => Just(Bounds::full(0))]
}

/// Scales from vanishing to saturating everything.
fn scale() -> impl Strategy<Value = f32> {
    prop_oneof![4 => 1e-5f32..1e-2, 1 => 0.0f32..4.0, 1 => Just(0.5), 1 => Just(1e30), 1 => Just(1e-30)]
}

/// Scales of all channels: half of the time none is so large that a usual sum has to be clamped before it is rounded, as
/// in all real models, so that the kernels made for that are tested.
fn scales(channels: usize) -> impl Strategy<Value = Vec<f32>> {
    let tame = prop_oneof![4 => 1e-5f32..1e-2, 1 => 0.0f32..0.5, 1 => Just(0.5), 1 => Just(1e-30), 1 => 0.5..40f32];
    prop_oneof![vec(tame, channels), vec(scale(), channels)]
}

/// An epilogue that is told how large sums of these weights, one row a channel, can be: also scales above 1 need no clamp
/// then.
fn epilogue(bias: Vec<i32>, scale: Vec<f32>, bounds: Bounds, rows: &[Vec<i16>]) -> Epilogue {
    let largest = rows.iter().map(|row| row.iter().map(|weight| 255 * u64::from(weight.unsigned_abs())).sum());
    Epilogue::for_sums(bias, scale, bounds, largest)
}

fn bias() -> impl Strategy<Value = i32> {
    prop_oneof![4 => -100_000..100_000i32, 1 => any::<i32>()]
}

/// Biases of all channels: most of the time none makes a sum larger than what kernels write into the bits of an f32, as in
/// nearly all real models, sometimes nearly as large.
fn biases(channels: usize) -> impl Strategy<Value = Vec<i32>> {
    let large = SMALL_SUM as i32 / 4 * 3;
    prop_oneof![vec(-100_000..100_000i32, channels), vec(-large..large, channels), vec(bias(), channels)]
}

fn weight() -> impl Strategy<Value = i16> {
    prop_oneof![4 => -128..=127i16, 1 => Just(-255), 1 => Just(255)]
}

/// Weights of all channels and taps: half of the time all fit i8, as in most real models.
fn weights(count: usize) -> impl Strategy<Value = Vec<i16>> {
    prop_oneof![vec(-128..=127i16, count), vec(weight(), count)]
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
            let constants = (biases(channels), scales(channels));
            let rows = vec(byte(), pixels * depth.next_multiple_of(2));
            (filters, constants, rows).prop_map(move |(filters, (bias, scale), rows)| Product {
                rows: rows.into_iter().map(i16::from).collect(),
                pixels,
                packed: Packed::new(&filters, epilogue(bias, scale, bounds, &filters)),
                extra_stride,
            })
        },
    )
}

/// A product of bytes, to be packed as each set wants it.
#[derive(Debug)]
struct DotProduct {
    input: Vec<u8>,
    /// Output pixels of a row, output rows.
    size: [usize; 2],
    /// Bytes between pixels, between rows and between runs.
    pitches: [usize; 3],
    filters: Vec<Vec<i16>>,
    runs: usize,
    epilogue: Epilogue,
    extra_stride: usize,
}

impl DotProduct {
    /// `None` where the kernels do not take the weights.
    fn run(&self, dot: DotKernels) -> Option<Vec<u8>> {
        let weights = DotWeights::new(&self.filters, self.runs, dot.packing, self.epilogue.clone())?;
        let ([columns, rows], [pixel_pitch, row_pitch, run_pitch]) = (self.size, self.pitches);
        let output_stride = weights.channels + self.extra_stride;
        let mut call = DotGemm {
            input: &self.input,
            columns,
            row_pitch,
            pixel_pitch,
            run_pitch,
            pixels: columns * rows,
            weights: &weights,
            output_stride,
        };
        // Exactly as long as it has to be, so that a sanitiser sees what is read beyond it.
        let input = self.input[..call.extent()].to_vec();
        call.input = &input;
        let mut output = vec![7; columns * rows * output_stride];
        (dot.gemm)(&call, &mut output);
        Some(output)
    }

    fn is_taken(&self, packing: DotPacking) -> bool {
        self.filters.iter().flatten().all(|&weight| weight >= i16::from(packing.least))
    }

    /// The same by the pair form's definition, for each pixel's row copied together.
    fn run_in_pairs(&self) -> Vec<u8> {
        let ([columns, rows], [pixel_pitch, row_pitch, run_pitch]) = (self.size, self.pitches);
        let weights = Packed::new(&self.filters, self.epilogue.clone());
        let length = self.filters[0].len() / self.runs;
        let mut wide = Vec::new();
        for pixel in 0..columns * rows {
            let place = pixel / columns * row_pitch + pixel % columns * pixel_pitch;
            for run in 0..self.runs {
                let bytes = &self.input[place + run * run_pitch..][..length];
                wide.extend(bytes.iter().map(|&byte| i16::from(byte)));
            }
            wide.resize((pixel + 1) * weights.depth, 0);
        }
        let output_stride = weights.channels + self.extra_stride;
        let call = Gemm { rows: &wide, pixels: columns * rows, weights: &weights, output_stride };
        let mut output = vec![7; columns * rows * output_stride];
        scalar::gemm(&call, &mut output);
        output
    }
}

fn dot_product() -> impl Strategy<Value = DotProduct> {
    let sizes = (1..140usize, 1..4usize, 1..24usize, [1..20usize, 1..4]);
    let pitches = [0..40usize, 0..60, 0..50];
    // With and without the one weight that not every set of kernels takes.
    let least = prop_oneof![Just(-128i16), Just(-127)];
    let layout = (pitches, 0..5usize);
    (sizes, layout, bounds(), least).prop_flat_map(
        |((channels, runs, length, size), (pitches, extra), bounds, least)| {
            let filters = vec(vec(least..=127i16, runs * length), channels);
            let constants = (biases(channels), scales(channels));
            // Whole groups of 16 can be read after the last run.
            let bytes = size[0] * pitches[0] + size[1] * pitches[1] + runs * pitches[2] + length + 16;
            (filters, constants, vec(byte(), bytes)).prop_map(move |(filters, (bias, scale), input)| DotProduct {
                input,
                size,
                pitches,
                runs,
                epilogue: epilogue(bias, scale, bounds, &filters),
                filters,
                extra_stride: extra,
            })
        },
    )
}

/// Every packing that a set of kernels may ask for.
fn packing() -> impl Strategy<Value = DotPacking> {
    let panels = prop_oneof![Just(4usize), Just(8), Just(12), Just(16), Just(32), Just(64), Just(80)];
    let (groups, offsets) = (prop_oneof![Just(4usize), Just(8)], prop_oneof![Just(0), Just(128)]);
    (panels, groups, offsets).prop_map(|(panel, group, offset)| DotPacking { panel, group, offset, least: i8::MIN })
}

#[derive(Debug)]
struct Image {
    input: Vec<u8>,
    border: Vec<u8>,
    window: Window,
    weights: DepthwiseWeights,
}

impl Image {
    fn is_equal_everywhere(&self) -> Result<(), TestCaseError> {
        let call = Depthwise { input: &self.input, border: &self.border, window: &self.window, weights: &self.weights };
        let length = self.window.outputs() * self.weights.channels;
        let mut expected = vec![7; length];
        (scalar::KERNELS.depthwise)(&call, &mut expected);
        for kernels in others() {
            let weights = (kernels.prepare_depthwise)(&self.window, self.weights.clone());
            let call = Depthwise { weights: &weights, ..call };
            let mut output = vec![7; length];
            (kernels.depthwise)(&call, &mut output);
            prop_assert_eq!(&output, &expected, "{}", kernels.name);
        }
        Ok(())
    }
}

fn image() -> impl Strategy<Value = Image> {
    // Windows that have loops of their own, and any.
    let common = prop_oneof![Just([3usize, 3]), Just([5, 5]), Just([3, 5]), Just([5, 3])];
    let kernel = prop_oneof![2 => common, 1 => [1..9usize, 1..9]];
    let dilation = prop_oneof![3 => Just([1usize, 1]), 1 => [1..3usize, 1..3]];
    image_under(kernel, [1..4usize, 1..4], dilation)
}

fn image_under(
    kernel: impl Strategy<Value = [usize; 2]>,
    stride: impl Strategy<Value = [usize; 2]>,
    dilation: impl Strategy<Value = [usize; 2]>,
) -> impl Strategy<Value = Image> {
    let sizes = (1..150usize, [1..12usize, 1..12], kernel);
    let steps = (stride, dilation, [0..4usize, 0..4], [0..3usize, 0..3]);
    (sizes, steps, bounds()).prop_flat_map(|((channels, input, kernel), (stride, dilation, pad, end), bounds)| {
        let output = std::array::from_fn(|axis| {
            let room = input[axis] + pad[axis] + end[axis];
            room.saturating_sub((kernel[axis] - 1) * dilation[axis] + 1) / stride[axis] + 1
        });
        let window = Window { input, output, kernel, stride, dilation, pad };
        let taps = weights(channels * window.taps());
        let constants = (biases(channels), scales(channels));
        let pixels = vec(byte(), input[0] * input[1] * channels);
        (pixels, any::<u8>(), taps, constants).prop_map(move |(input, border, taps, (bias, scale))| {
            let rows = |channel: usize| taps.iter().skip(channel).step_by(channels).copied().collect();
            let rows: Vec<Vec<i16>> = (0..channels).map(rows).collect();
            let weights = DepthwiseWeights::new(channels, taps, epilogue(bias, scale, bounds, &rows));
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
    fn products_of_bytes_are_equal(case in dot_product()) {
        let expected = case.run_in_pairs();
        for kernels in others() {
            for dot in [kernels.dot, kernels.dot_row].into_iter().flatten() {
                let expected = case.is_taken(dot.packing).then(|| expected.clone());
                prop_assert_eq!(case.run(dot), expected, "{}", kernels.name);
            }
        }
    }

    #[test]
    fn every_packing_defines_the_same_product(case in dot_product(), packing in packing()) {
        let dot = DotKernels { packing, gemm: scalar::dot_gemm };
        prop_assert_eq!(case.run(dot), Some(case.run_in_pairs()), "{:?}", packing);
    }

    #[test]
    fn depthwise_convolutions_are_equal(case in image()) {
        case.is_equal_everywhere()?;
    }

    // Rare among all windows, and next to those whose rows are made two at once, which is wrong here.
    #[test]
    fn depthwise_rows_apart_are_equal(case in image_under(Just([3, 3]), Just([1, 1]), (2..4usize).prop_map(|rows| [rows, 1]))) {
        case.is_equal_everywhere()?;
    }

    #[test]
    fn sums_are_equal(
        pairs in vec((any::<u8>(), any::<u8>()), 0..200),
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
    fn products_of_tensors_are_equal(
        a in vec(any::<u8>(), 0..200),
        b in vec(any::<u8>(), 1..50),
        scale in scale(),
        fixed in -200f32..300.0,
        zero_points in [0..=255i32, 0..=255],
        bounds in bounds(),
    ) {
        let call = Multiply { zero_points, scale, fixed, bounds };
        let expected: Vec<u8> = a.iter().zip(b.iter().cycle()).map(|(&a, &b)| call.of(a, b)).collect();
        for kernels in others().into_iter().chain([scalar::KERNELS]) {
            let mut output = vec![0; a.len()];
            (kernels.multiply)(&call, &a, &b, &mut output);
            prop_assert_eq!(&output, &expected, "{}", kernels.name);
        }
    }

    #[test]
    fn gathered_rows_are_equal(
        (starts, length, step) in (vec(proptest::option::of(0..60usize), 1..5), 1..40usize, 0..20usize),
        (count, gap, border) in (1..12usize, 0..3usize, any::<u8>()),
        (bytes, slack) in (vec(any::<u8>(), 320), 0..20usize),
    ) {
        let (depth, used) = (starts.len() * length + gap, starts.len() * length);
        let end = starts.iter().flatten().max().map_or(0, |start| start + (count - 1) * step + length);
        // Exactly as long as they have to be, or a little longer.
        let (input, numbers) = (&bytes[..end + slack], count * depth + slack);
        let call = Gather { input, starts: &starts, length, step, border, count, depth };
        let mut expected = vec![7; numbers];
        (scalar::KERNELS.gather)(&call, &mut expected);
        for kernels in others() {
            let mut rows = vec![7; numbers];
            (kernels.gather)(&call, &mut rows);
            for (row, expected) in rows.chunks_exact(depth).zip(expected.chunks_exact(depth)).take(count) {
                prop_assert_eq!(&row[..used], &expected[..used], "{}", kernels.name);
            }
            // What is too short is left alone.
            let mut short = vec![7; count * depth - 1];
            (kernels.gather)(&call, &mut short);
            prop_assert!(short.iter().all(|&number| number == 7));
            if end > 0 {
                (kernels.gather)(&Gather { input: &bytes[..end - 1], ..call }, &mut short);
                prop_assert!(short.iter().all(|&number| number == 7));
            }
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

/// `make test-arm` names the sets that the emulated processor has, so that none is missed silently.
#[test]
fn the_expected_sets_are_there() {
    let expected = std::env::var("TINYSAVER_EXPECTED_KERNELS").unwrap_or_else(|_| "scalar".into());
    let found: Vec<&str> = choice::runnable().map(|kernels| kernels.name).collect();
    for name in expected.split(',') {
        assert!(found.contains(&format!("int8-{name}").as_str()), "no {name} among {found:?}");
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
        let Some(dot) = kernels.dot else { continue };
        let epilogue = Epilogue::new(vec![0; 2], vec![1.0; 2], bounds);
        let weights = DotWeights::new(&[vec![1, 2], vec![3, 4]], 1, dot.packing, epilogue).unwrap();
        let input = vec![1; 2 * dot.packing.group - 1];
        let mut call = DotGemm {
            input: &input,
            columns: 2,
            row_pitch: 0,
            pixel_pitch: 2,
            run_pitch: 0,
            pixels: 2,
            weights: &weights,
            output_stride: 2,
        };
        (dot.gemm)(&call, &mut output);
        assert_eq!(output, [9; 3], "{}: the output is short", kernels.name);
        let mut output = vec![9; 4];
        call.pixel_pitch = dot.packing.group;
        (dot.gemm)(&call, &mut output);
        assert_eq!(output, [9; 4], "{}: the input is short", kernels.name);
        let mut weights = weights.clone();
        weights.packing.panel += 1;
        let call = DotGemm { weights: &weights, pixel_pitch: 0, ..call };
        if kernels.name != scalar::KERNELS.name {
            (dot.gemm)(&call, &mut output);
            assert_eq!(output, [9; 4], "{}: packed for another set", kernels.name);
        }
    }
}

#[test]
fn the_peak_loop_counts_its_products() {
    for kernels in others() {
        if let Some(peak) = kernels.peak {
            assert_eq!(peak(6), 2 * peak(3), "{}", kernels.name);
            assert!(peak(1) > 0);
        }
    }
}

#[test]
fn weights_beyond_i8_have_no_dot_form() {
    let packing = DotPacking { panel: 16, group: 4, offset: 0, least: i8::MIN };
    let weights = |weight| {
        let epilogue = Epilogue::new(vec![0], vec![1.0], Bounds::full(0));
        DotWeights::new(&[vec![1, weight]], 1, packing, epilogue)
    };
    assert!(weights(127).is_some() && weights(-128).is_some());
    assert!(weights(128).is_none() && weights(-129).is_none());
}
