//! The int8 backend against onnxruntime's answers, and what it must not do while it answers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::path::{Path, PathBuf};

use tinysaver_engine::{Engine, Input, Int8Engine, KernelChoice, LoadError};

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data")
}

fn check(name: &str, steps_allowed: f32, choice: KernelChoice) {
    let path = data().join(format!("{name}.onnx"));
    let mut engine = Int8Engine::load(&path, None, choice).unwrap_or_else(|error| panic!("{name}: {error}"));
    let golden = std::fs::read(path.with_extension("golden")).unwrap();
    let (picture, logits) = golden.split_at(engine.input().len());
    let expected: Vec<f32> = logits.chunks_exact(4).map(|word| f32::from_le_bytes(word.try_into().unwrap())).collect();
    let mut logits = vec![0.0; engine.classes()];
    assert_eq!(logits.len(), expected.len(), "{name}");
    // Twice: the second frame must not see the first.
    for _ in 0..2 {
        engine.infer(Input::U8(picture), &mut logits).unwrap();
    }
    let smallest = |least: f32, logit: &f32| if *logit == 0.0 { least } else { least.min(logit.abs()) };
    let step = logits.iter().chain(&expected).fold(f32::INFINITY, smallest);
    let furthest = logits.iter().zip(&expected).map(|(ours, theirs)| (ours - theirs).abs() / step).fold(0.0, f32::max);
    assert!(furthest <= steps_allowed * 1.001, "{name}: {furthest} steps from onnxruntime");
}

/// The net that is left in f32 between its convolutions, which needs a fallback for single nodes.
const NOT_COVERED: &str = "gated_qop_u8";

fn models() -> Vec<String> {
    let files = std::fs::read_dir(data()).unwrap().map(|entry| entry.unwrap().path());
    let models = files.filter(|path| path.extension().is_some_and(|extension| extension == "onnx"));
    let names = models.map(|path| path.file_stem().unwrap().to_string_lossy().into_owned());
    names.filter(|name| name != NOT_COVERED).collect()
}

/// onnxruntime's own sigmoid is an approximation, and parts of signed QDQ graphs it runs in f32: there a net may end a
/// step away. Everything else is equal bit for bit.
fn steps_allowed(name: &str) -> f32 {
    if name.starts_with("gated") || name.ends_with("qdq_s8") { 1.0 } else { 0.0 }
}

#[test]
fn every_model_answers_as_onnxruntime() {
    let models = models();
    assert!(models.len() >= 11);
    for name in models {
        for choice in KernelChoice::runnable() {
            check(&name, steps_allowed(&name), choice);
        }
    }
}

#[test]
fn wrong_buffers_are_refused() {
    let path = data().join("mobile_qdq_u8.onnx");
    let mut engine = Int8Engine::load(&path, None, KernelChoice::Fastest).unwrap();
    let mut logits = vec![0.0; engine.classes()];
    let picture = vec![0; engine.input().len()];
    assert!(engine.infer(Input::U8(&picture[1..]), &mut logits).is_err());
    assert!(engine.infer(Input::F32(&vec![0.0; picture.len()]), &mut logits).is_err());
    assert!(engine.infer(Input::U8(&picture), &mut logits[1..]).is_err());
}

/// A file with any few bytes changed is run or refused; a plan that is made runs.
#[test]
fn damaged_files_do_no_harm() {
    let folder = std::env::temp_dir().join(format!("tinysaver-damaged-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let mut state = 0x9E37_79B9_7F4A_7C15u64;
    let mut random = move |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let (mut ran, mut refused) = (0, 0);
    for name in models() {
        let whole = std::fs::read(data().join(format!("{name}.onnx"))).unwrap();
        for _ in 0..150 {
            let mut bytes = whole.clone();
            match random(4) {
                0 => bytes.truncate(random(whole.len())),
                changes => (0..changes * changes).for_each(|_| bytes[random(whole.len())] ^= 1 << random(8)),
            }
            let path = folder.join("damaged.onnx");
            std::fs::write(&path, &bytes).unwrap();
            match Int8Engine::load(&path, None, KernelChoice::Fastest) {
                Ok(mut engine) => {
                    let picture = vec![77; engine.input().len()];
                    let mut logits = vec![0.0; engine.classes()];
                    engine.infer(Input::U8(&picture), &mut logits).unwrap();
                    ran += 1;
                }
                Err(error) => {
                    assert!(!error.to_string().is_empty());
                    refused += 1;
                }
            }
        }
    }
    std::fs::remove_dir_all(&folder).unwrap();
    assert!(ran > 0 && refused > 0, "{ran} ran, {refused} refused");
}

#[test]
fn the_best_backend_is_taken_and_said_why() {
    let path = data().join("mobile_qdq_u8.onnx");
    let loaded =
        tinysaver_engine::load_best(&path, &std::fs::read(&path).unwrap(), None, KernelChoice::Scalar).unwrap();
    assert_eq!((loaded.engine.name(), loaded.not_int8_because), ("int8-scalar", None));
    let report = tinysaver_engine::inspect(&path, None).unwrap();
    assert!(report.operators.iter().all(|operator| operator.engine == Some("int8")));
    assert_eq!(report.macs, Some(loaded.engine.macs()));
}

#[test]
fn kernels_are_chosen_by_name() {
    assert_eq!("avx2".parse(), Ok(KernelChoice::Avx2));
    assert_eq!("avx512vnni".parse(), Ok(KernelChoice::Avx512Vnni));
    assert_eq!("auto".parse(), Ok(KernelChoice::Fastest));
    assert!("fast".parse::<KernelChoice>().unwrap_err().contains("scalar"));
}

#[test]
fn a_graph_that_is_not_covered_is_refused_with_the_node() {
    let path = data().join(format!("{NOT_COVERED}.onnx"));
    let error = Int8Engine::load(&path, None, KernelChoice::Fastest).unwrap_err();
    let LoadError::Int8 { reason, .. } = error else { panic!("{error}") };
    assert_eq!(reason.op, "GlobalAveragePool");
    let report = tinysaver_engine::inspect(&path, None).unwrap();
    assert_eq!(report.not_int8_because, Some(reason.to_string()));
}
