//! x86-64 with VNNI: `vpdpbusd` adds four products of an unsigned by a signed byte to a sum, exactly.
//!
//! Two sets: AVX-512 VNNI (Zen 4, Ice Lake and later), in vectors of 64 bytes; AVX-VNNI (Alder Lake, Zen 5 and later),
//! the same instruction in vectors of 32 bytes under another encoding.
#![allow(unsafe_code)]

mod add;
mod depthwise;
mod finish;
mod gemm;
mod gemm_half;
mod narrow;
mod ops;
mod peak;

use std::arch::x86_64::__cpuid;

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
        dot: Some(DotKernels {
            packing: gemm::PACKING,
            gemm: if halves_are_cheaper() { gemm::gemm_in_halves } else { gemm::gemm },
        }),
        add: add::add,
        depthwise: depthwise::depthwise_512,
        prepare_depthwise: depthwise::prepare_512,
        peak: Some(peak::wide),
        ..avx2
    })
}

/// Whether an instruction on 32 bytes costs this processor half of one on 64: AMD's Zen 4, of family 25. Later ones and
/// Intel's have whole ports for 64 bytes.
fn halves_are_cheaper() -> bool {
    let (vendor, version) = (__cpuid(0), __cpuid(1).eax);
    let is_amd = [vendor.ebx, vendor.edx, vendor.ecx].map(u32::to_le_bytes).concat() == b"AuthenticAMD";
    is_amd && (version >> 8 & 15) + (version >> 20 & 255) == 25
}

/// The set for AVX-512 VNNI with the other choice of what to do with half a vector of channels.
#[cfg(test)]
pub fn avx512_otherwise() -> Option<Kernels> {
    let gemm = if halves_are_cheaper() { gemm::gemm } else { gemm::gemm_in_halves };
    let dot = Some(DotKernels { packing: gemm::PACKING, gemm });
    avx512().map(|avx512| Kernels { name: "int8-avx512vnni for other processors", dot, ..avx512 })
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
