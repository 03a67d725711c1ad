//! An inference allocates nothing: proved by an allocator that counts.
#![allow(unsafe_code, clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use tinysaver_engine::{Engine, Input, Int8Engine, KernelChoice};

struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is passed on to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The only test of this file, so that no other thread allocates meanwhile.
#[test]
fn an_inference_allocates_nothing() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    for name in ["mobile_qdq_u8", "mixed_qop_u8", "gated_qdq_s8"] {
        for choice in KernelChoice::runnable() {
            let mut engine = Int8Engine::load(&data.join(format!("{name}.onnx")), None, choice).unwrap();
            let picture = vec![100; engine.input().len()];
            let mut logits = vec![0.0; engine.classes()];
            let before = ALLOCATIONS.load(Ordering::SeqCst);
            for _ in 0..10 {
                engine.infer(Input::U8(&picture), &mut logits).unwrap();
            }
            assert_eq!(ALLOCATIONS.load(Ordering::SeqCst) - before, 0, "{name} {choice:?}");
        }
    }
}
