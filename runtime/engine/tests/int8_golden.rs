//! The int8 backend against onnxruntime's answers, and what it must not do while it answers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::path::{Path, PathBuf};

use tinysaver_engine::{Engine, Input, Int8Engine, KernelChoice};

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

fn models() -> Vec<String> {
    let files = std::fs::read_dir(data()).unwrap().map(|entry| entry.unwrap().path());
    let models = files.filter(|path| path.extension().is_some_and(|extension| extension == "onnx"));
    models.map(|path| path.file_stem().unwrap().to_string_lossy().into_owned()).collect()
}

/// Parts of signed QDQ graphs onnxruntime runs in f32: there a net may end a step away. Outputs that are not quantised
/// differ in the last bits of f32. Everything else is equal bit for bit.
fn steps_allowed(name: &str) -> f32 {
    match name {
        _ if name.ends_with("qdq_s8") => 1.0,
        "left_qop_u8" => 1e-4,
        _ => 0.0,
    }
}

#[test]
fn every_model_answers_as_onnxruntime() {
    let models = models();
    assert!(models.len() >= 18);
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
    let loaded = tinysaver_engine::load_best(&path, std::fs::read(&path).unwrap(), None, KernelChoice::Scalar).unwrap();
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
fn nodes_without_an_int8_step_run_in_f32_and_are_named() {
    for (name, ops) in [("gated_qop_u8", &["GlobalAveragePool"][..]), ("left_qdq_u8", &["Softplus", "Elu"])] {
        let path = data().join(format!("{name}.onnx"));
        let report = tinysaver_engine::inspect(&path, None).unwrap();
        let plan = report.int8.unwrap();
        for op in ops {
            let row = report.operators.iter().find(|row| row.operator == *op && row.engine == Some("tract-f32"));
            assert!(plan.fallbacks.iter().any(|fallback| fallback.op == *op), "{op} in {:?}", plan.fallbacks);
            assert!(row.is_some_and(|row| row.note.is_some()), "{op} in {:?}", report.operators);
        }
        assert!(plan.border_numbers > 0 && report.not_int8_because.is_none(), "{name}");
        let bytes = std::fs::read(&path).unwrap();
        let loaded = tinysaver_engine::load_best(&path, bytes, None, KernelChoice::Scalar).unwrap();
        assert_eq!((loaded.engine.name(), loaded.fallbacks), ("int8-scalar", plan.fallbacks));
    }
}

/// Reshape, Transpose, Split, Slice and their kin are views: of all of them in this net, three are copied because a
/// convolution reads them, and none because it stands there.
#[test]
fn views_are_copied_only_where_a_convolution_reads_them() {
    let report = tinysaver_engine::inspect(&data().join("shuffled_qdq_u8.onnx"), None).unwrap();
    let plan = report.int8.unwrap();
    let moves = ["Reshape", "Transpose", "Split", "Slice", "Concat"];
    let moved = report.operators.iter().filter(|row| moves.contains(&row.operator.as_str()));
    assert_eq!((plan.fallbacks.len(), moved.map(|row| row.count).sum::<usize>()), (0, 6));
    assert!(plan.steps <= 16, "{}", plan.steps);
}
