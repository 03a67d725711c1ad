//! A frame on its way to a tensor allocates nothing. A program of its own, because it brings its own allocator. Only
//! this thread's allocations count: the test harness's own thread makes some when it likes.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout as Memory, System};
use std::cell::Cell;

use tinysaver_board::{ChannelOrder, Colour, Filter, FramePreprocessor, FrameView, PixelFormat, Preprocess};
use tinysaver_core::{Element, InputSpec, Layout};

struct Counting;

thread_local! {
    // Neither made lazily nor dropped, so that the allocator can use it at any time.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: hands everything to the system's allocator, and counts.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, memory: Memory) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's own promise.
        unsafe { System.alloc(memory) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, memory: Memory) {
        // SAFETY: the caller's own promise.
        unsafe { System.dealloc(pointer, memory) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

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
            preprocessor.tensor(&frame).unwrap();
            let before = ALLOCATIONS.get();
            for _ in 0..3 {
                preprocessor.tensor(&frame).unwrap();
            }
            assert_eq!(ALLOCATIONS.get() - before, 0, "{format}");
            assert!(preprocessor.luma_grid().is_some());
        }
    }
}
