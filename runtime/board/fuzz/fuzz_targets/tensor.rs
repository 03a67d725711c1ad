//! Frames to tensors, as a run makes them.

use tinysaver_board::{ChannelOrder, DecodeLimits, Filter, FramePreprocessor, Preprocess};
use tinysaver_core::{Element, InputSpec, Layout};

/// For tensors of `side` x `side` pixels of a crop.
pub fn maker(side: usize, crop_fraction: f64, limits: DecodeLimits) -> FramePreprocessor {
    let rule = Preprocess {
        crop_fraction,
        filter: Filter::Bicubic,
        channels: ChannelOrder::Rgb,
        mean: [0.0; 3],
        std: [1.0; 3],
    };
    let element = Element::U8 { scale: 1.0, zero_point: 0 };
    let spec = InputSpec { height: side, width: side, channels: 3, layout: Layout::Nhwc, element };
    FramePreprocessor::new(&rule, spec).expect("a rule in range").with_limits(limits).with_luma_grid()
}
