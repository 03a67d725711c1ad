//! x86-64 with AVX-512 VNNI (Zen 4, Ice Lake and later): the product of bytes is one instruction.
#![allow(unsafe_code)]

mod depthwise;
mod finish;
mod gemm;
mod ops;

use super::{DotKernels, Kernels, avx2};

/// The set, if this processor has what it needs.
pub fn avx512() -> Option<Kernels> {
    let avx2 = avx2::kernels()?;
    let able = is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512vnni");
    able.then_some(Kernels {
        name: "int8-avx512vnni",
        dot: Some(DotKernels { packing: gemm::PACKING, gemm: gemm::gemm }),
        depthwise: depthwise::depthwise_512,
        prepare_depthwise: depthwise::prepare_512,
        ..avx2
    })
}
