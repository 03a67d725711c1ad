//! Any bytes: the loader gives an engine or an error. No panic leaves it, and what it gives runs.
#![no_main]

mod quiet;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use libfuzzer_sys::{Corpus, fuzz_target};
use tinysaver_engine::{Input, KernelChoice, load_best};

fuzz_target!(|bytes: &[u8]| -> Corpus {
    quiet::caught_panics();
    let loaded = catch_unwind(|| load_best(Path::new("fuzz.onnx"), bytes.to_vec(), None, KernelChoice::Fastest));
    let Ok(loaded) = loaded else { std::process::abort() };
    let Ok(mut loaded) = loaded else { return Corpus::Keep };
    let (length, classes) = (loaded.engine.input().len(), loaded.engine.classes());
    if loaded.engine.macs() > 50_000_000 || length > 1 << 20 {
        return Corpus::Keep;
    }
    let mut logits = vec![0.0; classes];
    let ran = catch_unwind(AssertUnwindSafe(|| match loaded.engine.name() {
        name if name.starts_with("int8") => {
            let steps = vec![77; length];
            // A plan whose picture stays in real numbers takes those.
            let _ = loaded.engine.infer(Input::U8(&steps), &mut logits);
            let _ = loaded.engine.infer(Input::F32(&vec![0.5; length]), &mut logits);
        }
        _ => drop(loaded.engine.infer(Input::F32(&vec![0.5; length]), &mut logits)),
    }));
    if ran.is_err() {
        std::process::abort();
    }
    Corpus::Keep
});
