use proptest::prelude::*;
use tract_onnx::tract_core::tract_linalg::routines::DepthwiseCF32;

/// The kernels that this processor can run.
fn kernels() -> Vec<DepthwiseCF32> {
    let mut kernels: Vec<DepthwiseCF32> = Vec::new();
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        kernels.push(super::avx2::depthwise);
    }
    if is_x86_feature_detected!("avx512f") {
        kernels.push(super::avx512::depthwise);
    }
    kernels
}

proptest! {
    /// A run of output positions over a window of `taps` neighbours, one channel vector apart.
    #[test]
    fn sums_are_those_of_the_definition(
        channels in 1usize..40, spare in 0usize..3, length in 0usize..11, taps in 1usize..6, stride in 1usize..3,
        seed in any::<u32>()
    ) {
        let number = |index: usize| (((index as u32).wrapping_mul(2_654_435_761) ^ seed) % 2000) as f32 / 1000.0 - 1.0;
        let kernel_stride = channels + spare;
        let input: Vec<f32> = (0..(length * stride + taps) * channels).map(number).collect();
        let kernel: Vec<f32> = (0..taps * kernel_stride).map(|index| number(index + 7)).collect();
        let bias: Vec<f32> = (0..channels).map(|index| number(index + 99)).collect();
        let indices: Vec<usize> = (0..taps).rev().collect();
        let offsets: Vec<isize> = (0..taps).map(|tap| (tap * channels) as isize).collect();
        for run in kernels() {
            let mut output = vec![f32::NAN; length * channels + 1];
            // SAFETY: the buffers are as long as the strides and counts say; `kernels` names what can run.
            unsafe {
                run(
                    input.as_ptr(), output.as_mut_ptr(), kernel.as_ptr(), &indices, &offsets, bias.as_ptr(), channels,
                    kernel_stride, length, (stride * channels) as isize, channels as isize,
                );
            }
            prop_assert!(output[length * channels].is_nan(), "nothing is written behind the end");
            for position in 0..length {
                for channel in 0..channels {
                    let sum = indices.iter().zip(&offsets).fold(bias[channel], |sum, (&tap, &offset)| {
                        let pixel = input[position * stride * channels + offset as usize + channel];
                        pixel.mul_add(kernel[tap * kernel_stride + channel], sum)
                    });
                    prop_assert_eq!(output[position * channels + channel], sum);
                }
            }
        }
    }
}
