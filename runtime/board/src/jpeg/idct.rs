//! Inverse DCT of a block's low frequencies: 1, 2, 4 or 8 samples along each side instead of always 8.
//!
//! The `N` lowest of eight frequencies are those of the same picture at `N / 8` of its size: an `N`-point inverse gives
//! it directly. Separable, in 32-bit integers.

use std::ops::{Add, Sub};

/// Fraction bits of the cosines.
const BITS: u32 = 12;

/// Fraction bits that are kept between the two passes.
const BETWEEN: u32 = 2;

/// More than a picture's coefficients can be (1024, and half of a quantisation step): larger ones are damage and are cut to
/// it, so that no sum leaves an `i32`. The factors of a sum are 30606 at most: 2047 * 30606 / 2^10 * 30606 is below 2^31.
pub(super) const LARGEST_COEFFICIENT: i32 = 2047;

/// `sqrt(2) * cos(numerator * pi / 16)`.
const C: [i32; 8] = [5793, 5681, 5352, 4816, 4096, 3218, 2217, 1130];

/// As many numbers as a vector has lanes.
#[derive(Clone, Copy)]
pub(super) struct Lanes<const L: usize>([i32; L]);

impl<const L: usize> Lanes<L> {
    #[inline(always)]
    fn times(mut self, factor: i32) -> Self {
        for value in &mut self.0 {
            *value *= factor;
        }
        self
    }

    /// Rounded.
    #[inline(always)]
    fn shifted(mut self, bits: u32) -> Self {
        for value in &mut self.0 {
            *value = (*value + ((1 << bits) >> 1)) >> bits;
        }
        self
    }
}

impl<const L: usize> Add for Lanes<L> {
    type Output = Self;

    #[inline(always)]
    fn add(mut self, other: Self) -> Self {
        for (a, b) in self.0.iter_mut().zip(&other.0) {
            *a += b;
        }
        self
    }
}

impl<const L: usize> Sub for Lanes<L> {
    type Output = Self;

    #[inline(always)]
    fn sub(mut self, other: Self) -> Self {
        for (a, b) in self.0.iter_mut().zip(&other.0) {
            *a -= b;
        }
        self
    }
}

/// The inverse along one side of `N` samples, all lanes at once; results have [`BITS`] more fraction bits.
pub(super) trait Inverse<const N: usize> {
    fn inverse<const L: usize>(f: [Lanes<L>; N]) -> [Lanes<L>; N];
}

/// Carries the implementations of [`Inverse`].
pub(super) struct Points;

impl Inverse<1> for Points {
    #[inline(always)]
    fn inverse<const L: usize>([a]: [Lanes<L>; 1]) -> [Lanes<L>; 1] {
        [a.times(C[4])]
    }
}

impl Inverse<2> for Points {
    #[inline(always)]
    fn inverse<const L: usize>([a, b]: [Lanes<L>; 2]) -> [Lanes<L>; 2] {
        // sqrt(2) * cos(pi / 4) is 1.
        [(a + b).times(C[4]), (a - b).times(C[4])]
    }
}

impl Inverse<4> for Points {
    #[inline(always)]
    fn inverse<const L: usize>([a, b, c, d]: [Lanes<L>; 4]) -> [Lanes<L>; 4] {
        let (plus, minus) = ((a + c).times(C[4]), (a - c).times(C[4]));
        let (outer, inner) = (b.times(C[2]) + d.times(C[6]), b.times(C[6]) - d.times(C[2]));
        [plus + outer, minus + inner, minus - inner, plus - outer]
    }
}

impl Inverse<8> for Points {
    #[inline(always)]
    fn inverse<const L: usize>([a, b, c, d, e, f, g, h]: [Lanes<L>; 8]) -> [Lanes<L>; 8] {
        // Even frequencies are those of four samples; odd ones are of opposite sign in the other half.
        let [p, q, r, s] = <Self as Inverse<4>>::inverse([a, c, e, g]);
        let t = (b.times(C[1]) + d.times(C[3])) + (f.times(C[5]) + h.times(C[7]));
        let u = (b.times(C[3]) - d.times(C[7])) - (f.times(C[1]) + h.times(C[5]));
        let v = (b.times(C[5]) - d.times(C[1])) + (f.times(C[7]) + h.times(C[3]));
        let w = (b.times(C[7]) - d.times(C[5])) + (f.times(C[3]) - h.times(C[1]));
        [p + t, q + u, r + v, s + w, s - w, r - v, q - u, p - t]
    }
}

/// Turns the block's lowest `X` x `Y` frequencies into samples: `Y` rows of `X`, `stride` bytes apart.
#[inline(always)]
pub(super) fn samples<const X: usize, const Y: usize>(block: &[i16; 64], out: &mut [u8], stride: usize)
where
    Points: Inverse<X> + Inverse<Y>,
{
    let mut columns = [Lanes([0; X]); Y];
    for (lanes, row) in columns.iter_mut().zip(block.as_chunks::<8>().0) {
        lanes.0.iter_mut().zip(row).for_each(|(lane, &coefficient)| *lane = i32::from(coefficient));
    }
    let mut down = <Points as Inverse<Y>>::inverse(columns);
    for row in &mut down {
        *row = row.shifted(BITS - BETWEEN);
    }
    let across = <Points as Inverse<X>>::inverse(turned(&down));
    for (row, levels) in out.chunks_mut(stride).zip(turned(&across)) {
        if let Some(row) = row.first_chunk_mut::<X>() {
            // Three bits: a block's mean is stored eightfold.
            let levels = levels.shifted(BITS + BETWEEN + 3);
            for (place, &value) in row.iter_mut().zip(&levels.0) {
                *place = level(value);
            }
        }
    }
}

#[inline(always)]
fn turned<const X: usize, const Y: usize>(rows: &[Lanes<X>; Y]) -> [Lanes<Y>; X] {
    let mut columns = [Lanes([0; Y]); X];
    for (y, row) in rows.iter().enumerate() {
        for (column, &value) in columns.iter_mut().zip(&row.0) {
            if let Some(place) = column.0.get_mut(y) {
                *place = value;
            }
        }
    }
    columns
}

/// A whole block of one level.
#[inline(always)]
pub(super) fn flat(mean: i16, size: (usize, usize), out: &mut [u8], stride: usize) {
    let level = level((i32::from(mean) + 4) >> 3);
    for row in out.chunks_mut(stride).take(size.1) {
        if let Some(row) = row.get_mut(..size.0) {
            row.fill(level);
        }
    }
}

fn level(value: i32) -> u8 {
    (value + 128).clamp(0, 255) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition, in floating point: an orthonormal inverse of the lowest frequencies.
    fn exact(block: &[i16; 64], width: usize, height: usize, x: usize, y: usize) -> f64 {
        let basis = |n: usize, place: usize, frequency: usize| {
            let angle = (2 * place + 1) as f64 * frequency as f64 * std::f64::consts::PI / (2 * n) as f64;
            angle.cos() * if frequency == 0 { 8f64.sqrt().recip() } else { 0.5 }
        };
        let terms = (0..height).flat_map(|v| (0..width).map(move |u| (u, v)));
        let sum: f64 = terms.map(|(u, v)| f64::from(block[v * 8 + u]) * basis(width, x, u) * basis(height, y, v)).sum();
        (sum + 128.0).clamp(0.0, 255.0)
    }

    fn check<const X: usize, const Y: usize>()
    where
        Points: Inverse<X> + Inverse<Y>,
    {
        let mut state = 9u32;
        for spread in [20, 200, 1500] {
            let block: [i16; 64] = std::array::from_fn(|i| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                ((state >> 16) as i32 % (spread / (1 + i as i32 / 4)).max(1) * if state & 1 == 0 { 1 } else { -1 })
                    as i16
            });
            let mut out = [0u8; 8 * 10];
            samples::<X, Y>(&block, &mut out, 10);
            for y in 0..Y {
                for x in 0..X {
                    let (got, wanted) = (f64::from(out[y * 10 + x]), exact(&block, X, Y, x, y));
                    assert!((got - wanted).abs() < 1.0, "{X}x{Y} {spread} ({x}, {y}): {got} for {wanted}");
                }
            }
            assert!(out.iter().skip(X).step_by(10).all(|&beside| beside == 0), "writes beside the block");
        }
    }

    #[test]
    fn every_size_is_near_the_definition() {
        check::<8, 8>();
        check::<8, 4>();
        check::<4, 8>();
        check::<4, 4>();
        check::<2, 4>();
        check::<2, 2>();
        check::<8, 1>();
        check::<1, 2>();
        check::<1, 1>();
    }

    /// The coefficients that add up the most at a sample, and those that do so downwards.
    fn check_largest<const X: usize, const Y: usize>()
    where
        Points: Inverse<X> + Inverse<Y>,
    {
        for (x, y) in (0..Y).flat_map(|y| (0..X).map(move |x| (x, y))) {
            let up = |n: usize, place: usize, frequency: usize| {
                ((2 * place + 1) as f64 * frequency as f64 * std::f64::consts::PI / (2 * n) as f64).cos() >= 0.0
            };
            let block: [i16; 64] = std::array::from_fn(|i| {
                let (u, v) = (i % 8, i / 8);
                LARGEST_COEFFICIENT as i16 * if up(X, x, u) == up(Y, y, v) { 1 } else { -1 }
            });
            let mut out = [0u8; 64];
            samples::<X, Y>(&block, &mut out, 8);
            assert_eq!(out[y * 8 + x], 255, "{X}x{Y} ({x}, {y})");
            samples::<X, Y>(&block.map(|value| -value), &mut out, 8);
            assert_eq!(out[y * 8 + x], 0, "{X}x{Y} ({x}, {y})");
        }
    }

    #[test]
    fn the_largest_coefficients_saturate_and_do_not_wrap() {
        check_largest::<8, 8>();
        check_largest::<8, 4>();
        check_largest::<4, 8>();
        check_largest::<4, 4>();
        check_largest::<2, 2>();
        check_largest::<1, 1>();
    }

    #[test]
    fn a_flat_block_is_the_same_either_way() {
        for mean in [-2000i16, -1024, -5, 0, 3, 4, 77, 1023, 2000] {
            let (mut one, mut other) = ([0u8; 64], [0u8; 64]);
            let mut block = [0; 64];
            block[0] = mean;
            samples::<8, 8>(&block, &mut one, 8);
            flat(mean, (8, 8), &mut other, 8);
            assert_eq!(one, other, "{mean}");
        }
    }
}
