//! The one kernel that tract lacks on x86-64: depthwise convolution in f32 with the channels last. Where it is
//! registered, tract turns a graph channel-last by itself, and depthwise networks run about twice as fast
//! (`docs/figures/f32.md`). On ARM tract has its own.

// Each block says why it is sound; tract's caller guarantees what `DepthwiseCF32` asks for.
#![allow(unsafe_code)]

/// What does not depend on the vectors: needs `WIDTH`, `mask` and `positions`.
macro_rules! driver {
    ($features:literal) => {
        /// Output positions that share the loads of their weights.
        const TOGETHER: usize = 4;

        /// As tract's `DepthwiseCF32`.
        ///
        /// # Safety
        /// What `DepthwiseCF32` asks for, and a processor with the features.
        #[expect(clippy::too_many_arguments, reason = "tract's signature")]
        pub unsafe fn depthwise(
            input: *const f32,
            output: *mut f32,
            kernel: *const f32,
            taps: &[usize],
            offsets: &[isize],
            bias: *const f32,
            channels: usize,
            kernel_stride: usize,
            length: usize,
            input_stride: isize,
            output_stride: isize,
        ) {
            let call = Call {
                input,
                output,
                kernel,
                taps,
                offsets,
                bias,
                channels,
                kernel_stride,
                length,
                input_stride,
                output_stride,
            };
            // SAFETY: the caller vouches for the pointers and, through the registration, for the processor.
            unsafe { run(call) }
        }

        #[target_feature(enable = $features)]
        unsafe fn run(call: Call<'_>) {
            for first in (0..call.channels).step_by(WIDTH) {
                let mask = mask(call.channels - first);
                let whole = call.length - call.length % TOGETHER;
                // SAFETY: the positions are below `length`, the masked channels below `channels`.
                unsafe {
                    (0..whole).step_by(TOGETHER).for_each(|at| positions::<TOGETHER>(&call, at, first, mask));
                    (whole..call.length).for_each(|at| positions::<1>(&call, at, first, mask));
                }
            }
        }
    };
}

mod avx2;
mod avx512;
#[cfg(test)]
mod tests;

use tract_onnx::tract_core::tract_linalg::isa::{Arch, Isa, IsaReq};
use tract_onnx::tract_core::tract_linalg::routines::{DepthwiseCF32, Func, Routine, RoutineFactory};

/// Built without the kernels, for `make bench-f32` to compare with: nothing on x86-64 has what they then ask for.
const IS_OFF: bool = option_env!("TINYSAVER_PLAIN_TRACT").is_some();

const fn routine(name: &'static str, needs: &'static [Isa], run: DepthwiseCF32) -> Routine {
    let isa = IsaReq::ANY.needing(if IS_OFF { &[Isa::Arm] } else { needs });
    let factory = RoutineFactory::DepthwiseCF32 { name, run };
    Routine { func: Func::DepthwiseC, arch: Some(Arch::X86_64), isa, boost: 0, round_trip: false, factory }
}

inventory::submit! {
    routine("tinysaver_avx2_depthwise_c_f32", &[Isa::X86_64Avx2, Isa::X86_64Fma], avx2::depthwise)
}

inventory::submit! {
    routine("tinysaver_avx512_depthwise_c_f32", &[Isa::X86_64Avx512f], avx512::depthwise)
}

/// What a call of [`DepthwiseCF32`] says.
#[derive(Clone, Copy)]
struct Call<'a> {
    input: *const f32,
    output: *mut f32,
    kernel: *const f32,
    taps: &'a [usize],
    offsets: &'a [isize],
    bias: *const f32,
    channels: usize,
    kernel_stride: usize,
    length: usize,
    input_stride: isize,
    output_stride: isize,
}
