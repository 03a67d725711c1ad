//! Averages along x: one dot product of 16-bit samples and weights for each new pixel.

use super::axis::{GROUP, Taps};

/// Fills a row: `out[i] = (sum of samples x weights + half) >> shift`.
pub(super) type Dots = fn(taps: &Taps, samples: &[i16], shift: u32, out: &mut [i16]);

/// The fastest for this processor.
pub(super) fn fastest() -> Dots {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        return avx2::dots;
    }
    dots
}

/// In portable code.
pub(super) fn dots(taps: &Taps, samples: &[i16], shift: u32, out: &mut [i16]) {
    let half = (1 << shift) >> 1;
    let pixels = taps.starts.iter().zip(taps.weights.chunks_exact(taps.groups));
    for (out, (&start, weights)) in out.iter_mut().zip(pixels) {
        let (samples, _) = samples.get(start..).unwrap_or_default().as_chunks::<GROUP>();
        let sum: i32 = samples.iter().zip(weights).map(|(samples, weights)| dot(samples, weights)).sum();
        *out = narrow((sum + half) >> shift);
    }
}

fn dot(samples: &[i16; GROUP], weights: &[i16; GROUP]) -> i32 {
    samples.iter().zip(weights).map(|(&sample, &weight)| i32::from(sample) * i32::from(weight)).sum()
}

/// A number that was shifted into 15 bits.
#[expect(clippy::cast_possible_truncation, reason = "the shift was chosen so that it fits")]
pub(super) fn narrow(value: i32) -> i16 {
    value as i16
}

/// Eight pixels at once. (The compiler makes a good dot product of [`dot`], but adds up each vector by itself, which
/// costs more than the products.)
#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::*;

    use super::{GROUP, Taps};

    /// Reachable only through [`super::fastest`], that is after AVX2 was found.
    #[expect(unsafe_code, reason = "compiling for vectors that the target does not promise")]
    pub fn dots(taps: &Taps, samples: &[i16], shift: u32, out: &mut [i16]) {
        // SAFETY: AVX2 was found; the function itself is safe code.
        unsafe {
            match taps.groups {
                1 => eights::<1>(taps, samples, shift, out),
                2 => eights::<2>(taps, samples, shift, out),
                _ => super::dots(taps, samples, shift, out),
            }
        }
    }

    #[target_feature(enable = "avx2")]
    fn eights<const GROUPS: usize>(taps: &Taps, samples: &[i16], shift: u32, out: &mut [i16]) {
        let (starts, _) = taps.starts.as_chunks::<8>();
        let (weights, _) = taps.weights.as_chunks::<GROUPS>().0.as_chunks::<8>();
        let half = _mm256_set1_epi32((1 << shift) >> 1);
        let count = _mm_cvtsi32_si128(shift.cast_signed());
        let (blocks, rest) = out.as_chunks_mut::<8>();
        let done = blocks.len() * 8;
        for ((out, starts), weights) in blocks.iter_mut().zip(starts).zip(weights) {
            // Pixels i and i + 4 share a vector, so that the sums come out in order.
            let pair = |i: usize| {
                let (Some(a), Some(b), Some(v), Some(w)) =
                    (starts.get(i), starts.get(i + 4), weights.get(i), weights.get(i + 4))
                else {
                    return _mm256_setzero_si256();
                };
                products::<GROUPS>(samples, (*a, *b), (v, w))
            };
            let low = _mm256_hadd_epi32(pair(0), pair(1));
            let high = _mm256_hadd_epi32(pair(2), pair(3));
            let sums = _mm256_sra_epi32(_mm256_add_epi32(_mm256_hadd_epi32(low, high), half), count);
            *out = halves(_mm_packs_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256::<1>(sums)));
        }
        let rest_taps = taps.starts.iter().zip(taps.weights.as_chunks::<GROUPS>().0).skip(done);
        for (out, (&start, weights)) in rest.iter_mut().zip(rest_taps) {
            let (samples, _) = samples.get(start..).unwrap_or_default().as_chunks::<GROUP>();
            let sum: i32 = samples.iter().zip(weights).map(|(samples, weights)| super::dot(samples, weights)).sum();
            *out = super::narrow((sum + ((1 << shift) >> 1)) >> shift);
        }
    }

    /// Sums of neighbouring products: of one pixel in the lower half, of another in the upper.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn products<const GROUPS: usize>(
        samples: &[i16],
        starts: (usize, usize),
        weights: (&[[i16; GROUP]; GROUPS], &[[i16; GROUP]; GROUPS]),
    ) -> __m256i {
        let at = |start: usize| samples.get(start..).unwrap_or_default().as_chunks::<GROUP>().0.iter();
        let mut sum = _mm256_setzero_si256();
        for (((a, b), v), w) in at(starts.0).zip(at(starts.1)).zip(weights.0).zip(weights.1) {
            sum = _mm256_add_epi32(sum, _mm256_madd_epi16(both(a, b), both(v, w)));
        }
        sum
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn both(low: &[i16; GROUP], high: &[i16; GROUP]) -> __m256i {
        _mm256_set_m128i(vector(high), vector(low))
    }

    /// One load: the compiler sees that the eight numbers are neighbours.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn vector(&[a, b, c, d, e, f, g, h]: &[i16; GROUP]) -> __m128i {
        _mm_setr_epi16(a, b, c, d, e, f, g, h)
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "a lane of 16 bits")]
    fn halves(v: __m128i) -> [i16; 8] {
        [
            _mm_extract_epi16::<0>(v) as i16,
            _mm_extract_epi16::<1>(v) as i16,
            _mm_extract_epi16::<2>(v) as i16,
            _mm_extract_epi16::<3>(v) as i16,
            _mm_extract_epi16::<4>(v) as i16,
            _mm_extract_epi16::<5>(v) as i16,
            _mm_extract_epi16::<6>(v) as i16,
            _mm_extract_epi16::<7>(v) as i16,
        ]
    }
}
