//! An inference allocates nothing: proved by an allocator that counts.
#![allow(unsafe_code, clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::path::Path;

use tinysaver_engine::{Engine, Input, Int8Engine, KernelChoice};

struct Counting;

thread_local! {
    /// Of this thread: the test harness allocates in another one meanwhile.
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call is passed on to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
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

#[test]
fn an_inference_allocates_nothing() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    for name in ["mobile_qdq_u8", "mixed_qop_u8", "gated_qdq_s8"] {
        for choice in KernelChoice::runnable() {
            let mut engine = Int8Engine::load(&data.join(format!("{name}.onnx")), None, choice).unwrap();
            let picture = vec![100; engine.input().len()];
            let mut logits = vec![0.0; engine.classes()];
            let before = ALLOCATIONS.get();
            for _ in 0..10 {
                engine.infer(Input::U8(&picture), &mut logits).unwrap();
            }
            assert_eq!(ALLOCATIONS.get() - before, 0, "{name} {choice:?}");
        }
    }
}
