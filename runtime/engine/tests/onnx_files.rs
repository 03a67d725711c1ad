//! What a file may look like: a softmax at its end, and what must be refused before any backend works on it.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use prost::Message;
use tinysaver_engine::{Input, KernelChoice, load_best};
use tract_onnx::pb;

fn path_of(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(format!("{name}.onnx"))
}

fn model(name: &str) -> pb::ModelProto {
    pb::ModelProto::decode(std::fs::read(path_of(name)).unwrap().as_slice()).unwrap()
}

fn logits(model: &pb::ModelProto) -> Vec<f32> {
    let bytes = model.encode_to_vec();
    let mut engine = load_best(Path::new("a.onnx"), bytes, None, KernelChoice::Scalar).unwrap().engine;
    assert_eq!(engine.name(), "int8-scalar");
    let picture: Vec<u8> = (0..engine.input().len()).map(|index| (index * 7 % 256) as u8).collect();
    let mut logits = vec![0.0; engine.classes()];
    engine.infer(Input::U8(&picture), &mut logits).unwrap();
    logits
}

fn node(op: &str, inputs: &[&str], output: &str) -> pb::NodeProto {
    pb::NodeProto {
        op_type: op.into(),
        input: inputs.iter().map(|&name| name.into()).collect(),
        output: vec![output.into()],
        ..Default::default()
    }
}

fn int(name: &str, i: i64) -> pb::AttributeProto {
    pb::AttributeProto { name: name.into(), r#type: 2, i, ..Default::default() }
}

#[test]
fn a_softmax_at_the_end_is_left_out() {
    let plain = model("mobile_qdq_u8");
    let expected = logits(&plain);
    let mut ended = plain.clone();
    let graph = ended.graph.as_mut().unwrap();
    graph.node.push(pb::NodeProto { attribute: vec![int("axis", 1)], ..node("Softmax", &["logits"], "odds") });
    graph.output[0].name = "odds".into();
    assert_eq!(logits(&ended), expected);
    let graph = ended.graph.as_mut().unwrap();
    let last = graph.node.iter().rev().nth(1).unwrap();
    let (scale, zero) = (last.input[1].clone(), last.input[2].clone());
    graph.node.push(node("QuantizeLinear", &["odds", &scale, &zero], "steps"));
    graph.node.push(node("DequantizeLinear", &["steps", &scale, &zero], "rounded odds"));
    graph.output[0].name = "rounded odds".into();
    assert_eq!(logits(&ended), expected);
}

/// Damages a good graph; the file must be refused, soon, with these words.
#[track_caller]
fn refused(damage: impl FnOnce(&mut pb::GraphProto), words: &str) {
    let mut model = model("mobile_qdq_u8");
    damage(model.graph.as_mut().unwrap());
    let started = Instant::now();
    let error = load_best(Path::new("a.onnx"), model.encode_to_vec(), None, KernelChoice::Fastest).err();
    let error = error.unwrap_or_else(|| panic!("{words}: it was taken")).to_string();
    assert!(error.contains(words) && error.starts_with("a.onnx: "), "{words}: {error}");
    assert!(started.elapsed() < Duration::from_secs(10), "{words}: {:?}", started.elapsed());
}

fn first(graph: &mut pb::GraphProto, op: &str) -> usize {
    graph.node.iter().position(|node| node.op_type == op).unwrap()
}

#[test]
fn hostile_graphs_are_refused_with_the_place() {
    let add = |graph: &mut pb::GraphProto, node| graph.node.insert(0, node);
    refused(|graph| graph.node.reverse(), "no earlier node makes");
    refused(|graph| add(graph, node("Relu", &["itself"], "itself")), "(a cycle, or nodes out of order)");
    refused(|graph| add(graph, node("Relu", &["input"], "input")), "which is there already");
    refused(|graph| graph.output.clear(), "it has no output");
    refused(|graph| add(graph, node("Concat", &vec!["input"; 20_000], "long")), "20000 inputs");
    refused(
        |graph| (0..30_000).for_each(|at| graph.node.push(node("Relu", &["input"], &format!("{at}")))),
        "at most 20000",
    );
    refused(|graph| graph.initializer[0].dims = vec![1 << 31, 1 << 31, 1 << 31], "constant '");
    refused(|graph| graph.initializer[0].dims = vec![-5], "constant '");
    refused(|graph| graph.initializer[0].dims = vec![1_000_000_000], "constant '");
    refused(
        |graph| {
            let long = graph.initializer.iter_mut().find(|tensor| tensor.raw_data.len() > 8).unwrap();
            long.raw_data.truncate(5);
        },
        "but holds",
    );
    refused(
        |graph| {
            let at = first(graph, "QuantizeLinear");
            graph.node[at].input[1] = "nothing".into();
        },
        "reads 'nothing'",
    );
    for scale in [f32::NAN, 0.0, -1.0, f32::INFINITY] {
        refused(
            |graph| {
                let at = first(graph, "QuantizeLinear");
                let name = graph.node[at].input[1].clone();
                let tensor = graph.initializer.iter_mut().find(|tensor| tensor.name == name).unwrap();
                (tensor.raw_data, tensor.float_data) = (scale.to_le_bytes().to_vec(), Vec::new());
            },
            "is no step width",
        );
    }
}

/// A few bytes that ask for gigabytes before the first frame.
#[test]
fn constants_that_grow_are_refused() {
    let sizes = pb::TensorProto {
        name: "sizes".into(),
        dims: vec![2],
        data_type: 7,
        int64_data: vec![1 << 20, 1 << 20],
        ..Default::default()
    };
    let long = pb::TensorProto {
        name: "long".into(),
        dims: vec![1 << 16, 1],
        data_type: 1,
        raw_data: vec![0; 4 << 16],
        ..Default::default()
    };
    let grown = |nodes: Vec<pb::NodeProto>, words: &str| {
        refused(
            |graph| {
                graph.initializer.extend([sizes.clone(), long.clone()]);
                graph.node.splice(0..0, nodes);
            },
            words,
        );
    };
    grown(vec![node("ConstantOfShape", &["sizes"], "grown")], "more than 67108864 numbers");
    grown(vec![node("Expand", &["long", "sizes"], "grown")], "more than 67108864 numbers");
    grown(vec![node("Tile", &["long", "sizes"], "grown")], "not written in the file");
    let turned = node("Transpose", &["long"], "turned");
    grown(vec![turned, node("Mul", &["long", "turned"], "grown")], "more than 67108864 numbers");
}

#[test]
fn files_of_real_numbers_are_not_blamed_for_it() {
    let mut model = model("mobile_qdq_u8");
    let graph = model.graph.as_mut().unwrap();
    graph.node = vec![node("GlobalAveragePool", &["input"], "mean"), node("Flatten", &["mean"], "logits")];
    graph.initializer.clear();
    let loaded = load_best(Path::new("a.onnx"), model.encode_to_vec(), None, KernelChoice::Fastest).unwrap();
    assert_eq!((loaded.engine.name(), loaded.not_int8_because), ("tract-f32", None));
}

/// A graph of real numbers that asks tract for more than a board has, in time or in memory.
#[test]
fn what_tract_would_drown_in_is_refused() {
    let real = |graph: &mut pb::GraphProto, nodes: Vec<pb::NodeProto>| {
        graph.node = nodes;
        graph.node.push(node("Identity", &["last"], "logits"));
    };
    refused(
        |graph| {
            let name = |at: usize| if at == 4_999 { "last".into() } else { format!("link{at}") };
            let link = |at: usize| node("Relu", &[&at.checked_sub(1).map_or("input".into(), name)], &name(at));
            real(graph, (0..5_000).map(link).collect());
        },
        "at most 2500 run in tract",
    );
    let pads = pb::TensorProto {
        name: "pads".into(),
        dims: vec![8],
        data_type: 7,
        int64_data: vec![0, 0, 0, 0, 0, 0, 1 << 20, 1 << 20],
        ..Default::default()
    };
    refused(
        |graph| {
            graph.initializer.push(pads.clone());
            real(graph, vec![node("Pad", &["input", "pads"], "last")]);
        },
        "too large",
    );
}
