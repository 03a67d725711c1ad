//! The same instructions under the same names for vectors of 64, 32 and 16 bytes.

/// Makes the instructions' common use.
macro_rules! interleave {
    ($features:literal) => {
        /// Brings the bytes of four vectors together, lane by lane of 128 bits: four vectors of four bytes each of 16
        /// places.
        #[inline]
        #[target_feature(enable = $features)]
        pub fn interleave(a: Vector, b: Vector, c: Vector, d: Vector) -> [Vector; 4] {
            let ([ab_low, ab_high], [cd_low, cd_high]) = ([low_i8(a, b), high_i8(a, b)], [low_i8(c, d), high_i8(c, d)]);
            [low_i16(ab_low, cd_low), high_i16(ab_low, cd_low), low_i16(ab_high, cd_high), high_i16(ab_high, cd_high)]
        }
    };
}

/// 64 bytes.
pub mod wide {
    pub use std::arch::x86_64::{
        __m512 as Floats, __m512i as Vector, _mm512_add_epi32 as add_i32, _mm512_adds_epi16 as add_i16,
        _mm512_castsi512_ps as as_floats, _mm512_cvtepi32_ps as to_floats, _mm512_cvtps_epi32 as round,
        _mm512_fmadd_ps as fused, _mm512_loadu_ps as load_floats, _mm512_loadu_si512 as load,
        _mm512_max_epu8 as max_u8, _mm512_min_epu8 as min_u8, _mm512_mul_ps as multiply,
        _mm512_packs_epi32 as narrow_i32, _mm512_packus_epi16 as narrow_i16, _mm512_set1_epi8 as fill_i8,
        _mm512_set1_epi16 as fill_i16, _mm512_set1_epi32 as fill_i32, _mm512_set1_ps as fill_f32,
        _mm512_setzero_si512 as zero, _mm512_storeu_si512 as store, _mm512_unpackhi_epi8 as high_i8,
        _mm512_unpackhi_epi16 as high_i16, _mm512_unpacklo_epi8 as low_i8, _mm512_unpacklo_epi16 as low_i16,
    };

    interleave!("avx512f,avx512bw");
}

/// 32 bytes.
pub mod half {
    pub use std::arch::x86_64::{
        __m256 as Floats, __m256i as Vector, _mm256_add_epi32 as add_i32, _mm256_adds_epi16 as add_i16,
        _mm256_castsi256_ps as as_floats, _mm256_cvtepi32_ps as to_floats, _mm256_cvtps_epi32 as round,
        _mm256_fmadd_ps as fused, _mm256_loadu_ps as load_floats, _mm256_loadu_si256 as load,
        _mm256_max_epu8 as max_u8, _mm256_min_epu8 as min_u8, _mm256_mul_ps as multiply,
        _mm256_packs_epi32 as narrow_i32, _mm256_packus_epi16 as narrow_i16, _mm256_set1_epi8 as fill_i8,
        _mm256_set1_epi16 as fill_i16, _mm256_set1_epi32 as fill_i32, _mm256_set1_ps as fill_f32,
        _mm256_setzero_si256 as zero, _mm256_storeu_si256 as store, _mm256_unpackhi_epi8 as high_i8,
        _mm256_unpackhi_epi16 as high_i16, _mm256_unpacklo_epi8 as low_i8, _mm256_unpacklo_epi16 as low_i16,
    };

    interleave!("avx2");
}

/// 16 bytes.
pub mod quarter {
    pub use std::arch::x86_64::{
        __m128 as Floats, __m128i as Vector, _mm_add_epi32 as add_i32, _mm_adds_epi16 as add_i16,
        _mm_castsi128_ps as as_floats, _mm_cvtepi32_ps as to_floats, _mm_cvtps_epi32 as round, _mm_fmadd_ps as fused,
        _mm_loadu_ps as load_floats, _mm_loadu_si128 as load, _mm_max_epu8 as max_u8, _mm_min_epu8 as min_u8,
        _mm_mul_ps as multiply, _mm_packs_epi32 as narrow_i32, _mm_packus_epi16 as narrow_i16,
        _mm_set1_epi8 as fill_i8, _mm_set1_epi16 as fill_i16, _mm_set1_epi32 as fill_i32, _mm_set1_ps as fill_f32,
        _mm_setzero_si128 as zero, _mm_storeu_si128 as store, _mm_unpackhi_epi8 as high_i8,
        _mm_unpackhi_epi16 as high_i16, _mm_unpacklo_epi8 as low_i8, _mm_unpacklo_epi16 as low_i16,
    };

    interleave!("avx2");
}
