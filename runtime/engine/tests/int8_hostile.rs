//! A small file must not need much memory. Alone in its process, because it reads the process's peak.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::path::Path;

use prost::Message;
use tinysaver_engine::{Int8Engine, KernelChoice, LoadError, load_best};
use tract_onnx::pb;

fn node(op: &str, inputs: &[&str], output: &str) -> pb::NodeProto {
    pb::NodeProto {
        op_type: op.into(),
        input: inputs.iter().map(|&name| name.into()).collect(),
        output: vec![output.into()],
        ..Default::default()
    }
}

fn port(name: &str, sizes: &[i64]) -> pb::ValueInfoProto {
    let dim = |&size: &i64| pb::tensor_shape_proto::Dimension {
        value: Some(pb::tensor_shape_proto::dimension::Value::DimValue(size)),
        ..Default::default()
    };
    let shape = Some(pb::TensorShapeProto { dim: sizes.iter().map(dim).collect() });
    let tensor = pb::type_proto::Value::TensorType(pb::type_proto::Tensor { elem_type: 1, shape });
    let kind = pb::TypeProto { value: Some(tensor), ..Default::default() };
    pb::ValueInfoProto { name: name.into(), r#type: Some(kind), ..Default::default() }
}

/// One quantised picture, joined with itself `parts` times, through `chain` ReLUs.
fn long_list_and_long_chain(parts: usize, chain: usize) -> Vec<u8> {
    let mut join = node("Concat", &vec!["real"; parts], "link0");
    join.attribute = vec![pb::AttributeProto { name: "axis".into(), r#type: 2, i: 1, ..Default::default() }];
    let mut nodes = vec![
        node("QuantizeLinear", &["input", "scale", "zero"], "steps"),
        node("DequantizeLinear", &["steps", "scale", "zero"], "real"),
        join,
    ];
    nodes.extend((0..chain).map(|at| node("Relu", &[&format!("link{at}")], &format!("link{}", at + 1))));
    nodes.extend([
        node("QuantizeLinear", &[&format!("link{chain}"), "scale", "zero"], "last"),
        node("DequantizeLinear", &["last", "scale", "zero"], "real_last"),
        node("Flatten", &["real_last"], "flat"),
        node("QuantizeLinear", &["flat", "scale", "zero"], "flat_steps"),
        node("DequantizeLinear", &["flat_steps", "scale", "zero"], "logits"),
    ]);
    let scale = pb::TensorProto { name: "scale".into(), data_type: 1, float_data: vec![0.5], ..Default::default() };
    let zero = pb::TensorProto { name: "zero".into(), data_type: 2, raw_data: vec![128], ..Default::default() };
    let graph = pb::GraphProto {
        node: nodes,
        initializer: vec![scale, zero],
        input: vec![port("input", &[1, 3, 1, 1])],
        output: vec![port("logits", &[1, 3 * i64::try_from(parts).unwrap()])],
        ..Default::default()
    };
    let opset = pb::OperatorSetIdProto { version: 13, ..Default::default() };
    pb::ModelProto { ir_version: 7, opset_import: vec![opset], graph: Some(graph), ..Default::default() }
        .encode_to_vec()
}

fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

#[test]
fn a_long_list_before_a_long_chain_is_kept_once() {
    let small = load_best(Path::new("small"), long_list_and_long_chain(3, 2), None, KernelChoice::Fastest);
    assert!(
        small.is_ok_and(|loaded| loaded.not_int8_because.is_none()),
        "the shape of the test is one that is compiled"
    );
    let before = peak_mib();
    let bytes = long_list_and_long_chain(1_000, 15_000);
    let file = std::env::temp_dir().join(format!("tinysaver-hostile-{}.onnx", std::process::id()));
    std::fs::write(&file, &bytes).unwrap();
    let result = Int8Engine::load(&file, None, KernelChoice::Fastest);
    std::fs::remove_file(&file).unwrap();
    let grown = peak_mib() - before;
    assert!(result.is_ok(), "{:?}", result.err());
    assert!(grown < 200, "{grown} MiB for a file of {} KiB", bytes.len() / 1024);
}

#[test]
fn a_longer_list_is_refused() {
    let bytes = long_list_and_long_chain(20_000, 2);
    let error = load_best(Path::new("long"), bytes, None, KernelChoice::Fastest).err();
    assert!(matches!(error, Some(LoadError::Graph { .. })), "{error:?}");
}
