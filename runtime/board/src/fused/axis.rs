//! Which samples along one axis make up each new pixel, and with which weights, in fixed point.

use super::FrameTensorError;

/// Bits of a weight's fraction where the axis shrinks by less than 8.
const WEIGHT_BITS: u32 = 12;

/// The sum of a new pixel's weights stays within this, so that 15-bit samples times weights fit an `i32`.
const LARGEST_WEIGHT: f64 = 32_768.0;

/// More samples than this to a pixel would overflow 16-bit sums of bytes.
pub(crate) const LARGEST_RATIO: f64 = 128.0;

/// What one new pixel covers: a part of `first`, all of the `full` samples behind it, a part of the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub first: usize,
    pub first_weight: i16,
    pub full: usize,
    /// 0 where nothing behind the full ones is covered.
    pub last_weight: i16,
}

impl Span {
    /// Samples that have a weight above 0.
    pub fn len(&self) -> usize {
        1 + self.full + usize::from(self.last_weight > 0)
    }
}

/// The spans of all new pixels along one axis. All have the same sum of weights, so that one factor normalises all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Axis {
    pub spans: Vec<Span>,
    /// Sum of a span's weights.
    pub total: u32,
    /// Weight of a fully covered sample: a power of two, this many bits.
    pub full_bits: u32,
}

impl Axis {
    /// `pixels` new pixels over `length` of the `samples` samples from `start` on (both real-valued). Shrinking averages
    /// over what a pixel covers; enlarging interpolates between neighbours.
    ///
    /// # Errors
    /// More than [`LARGEST_RATIO`] samples to a pixel.
    pub fn new(start: f64, length: f64, pixels: usize, samples: usize) -> Result<Self, FrameTensorError> {
        let ratio = length / to_f64(pixels);
        if ratio > LARGEST_RATIO {
            return Err(FrameTensorError::TooFine { ratio });
        }
        Ok(if ratio < 1.0 {
            Self::enlarging(start, ratio, pixels, samples)
        } else {
            Self::shrinking(start, length, pixels, samples)
        })
    }

    fn shrinking(start: f64, length: f64, pixels: usize, samples: usize) -> Self {
        let ratio = length / to_f64(pixels);
        let full_bits = (0..=WEIGHT_BITS).rev().find(|&bits| ratio * power(bits) <= LARGEST_WEIGHT).unwrap_or(0);
        let full = 1usize << full_bits;
        // Every pixel covers the same whole number of weight steps; what that leaves over is split between both ends.
        let total = to_usize(ratio * power(full_bits) + 1e-6);
        let spare = length - to_f64(total * pixels) / power(full_bits);
        let furthest = (samples * full).saturating_sub(total * pixels);
        let origin = to_usize(((start + spare / 2.0) * power(full_bits)).round()).min(furthest);
        let spans = (0..pixels).map(|pixel| {
            let (from, to) = (origin + pixel * total, origin + (pixel + 1) * total);
            let (first, last) = (from / full, (to - 1) / full);
            if first == last {
                return Span { first, first_weight: weight(total), full: 0, last_weight: 0 };
            }
            let first_weight = weight(full - from % full);
            Span { first, first_weight, full: last - first - 1, last_weight: weight(to - last * full) }
        });
        Self { spans: spans.collect(), total: u32::try_from(total).unwrap_or(u32::MAX), full_bits }
    }

    fn enlarging(start: f64, ratio: f64, pixels: usize, samples: usize) -> Self {
        let full = 1usize << WEIGHT_BITS;
        let furthest = samples.saturating_sub(1) * full;
        let spans = (0..pixels).map(|pixel| {
            // Centres of pixels over centres of samples.
            let centre = start + (to_f64(pixel) + 0.5) * ratio - 0.5;
            let place = to_usize((centre * power(WEIGHT_BITS)).round()).min(furthest);
            let part = place % full;
            Span { first: place / full, first_weight: weight(full - part), full: 0, last_weight: weight(part) }
        });
        Self { spans: spans.collect(), total: 1 << WEIGHT_BITS, full_bits: WEIGHT_BITS }
    }

    /// First sample that is read and the one behind the last.
    pub fn extent(&self) -> (usize, usize) {
        let first = self.spans.iter().map(|span| span.first).min().unwrap_or(0);
        let end = self.spans.iter().map(|span| span.first + span.len()).max().unwrap_or(0);
        (first, end)
    }
}

/// Taps of a span are read in groups of this many.
pub(crate) const GROUP: usize = 8;

/// An axis unrolled for dot products: for each new pixel, groups of eight neighbouring samples with their weights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Taps {
    /// Each pixel's first sample, counted from the axis's first.
    pub starts: Vec<usize>,
    /// `groups` to a pixel; samples outside the span weigh 0.
    pub weights: Vec<[i16; GROUP]>,
    /// Groups to a pixel.
    pub groups: usize,
}

impl Taps {
    pub fn new(axis: &Axis) -> Self {
        let (origin, _) = axis.extent();
        let groups = axis.spans.iter().map(Span::len).max().unwrap_or(1).div_ceil(GROUP);
        let full = weight(1 << axis.full_bits);
        let mut weights = vec![[0; GROUP]; groups * axis.spans.len()];
        for (span, groups) in axis.spans.iter().zip(weights.chunks_exact_mut(groups)) {
            let values = [span.first_weight].into_iter().chain(std::iter::repeat_n(full, span.full));
            for (place, value) in groups.as_flattened_mut().iter_mut().zip(values.chain([span.last_weight])) {
                *place = value;
            }
        }
        Self { starts: axis.spans.iter().map(|span| span.first - origin).collect(), weights, groups }
    }
}

fn weight(steps: usize) -> i16 {
    i16::try_from(steps).unwrap_or(i16::MAX)
}

fn power(bits: u32) -> f64 {
    f64::from(1u32 << bits)
}

fn to_f64(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

/// Negative numbers become 0.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the cast saturates")]
fn to_usize(value: f64) -> usize {
    value as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn whole_ratios_have_whole_weights() {
        let axis = Axis::new(0.0, 8.0, 4, 8).unwrap();
        let span = |first| Span { first, first_weight: 4096, full: 0, last_weight: 4096 };
        assert_eq!(axis.spans, [span(0), span(2), span(4), span(6)]);
        let same = Axis::new(1.0, 3.0, 3, 5).unwrap();
        assert!(same.spans.iter().all(|span| span.len() == 1 && span.first_weight == 4096));
    }

    #[test]
    fn parts_are_weighed_as_they_are_covered() {
        let axis = Axis::new(30.0, 420.0, 160, 480).unwrap();
        // 2.625 samples: 1 + 1 + 0.625, then 0.375 + 1 + 1 + 0.25.
        assert_eq!(axis.spans[0], Span { first: 30, first_weight: 4096, full: 1, last_weight: 2560 });
        assert_eq!(axis.spans[1], Span { first: 32, first_weight: 1536, full: 2, last_weight: 1024 });
        assert_eq!((axis.total, axis.extent()), (10_752, (30, 450)));
    }

    #[test]
    fn enlarging_interpolates_and_stops_at_the_edges() {
        let axis = Axis::new(0.0, 2.0, 4, 2).unwrap();
        let weights: Vec<_> = axis.spans.iter().map(|s| (s.first, s.first_weight, s.last_weight)).collect();
        assert_eq!(weights, [(0, 4096, 0), (0, 3072, 1024), (0, 1024, 3072), (1, 4096, 0)]);
    }

    #[test]
    fn refuses_to_shrink_beyond_its_sums() {
        assert!(Axis::new(0.0, 1280.0, 10, 1280).is_ok());
        assert_eq!(Axis::new(0.0, 1290.0, 10, 1290), Err(FrameTensorError::TooFine { ratio: 129.0 }));
    }

    proptest! {
        #[test]
        fn spans_stay_inside_and_weigh_the_same(samples in 1usize..3000, pixels in 1usize..300, fraction in 0.01f64..=1.0) {
            let length = to_f64(samples) * fraction;
            let start = (to_f64(samples) - length) / 2.0;
            let Ok(axis) = Axis::new(start, length, pixels, samples) else { return Ok(()) };
            let full = 1u32 << axis.full_bits;
            let taps = Taps::new(&axis);
            for (pixel, span) in axis.spans.iter().enumerate() {
                prop_assert!(span.first + span.len() <= samples, "{span:?}");
                prop_assert!(span.first_weight > 0 && span.last_weight >= 0);
                let sum = span.first_weight as u32 + span.full as u32 * full + span.last_weight as u32;
                prop_assert_eq!(sum, axis.total);
                let unrolled = taps.weights[pixel * taps.groups..][..taps.groups].as_flattened();
                prop_assert_eq!(unrolled.iter().map(|&w| w as u32).sum::<u32>(), axis.total);
            }
            prop_assert!(axis.total <= 32_768);
        }
    }
}
