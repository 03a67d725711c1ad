//! A frame on its way to a tensor allocates nothing.

use tinysaver_board::{ChannelOrder, Colour, Filter, FramePreprocessor, FrameView, PixelFormat, Preprocess};
use tinysaver_core::{Element, InputSpec, Layout};

#[test]
fn a_frame_allocates_nothing_after_the_first() {
    let rule = Preprocess {
        crop_fraction: 0.875,
        filter: Filter::Bicubic,
        channels: ChannelOrder::Rgb,
        mean: [127.0; 3],
        std: [128.0; 3],
    };
    let quantised = Element::U8 { scale: 0.0157, zero_point: 127 };
    for (side, layout, element) in [(160, Layout::Nhwc, quantised), (260, Layout::Nchw, Element::F32)] {
        let spec = InputSpec { height: side, width: side, channels: 3, layout, element };
        let mut preprocessor = FramePreprocessor::new(&rule, spec).unwrap().with_luma_grid();
        for format in PixelFormat::ALL {
            let mut bytes = vec![100; 640 * 480 * 3];
            if format.is_compressed() {
                let pixels = std::mem::take(&mut bytes);
                jpeg_encoder::Encoder::new(&mut bytes, 80)
                    .encode(&pixels, 640, 480, jpeg_encoder::ColorType::Rgb)
                    .unwrap();
            }
            let frame = FrameView::contiguous(format, 640, 480, Colour::JPEG, &bytes, 0).unwrap();
            let first = allocation_counter::measure(|| assert!(preprocessor.tensor(&frame).is_ok()));
            assert!(first.count_total > 0, "{format}: buffers are made with the first frame");
            let made = allocation_counter::measure(|| assert!(preprocessor.tensor(&frame).is_ok()));
            assert_eq!(made.count_total, 0, "{format}");
            assert!(preprocessor.luma_grid().is_some());
        }
    }
}
