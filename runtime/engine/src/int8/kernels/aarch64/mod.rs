//! aarch64: NEON, which every such processor has, and the products of bytes that later ones have.
//!
//! | set | instruction | MACs an instruction | processors |
//! |---|---|---|---|
//! | neon | SMLAL, i16 by i16 | 4 | all: Cortex-A53, A57, A72 |
//! | dotprod | SDOT, i8 by i8 | 16 | ARMv8.2: Cortex-A55, A76, A78AE, Neoverse N1 |
//! | i8mm | USMMLA, u8 by i8 | 32 | ARMv8.6: Cortex-A510, A710, Neoverse V1 |
//!
//! `make mca` says how near the loops come to what the processors' pipelines can do.
#![allow(unsafe_code)]

mod add;
mod columns;
mod depthwise;
mod finish;
mod matrix;
mod multiply_long;
mod pairs;
mod peak;
mod signed_dot;
mod tile;

use std::arch::is_aarch64_feature_detected;

use super::{DotKernels, Kernels, scalar};

/// The set of every aarch64 processor.
pub fn neon() -> Option<Kernels> {
    is_aarch64_feature_detected!("neon").then_some(Kernels {
        name: "int8-neon",
        dot: Some(DotKernels { packing: multiply_long::PACKING, gemm: multiply_long::gemm }),
        dot_row: None,
        // Plain loops: the compiler may use NEON everywhere here, and does.
        widen: scalar::widen,
        gather: scalar::gather,
        multiply: scalar::multiply,
        winograd: None,
        gemm: pairs::gemm,
        depthwise: depthwise::depthwise,
        add: add::add,
        sum_pixels: add::sum_pixels,
        prepare_depthwise: |_, weights| weights,
        peak: Some(peak::multiply_long),
    })
}

/// The set of processors that have FEAT_DotProd.
pub fn dotprod() -> Option<Kernels> {
    let neon = neon().filter(|_| is_aarch64_feature_detected!("dotprod"))?;
    Some(Kernels {
        name: "int8-dotprod",
        dot: Some(DotKernels { packing: signed_dot::PACKING, gemm: signed_dot::gemm }),
        depthwise: columns::convolve,
        prepare_depthwise: columns::prepare,
        peak: Some(peak::signed_dot),
        ..neon
    })
}

/// The set of processors that have FEAT_I8MM, which all have dot products, too.
pub fn i8mm() -> Option<Kernels> {
    let dotprod = dotprod().filter(|_| is_aarch64_feature_detected!("i8mm"))?;
    Some(Kernels {
        name: "int8-i8mm",
        dot: Some(DotKernels { packing: matrix::PACKING, gemm: matrix::gemm }),
        peak: Some(peak::matrix),
        ..dotprod
    })
}
