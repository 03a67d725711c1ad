//! How fast the processor multiplies at best: the instruction alone, on registers, without a load or a store.

use std::arch::x86_64::*;
use std::hint::black_box;

/// Independent sums: more than the instruction's latency times what can be begun in a cycle.
const SUMS: usize = 16;

/// Makes the loop for one vector width.
macro_rules! peak {
    ($name:ident, $features:literal, $vector:ty, $fill:path, $dot:path) => {
        /// Runs the loop; gives the products made.
        pub fn $name(rounds: u64) -> u64 {
            #[target_feature(enable = $features)]
            fn run(rounds: u64) -> [$vector; SUMS] {
                let (inputs, weights) = ($fill(black_box(0x0102_0304)), $fill(black_box(0x0101_0101)));
                let mut sums = [$fill(0); SUMS];
                for _ in 0..rounds {
                    for sum in &mut sums {
                        *sum = $dot(*sum, inputs, weights);
                    }
                }
                sums
            }
            // SAFETY: the features were found before this function could be reached; it touches no memory.
            black_box(unsafe { run(rounds) });
            rounds * (SUMS * size_of::<$vector>()) as u64
        }
    };
}

peak!(wide, "avx512f,avx512vnni", __m512i, _mm512_set1_epi32, _mm512_dpbusd_epi32);
peak!(half, "avx2,avxvnni", __m256i, _mm256_set1_epi32, _mm256_dpbusd_avx_epi32);
