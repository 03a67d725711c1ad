//! What a camera offers, asked in full.

use serde::Serialize;
use v4l::FourCC;
use v4l::frameinterval::FrameIntervalEnum;
use v4l::framesize::FrameSizeEnum;
use v4l::video::Capture;

use super::sys::{Interface, Node};
use crate::frame::PixelFormat;

/// A driver that goes on counting formats, sizes or rates for longer than this is not believed.
const MOST: usize = 256;

/// Sizes that a format comes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum SizeRange {
    /// One size.
    Discrete {
        /// Columns.
        width: u32,
        /// Rows.
        height: u32,
    },
    /// Every size from one to another, in steps.
    Stepwise {
        /// Fewest columns and rows.
        min: (u32, u32),
        /// Most columns and rows.
        max: (u32, u32),
        /// Columns and rows from one size to the next; at least 1.
        step: (u32, u32),
    },
}

impl SizeRange {
    /// The size of this range that comes nearest: the smallest that covers what is wished, or the largest.
    #[must_use]
    pub fn nearest(self, (width, height): (u32, u32)) -> (u32, u32) {
        match self {
            Self::Discrete { width, height } => (width, height),
            Self::Stepwise { min, max, step } => {
                let up = |wish: u32, min: u32, max: u32, step: u32| {
                    let steps = wish.clamp(min, max.max(min)).saturating_sub(min).div_ceil(step.max(1));
                    let size = min.saturating_add(steps.saturating_mul(step.max(1)));
                    if size > max { size.saturating_sub(step.max(1)).max(min) } else { size }
                };
                (up(width, min.0, max.0, step.0), up(height, min.1, max.1, step.1))
            }
        }
    }
}

/// Frame rates, in frames per second.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct RateRange {
    /// Slowest.
    pub min: f64,
    /// Fastest; the same where there is one rate only.
    pub max: f64,
}

/// A size with its rates.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SizeOffer {
    /// The size or sizes.
    #[serde(flatten)]
    pub size: SizeRange,
    /// Rates, of a range of sizes those at the size that is wished; empty where the driver does not tell.
    pub rates: Vec<RateRange>,
}

/// A format with its sizes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FormatOffer {
    /// V4L2's code.
    #[serde(serialize_with = "code")]
    pub fourcc: [u8; 4],
    /// The driver's name for it.
    pub description: String,
    /// What it is to us; `None`: not served.
    #[serde(skip)]
    pub format: Option<PixelFormat>,
    /// Whether we can use it.
    pub served: bool,
    /// Sizes; empty where the driver does not tell.
    pub sizes: Vec<SizeOffer>,
}

fn code<S: serde::Serializer>(fourcc: &[u8; 4], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&show(*fourcc))
}

/// A code as text.
pub(super) fn show(fourcc: [u8; 4]) -> String {
    String::from_utf8_lossy(&fourcc).trim_end().to_owned()
}

/// Everything that a camera offers. `wish` decides at which size the rates of a range of sizes are asked.
pub(super) fn offers(node: &Node, interface: Interface, wish: (u32, u32)) -> Vec<FormatOffer> {
    let formats = (0u32..).map_while(|index| node.format(interface, index)).take(MOST);
    let offer = |(fourcc, description): ([u8; 4], String)| {
        let format = PixelFormat::from_fourcc(fourcc);
        FormatOffer { fourcc, description, format, served: format.is_some(), sizes: sizes(node, fourcc, wish) }
    };
    formats.map(offer).collect()
}

fn sizes(node: &Node, fourcc: [u8; 4], wish: (u32, u32)) -> Vec<SizeOffer> {
    // Drivers without this list just take what they are asked for, and say what they made of it.
    let sizes = node.device().enum_framesizes(FourCC::new(&fourcc)).unwrap_or_default();
    let offer = |size: FrameSizeEnum| {
        let size = match size {
            FrameSizeEnum::Discrete(size) => SizeRange::Discrete { width: size.width, height: size.height },
            FrameSizeEnum::Stepwise(range) => SizeRange::Stepwise {
                min: (range.min_width, range.min_height),
                max: (range.max_width, range.max_height),
                step: (range.step_width.max(1), range.step_height.max(1)),
            },
        };
        SizeOffer { size, rates: rates(node, fourcc, size.nearest(wish)) }
    };
    sizes.into_iter().take(MOST).map(|size| offer(size.size)).collect()
}

fn rates(node: &Node, fourcc: [u8; 4], (width, height): (u32, u32)) -> Vec<RateRange> {
    let intervals = node.device().enum_frameintervals(FourCC::new(&fourcc), width, height).unwrap_or_default();
    let rate = |interval: v4l::Fraction| per_second(interval.numerator, interval.denominator);
    let range = |interval: FrameIntervalEnum| match interval {
        FrameIntervalEnum::Discrete(interval) => rate(interval).map(|rate| RateRange { min: rate, max: rate }),
        // The longest interval is the slowest rate.
        FrameIntervalEnum::Stepwise(range) => {
            rate(range.max).zip(rate(range.min)).map(|(min, max)| RateRange { min, max })
        }
    };
    intervals.into_iter().take(MOST).filter_map(|interval| range(interval.interval)).collect()
}

/// Frames per second of an interval in seconds, as a fraction.
pub(super) fn per_second(numerator: u32, denominator: u32) -> Option<f64> {
    (numerator > 0 && denominator > 0).then(|| f64::from(denominator) / f64::from(numerator))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_range_gives_the_smallest_size_that_covers_the_wish() {
        let range = SizeRange::Stepwise { min: (48, 48), max: (1296, 972), step: (16, 2) };
        assert_eq!(range.nearest((640, 480)), (640, 480));
        assert_eq!(range.nearest((641, 481)), (656, 482));
        assert_eq!(range.nearest((1, 1)), (48, 48));
        assert_eq!(range.nearest((4000, 4000)), (1296, 972));
        assert_eq!(SizeRange::Discrete { width: 320, height: 180 }.nearest((640, 480)), (320, 180));
        assert_eq!((per_second(1, 30), per_second(0, 30), per_second(1, 0)), (Some(30.0), None, None));
    }

    proptest! {
        #[test]
        fn a_size_is_always_in_its_range(min in 1u32..500, more in 0u32..5000, step in 0u32..70, wish in any::<u32>()) {
            let range = SizeRange::Stepwise { min: (min, min), max: (min + more, min + more), step: (step, 1) };
            let (width, height) = range.nearest((wish, wish));
            prop_assert!((min..=min + more).contains(&width) && (width - min) % step.max(1) == 0);
            prop_assert_eq!(height, wish.clamp(min, min + more));
        }
    }
}
