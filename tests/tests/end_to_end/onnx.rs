//! ONNX files made on the spot.

use prost::Message;
use tract_onnx::pb::tensor_shape_proto::{Dimension, dimension::Value};
use tract_onnx::pb::{self, attribute_proto::AttributeType};

/// Size of an axis.
pub enum Dim {
    Fixed(i64),
    Named(&'static str),
}

/// One operator with one output.
pub struct Node {
    op: &'static str,
    inputs: Vec<String>,
    output: String,
    attributes: Vec<(&'static str, Vec<i64>)>,
}

impl Node {
    pub fn new(op: &'static str, inputs: &[&str], output: &str) -> Self {
        let inputs = inputs.iter().map(|&name| name.to_owned()).collect();
        Self { op, inputs, output: output.to_owned(), attributes: Vec::new() }
    }

    /// One number is an integer attribute, several are a list.
    pub fn with(mut self, name: &'static str, numbers: &[i64]) -> Self {
        self.attributes.push((name, numbers.to_vec()));
        self
    }

    fn proto(&self) -> pb::NodeProto {
        let attribute = |(name, numbers): &(&str, Vec<i64>)| {
            let mut proto = pb::AttributeProto { name: (*name).into(), ..Default::default() };
            match numbers.as_slice() {
                [number] => {
                    proto.i = *number;
                    proto.set_type(AttributeType::Int);
                }
                numbers => {
                    proto.ints = numbers.to_vec();
                    proto.set_type(AttributeType::Ints);
                }
            }
            proto
        };
        pb::NodeProto {
            op_type: self.op.into(),
            name: self.output.clone(),
            input: self.inputs.clone(),
            output: vec![self.output.clone()],
            attribute: self.attributes.iter().map(attribute).collect(),
            ..Default::default()
        }
    }
}

/// A model with one float32 input named `input`.
pub struct Model {
    pub input: Vec<Dim>,
    pub nodes: Vec<Node>,
    /// Name and shape; every number is 0.01.
    pub weights: Vec<(String, Vec<i64>)>,
    pub outputs: Vec<&'static str>,
}

impl Model {
    pub fn bytes(&self) -> Vec<u8> {
        let dims = self.input.iter().map(|dim| {
            let value = match dim {
                Dim::Fixed(size) => Value::DimValue(*size),
                Dim::Named(name) => Value::DimParam((*name).into()),
            };
            Dimension { value: Some(value), ..Dimension::default() }
        });
        let shape = Some(pb::TensorShapeProto { dim: dims.collect() });
        let value = Some(pb::type_proto::Value::TensorType(pb::type_proto::Tensor { elem_type: 1, shape }));
        let float = Some(pb::TypeProto { value, ..pb::TypeProto::default() });
        let port = |name: &str, r#type| pb::ValueInfoProto { name: name.into(), r#type, ..Default::default() };
        let weight = |(name, shape): &(String, Vec<i64>)| {
            let count = usize::try_from(shape.iter().product::<i64>()).unwrap();
            let raw_data = 0.01f32.to_le_bytes().repeat(count);
            pb::TensorProto { name: name.clone(), dims: shape.clone(), data_type: 1, raw_data, ..Default::default() }
        };
        let graph = pb::GraphProto {
            node: self.nodes.iter().map(Node::proto).collect(),
            input: vec![port("input", float)],
            initializer: self.weights.iter().map(weight).collect(),
            output: self.outputs.iter().map(|name| port(name, None)).collect(),
            ..Default::default()
        };
        let opset = pb::OperatorSetIdProto { version: 13, ..Default::default() };
        pb::ModelProto { ir_version: 7, opset_import: vec![opset], graph: Some(graph), ..Default::default() }
            .encode_to_vec()
    }

    /// A convolution of kernel, stride and groups with weights of its own and `same` padding; its output's name.
    fn convolve(&mut self, from: &str, [inputs, outputs]: [i64; 2], [kernel, stride, groups]: [i64; 3]) -> String {
        let name = format!("conv{}", self.weights.len());
        let weight = format!("{name}_weight");
        self.weights.push((weight.clone(), vec![outputs, inputs / groups, kernel, kernel]));
        let conv = Node::new("Conv", &[from, &weight], &name)
            .with("kernel_shape", &[kernel; 2])
            .with("strides", &[stride; 2])
            .with("pads", &[kernel / 2; 4])
            .with("group", &[groups]);
        self.nodes.push(conv);
        name
    }

    fn relu(&mut self, from: &str) -> String {
        let name = format!("{from}_relu");
        self.nodes.push(Node::new("Relu", &[from], &name));
        name
    }
}

/// MobileNetV2 1.0 at 224 x 224 (arXiv 1801.04381, table 2).
pub fn mobilenet_v2() -> Model {
    let input = [1, 3, 224, 224].map(Dim::Fixed).into();
    let mut model = Model { input, nodes: Vec::new(), weights: Vec::new(), outputs: vec!["logits"] };
    let stem = model.convolve("input", [3, 32], [3, 2, 1]);
    let (mut last, mut channels) = (model.relu(&stem), 32);
    let stages =
        [[1, 16, 1, 1], [6, 24, 2, 2], [6, 32, 3, 2], [6, 64, 4, 2], [6, 96, 3, 1], [6, 160, 3, 2], [6, 320, 1, 1]];
    for [expansion, outputs, repeats, first_stride] in stages {
        for repeat in 0..repeats {
            let (wide, stride) = (channels * expansion, if repeat == 0 { first_stride } else { 1 });
            let mut inner = last.clone();
            if expansion > 1 {
                inner = model.convolve(&inner, [channels, wide], [1, 1, 1]);
                inner = model.relu(&inner);
            }
            inner = model.convolve(&inner, [wide, wide], [3, stride, wide]);
            inner = model.relu(&inner);
            inner = model.convolve(&inner, [wide, outputs], [1, 1, 1]);
            if repeat > 0 {
                let sum = format!("{inner}_sum");
                model.nodes.push(Node::new("Add", &[&last, &inner], &sum));
                inner = sum;
            }
            (last, channels) = (inner, outputs);
        }
    }
    let head = model.convolve(&last, [320, 1280], [1, 1, 1]);
    let head = model.relu(&head);
    model.weights.push(("classifier".into(), vec![1280, 1000]));
    model.nodes.extend([
        Node::new("GlobalAveragePool", &[&head], "pooled"),
        Node::new("Flatten", &["pooled"], "row"),
        Node::new("MatMul", &["row", "classifier"], "logits"),
    ]);
    model
}
