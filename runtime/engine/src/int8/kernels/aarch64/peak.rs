//! How fast the processor multiplies at best: the instruction alone, on registers, without a load or a store.

use std::arch::aarch64::*;
use std::arch::asm;
use std::hint::black_box;

/// Independent sums: more than the instruction's latency times what can be begun in a cycle.
const SUMS: usize = 16;

/// Makes the loop for one instruction, of so many products.
macro_rules! peak {
    ($name:ident, $features:literal, $instruction:literal, $products:literal) => {
        /// Runs the loop; gives the products made.
        pub fn $name(rounds: u64) -> u64 {
            #[target_feature(enable = $features)]
            fn run(rounds: u64) -> [int32x4_t; SUMS] {
                let (inputs, weights) = (vdupq_n_s8(black_box(3)), vdupq_n_s8(black_box(1)));
                let mut sums = [vdupq_n_s32(0); SUMS];
                for _ in 0..rounds {
                    for sum in &mut sums {
                        // SAFETY: registers only; the instruction is there where this function can be reached.
                        unsafe {
                            asm!(
                                $instruction,
                                sum = inout(vreg) *sum, inputs = in(vreg) inputs, weights = in(vreg) weights,
                                options(pure, nomem, nostack, preserves_flags),
                            );
                        }
                    }
                }
                sums
            }
            // SAFETY: the features were found before this function could be reached; it touches no memory.
            black_box(unsafe { run(rounds) });
            rounds * (SUMS * $products) as u64
        }
    };
}

peak!(multiply_long, "neon", "smlal {sum:v}.8h, {inputs:v}.8b, {weights:v}.8b", 8);
peak!(signed_dot, "neon,dotprod", "sdot {sum:v}.4s, {inputs:v}.16b, {weights:v}.16b", 16);
peak!(matrix, "neon,i8mm", "usmmla {sum:v}.4s, {inputs:v}.16b, {weights:v}.16b", 32);
