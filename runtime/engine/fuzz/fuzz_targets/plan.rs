//! Made-up models: whatever compiles gives the same bits with the fastest kernels as with the scalar reference.
//!
//! The input's first bytes make a small network ([`net`]); the next ones may change it place by place ([`change`]); what
//! remains is the picture.
#![no_main]

mod change;
mod net;
mod quiet;

use std::path::Path;

use libfuzzer_sys::{Corpus, fuzz_target};
use prost::Message;
use tinysaver_engine::{Engine, Input, Int8Engine, KernelChoice};

/// More multiply-accumulates are not run: the reference is slow under AddressSanitizer.
const MOST_MACS: u64 = 300_000;

fuzz_target!(|bytes: &[u8]| -> Corpus {
    quiet::caught_panics();
    let mut bytes = net::Bytes(bytes);
    let changes = bytes.next() % 8;
    let mut model = net::model(&mut bytes);
    if let Some(graph) = model.graph.as_mut() {
        // Half of the networks stay as they are.
        for _ in 4..changes {
            change::change(graph, &[bytes.next(), bytes.next(), bytes.next(), bytes.next()]);
        }
    }
    let file = model.encode_to_vec();
    let load = |choice| Int8Engine::from_bytes(Path::new("fuzz.onnx"), &file, None, choice);
    let mut reference = match load(KernelChoice::Scalar) {
        Ok(reference) if reference.macs() <= MOST_MACS => reference,
        _ => return Corpus::Keep,
    };
    let Ok(mut fastest) = load(KernelChoice::Fastest) else { std::process::abort() };
    let length = reference.input().len();
    let steps: Vec<u8> = (0..length).map(|at| bytes.next() ^ (at as u8).wrapping_mul(37)).collect();
    let reals: Vec<f32> = steps.iter().map(|&step| f32::from(step) / 32.0 - 4.0).collect();
    let run = |engine: &mut Int8Engine| {
        let mut logits = vec![0.0f32; engine.classes()];
        let ran =
            engine.infer(Input::U8(&steps), &mut logits).or_else(|_| engine.infer(Input::F32(&reals), &mut logits));
        ran.map(|()| logits.iter().map(|logit| logit.to_bits()).collect::<Vec<u32>>())
            .map_err(|error| error.to_string())
    };
    if run(&mut reference) != run(&mut fastest) {
        std::process::abort();
    }
    Corpus::Keep
});
