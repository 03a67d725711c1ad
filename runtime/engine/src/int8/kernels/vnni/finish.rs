//! From exact sums to stored steps.

use std::arch::x86_64::{_mm256_permutevar8x32_epi32, _mm256_setr_epi32, _mm512_permutexvar_epi32, _mm512_setr_epi32};

use super::ops;
use crate::int8::quant::Bounds;
use crate::int8::weights::{Epilogue, SMALL_SUM};

/// A sum's bits added to those of this number add the sum to it.
const SHIFT: f32 = SMALL_SUM as f32;

/// Makes the epilogue for one width of vectors.
macro_rules! finish {
    ($name:ident, $ops:ident, $features:literal, $fused:literal, $doc:literal) => {
        #[doc = $doc]
        #[derive(Clone, Copy)]
        pub struct $name {
            zero_point: ops::$ops::Vector,
            least: ops::$ops::Vector,
            most: ops::$ops::Vector,
            /// Whether all of u8 is allowed and 0 stands for 0, as after most Relus: narrowing alone saturates to that.
            is_plain: bool,
        }

        impl $name {
            #[inline]
            #[target_feature(enable = $features)]
            pub fn new(bounds: Bounds) -> Self {
                let is_plain = bounds == Bounds::full(0);
                Self {
                    is_plain,
                    zero_point: ops::$ops::fill_i16(bounds.zero_point as i16),
                    least: ops::$ops::fill_i8((bounds.low as i32 + bounds.zero_point) as i8),
                    most: ops::$ops::fill_i8((bounds.high as i32 + bounds.zero_point) as i8),
                }
            }

            /// Whether the kernel may be one that was compiled as `RELU`: what is below 0 may become anything that is, and
            /// sums can be written into the bits of [`SHIFT`].
            #[inline]
            pub fn is_relu(&self, epilogue: &Epilogue) -> bool {
                self.is_plain && epilogue.is_small
            }

            /// The same with what it does to steps known where this is compiled, which leaves no branch.
            #[inline]
            pub fn known<const RELU: bool>(&self) -> Self {
                Self { is_plain: RELU, ..*self }
            }

            /// A vector of biases as sums are to begin with.
            #[inline]
            #[target_feature(enable = $fused)]
            pub fn begin<const RELU: bool>(bias: ops::$ops::Vector) -> ops::$ops::Vector {
                if RELU { ops::$ops::add_i32(bias, ops::$ops::fill_i32(SHIFT.to_bits() as i32)) } else { bias }
            }

            /// What [`Self::steps`] wants besides the scale.
            #[inline]
            #[target_feature(enable = $fused)]
            pub fn unshift(scale: ops::$ops::Floats) -> ops::$ops::Floats {
                ops::$ops::multiply(scale, ops::$ops::fill_f32(-SHIFT))
            }

            /// Scales and rounds sums that began with [`Self::begin`]. For a Relu without turning them into f32 first: the
            /// product with [`SHIFT`] is exact, as that is a power of two, so that the sum's own is rounded once, as ever.
            /// A sum below 0 comes out as another number below 0.
            #[inline]
            #[target_feature(enable = $fused)]
            pub fn steps<const RELU: bool>(
                &self,
                sums: ops::$ops::Vector,
                scale: ops::$ops::Floats,
                unshift: ops::$ops::Floats,
            ) -> ops::$ops::Vector {
                if RELU {
                    ops::$ops::round(ops::$ops::fused(ops::$ops::as_floats(sums), scale, unshift))
                } else {
                    self.scale(sums, scale)
                }
            }

            /// Scales and rounds sums, none of which leaves i32 thereby.
            #[inline]
            #[target_feature(enable = $features)]
            pub fn scale(&self, sums: ops::$ops::Vector, scale: ops::$ops::Floats) -> ops::$ops::Vector {
                ops::$ops::round(ops::$ops::multiply(ops::$ops::to_floats(sums), scale))
            }

            /// Adds the zero point to four vectors of steps and clamps them: the saturation of each narrowing does not
            /// change what the clamp gives. Each 128-bit lane gets four steps of every vector's own lane.
            #[inline]
            #[target_feature(enable = $features)]
            pub fn narrow(&self, [a, b, c, d]: [ops::$ops::Vector; 4]) -> ops::$ops::Vector {
                self.join(self.narrow_half(a, b), self.narrow_half(c, d))
            }

            /// The first half of [`Self::narrow`]: steps of i16.
            #[inline]
            #[target_feature(enable = $features)]
            pub fn narrow_half(&self, a: ops::$ops::Vector, b: ops::$ops::Vector) -> ops::$ops::Vector {
                let steps = ops::$ops::narrow_i32(a, b);
                if self.is_plain { steps } else { ops::$ops::add_i16(steps, self.zero_point) }
            }

            /// The second half of [`Self::narrow`]: from two vectors of the first.
            #[inline]
            #[target_feature(enable = $features)]
            pub fn join(&self, first: ops::$ops::Vector, second: ops::$ops::Vector) -> ops::$ops::Vector {
                use ops::$ops::{max_u8, min_u8, narrow_i16};
                let bytes = narrow_i16(first, second);
                if self.is_plain { bytes } else { min_u8(max_u8(bytes, self.least), self.most) }
            }
        }
    };
}

finish!(FinishWide, wide, "avx512f,avx512bw", "avx512f,avx512bw", "The epilogue's constants in vectors of 64 bytes.");
finish!(FinishHalf, half, "avx2", "avx2,fma", "The epilogue's constants in vectors of 32 bytes.");
finish!(FinishQuarter, quarter, "avx2", "avx2,fma", "The epilogue's constants in vectors of 16 bytes.");

impl FinishWide {
    /// As [`Self::narrow`], in order: all of the first vector, then all of the second, and so on.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    pub fn narrow_in_order(&self, steps: [ops::wide::Vector; 4]) -> ops::wide::Vector {
        let order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
        _mm512_permutexvar_epi32(order, self.narrow(steps))
    }
}

impl FinishHalf {
    /// As [`Self::narrow`], in order: all of the first vector, then all of the second, and so on.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub fn narrow_in_order(&self, steps: [ops::half::Vector; 4]) -> ops::half::Vector {
        _mm256_permutevar8x32_epi32(self.narrow(steps), _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7))
    }
}
