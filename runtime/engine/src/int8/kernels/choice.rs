//! Which set of kernels runs: one table of names, what each needs, and how it is found.

use std::str::FromStr;

use super::{Kernels, scalar};

/// Which kernels are to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KernelChoice {
    /// The fastest that this processor has.
    #[default]
    Fastest,
    /// Portable Rust: the definition.
    Scalar,
    /// x86-64 with AVX2 and FMA.
    Avx2,
    /// x86-64 with AVX-VNNI.
    AvxVnni,
    /// x86-64 with AVX-512 VNNI.
    Avx512Vnni,
    /// aarch64 with NEON.
    Neon,
    /// aarch64 with dot products.
    Dotprod,
    /// aarch64 with matrix products of bytes.
    I8mm,
}

/// A set that can be asked for.
struct Entry {
    name: &'static str,
    choice: KernelChoice,
    /// What a processor has to have.
    needs: &'static str,
    /// The set, if this processor has it.
    find: fn() -> Option<Kernels>,
}

/// All sets, each faster than those before it where a processor has both.
const TABLE: &[Entry] = &[
    Entry { name: "scalar", choice: KernelChoice::Scalar, needs: "nothing", find: || Some(scalar::KERNELS) },
    Entry { name: "avx2", choice: KernelChoice::Avx2, needs: "AVX2 with FMA", find: x86::avx2 },
    Entry { name: "avxvnni", choice: KernelChoice::AvxVnni, needs: "AVX-VNNI", find: x86::avxvnni },
    Entry {
        name: "avx512vnni",
        choice: KernelChoice::Avx512Vnni,
        needs: "AVX-512 VNNI with BW and VL",
        find: x86::avx512vnni,
    },
    Entry { name: "neon", choice: KernelChoice::Neon, needs: "NEON", find: arm::neon },
    Entry { name: "dotprod", choice: KernelChoice::Dotprod, needs: "dot products (FEAT_DotProd)", find: arm::dotprod },
    Entry { name: "i8mm", choice: KernelChoice::I8mm, needs: "matrix products of bytes (FEAT_I8MM)", find: arm::i8mm },
];

#[cfg(target_arch = "aarch64")]
use super::aarch64 as arm;

#[cfg(target_arch = "x86_64")]
mod x86 {
    pub use crate::int8::kernels::avx2::kernels as avx2;
    pub use crate::int8::kernels::vnni::{avx as avxvnni, avx512 as avx512vnni};
}

/// Other processors have none of these.
#[cfg(not(target_arch = "aarch64"))]
mod arm {
    use crate::int8::kernels::Kernels;

    pub fn neon() -> Option<Kernels> {
        None
    }

    pub fn dotprod() -> Option<Kernels> {
        None
    }

    pub fn i8mm() -> Option<Kernels> {
        None
    }
}

/// Other processors have none of these.
#[cfg(not(target_arch = "x86_64"))]
mod x86 {
    use crate::int8::kernels::Kernels;

    pub fn avx2() -> Option<Kernels> {
        None
    }

    pub fn avxvnni() -> Option<Kernels> {
        None
    }

    pub fn avx512vnni() -> Option<Kernels> {
        None
    }
}

impl FromStr for KernelChoice {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        if name.is_empty() || name == "auto" {
            return Ok(Self::Fastest);
        }
        let entry = TABLE.iter().find(|entry| entry.name == name);
        entry.map(|entry| entry.choice).ok_or_else(|| {
            let names: Vec<&str> = Self::names().collect();
            format!("there are no kernels '{name}'; choose one of {}", names.join(", "))
        })
    }
}

impl KernelChoice {
    /// Every name that stands for a choice.
    pub fn names() -> impl Iterator<Item = &'static str> {
        std::iter::once("auto").chain(TABLE.iter().map(|entry| entry.name))
    }

    /// Every choice that this processor can run, the fastest last.
    pub fn runnable() -> impl Iterator<Item = Self> {
        TABLE.iter().filter(|entry| (entry.find)().is_some()).map(|entry| entry.choice)
    }

    /// Makes 8-bit products as fast as this processor's instruction for them allows, in registers only; gives how many it
    /// made, for the caller to time. `None` where the kernels have no instruction for sums of such products.
    ///
    /// # Errors
    /// A set that this processor cannot run.
    pub fn multiply_at_peak(self, rounds: u64) -> Result<Option<u64>, String> {
        Ok(self.find()?.peak.map(|peak| peak(rounds)))
    }

    /// The set that a choice stands for.
    ///
    /// # Errors
    /// A set that this processor cannot run.
    pub(crate) fn find(self) -> Result<Kernels, String> {
        match TABLE.iter().find(|entry| entry.choice == self) {
            Some(entry) => (entry.find)().ok_or_else(|| format!("this processor has no {}", entry.needs)),
            None => Ok(runnable().last().unwrap_or(scalar::KERNELS)),
        }
    }
}

/// All sets that this processor can run, the fastest last.
pub fn runnable() -> impl Iterator<Item = Kernels> {
    KernelChoice::runnable().filter_map(|choice| choice.find().ok())
}
