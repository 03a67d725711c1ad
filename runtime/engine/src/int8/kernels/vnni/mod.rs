//! x86-64 with VNNI: `vpdpbusd` adds four products of an unsigned by a signed byte to a sum, exactly.
//!
//! Two sets: AVX-512 VNNI (Zen 4, Ice Lake and later), in vectors of 64 bytes; AVX-VNNI (Alder Lake, Zen 5 and later),
//! the same instruction in vectors of 32 bytes under another encoding.
#![allow(unsafe_code)]

mod depthwise;
mod finish;
mod gemm;
mod gemm_half;
mod narrow;
mod ops;
mod peak;

use super::{DotKernels, Kernels, avx2};
pub use finish::FinishHalf;

/// The set for AVX-512 VNNI, if this processor has what it needs.
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
        peak: Some(peak::wide),
        ..avx2
    })
}

/// The set for AVX-VNNI, if this processor has what it needs.
pub fn avx() -> Option<Kernels> {
    let avx2 = avx2::kernels()?;
    is_x86_feature_detected!("avxvnni").then_some(Kernels {
        name: "int8-avxvnni",
        dot: Some(DotKernels { packing: gemm::PACKING, gemm: gemm_half::avx::gemm }),
        depthwise: depthwise::avx::depthwise,
        prepare_depthwise: depthwise::prepare_256,
        peak: Some(peak::half),
        ..avx2
    })
}

/// The code of [`avx`] with the instruction as AVX-512 encodes it, so that its logic is tested where only that runs.
#[cfg(test)]
pub fn avx_by_avx512() -> Option<Kernels> {
    let avx512 = avx512()?;
    Some(Kernels {
        name: "int8-avxvnni in AVX-512's encoding",
        dot: Some(DotKernels { packing: gemm::PACKING, gemm: gemm_half::avx512::gemm }),
        depthwise: depthwise::depthwise_256,
        prepare_depthwise: depthwise::prepare_256,
        ..avx512
    })
}
