//! An inference allocates nothing.
#![allow(clippy::unwrap_used, missing_docs)]

use std::num::NonZeroUsize;
use std::path::Path;

use tinysaver_engine::{Engine, Input, Int8Engine, KernelChoice, Threads};

#[test]
fn an_inference_allocates_nothing() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    for name in ["mobile_qdq_u8", "mixed_qop_u8", "gated_qdq_s8"] {
        for choice in KernelChoice::runnable() {
            let mut engine = Int8Engine::load(&data.join(format!("{name}.onnx")), None, choice).unwrap();
            let picture = vec![100; engine.input().len()];
            let mut logits = vec![0.0; engine.classes()];
            for count in [1, 2] {
                let count = NonZeroUsize::new(count).unwrap();
                engine.set_threads(&Threads::new(count, count).unwrap());
                let made = allocation_counter::measure(|| engine.infer(Input::U8(&picture), &mut logits).unwrap());
                assert_eq!(made.count_total, 0, "{name} {choice:?} {count} threads");
            }
        }
    }
}
