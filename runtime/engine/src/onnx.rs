//! The file as its maker wrote it, before any backend: inputs, outputs, operators, weights. Everything that a backend
//! would stumble over is found here first, so that the error can name it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use prost::Message;
use tract_onnx::pb::{self, tensor_shape_proto::dimension::Value as DimValue, type_proto::Value as TypeValue};

use crate::error::LoadError;
use crate::{checks, softmax};

/// One axis: a size, or the name of a size that is only known at run time (may be empty).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Axis {
    Fixed(usize),
    Dynamic(String),
}

/// An input or an output of the graph.
#[derive(Debug, Clone)]
pub(crate) struct Port {
    pub name: String,
    /// ONNX `TensorProto.DataType`; 1 is float32.
    pub element_type: i32,
    pub axes: Vec<Axis>,
}

pub(crate) const FLOAT32: i32 = 1;
const INT64: i32 = 7;
const EXTERNAL: i32 = 1;

impl Port {
    fn from_proto(value: &pb::ValueInfoProto) -> Self {
        let tensor = value.r#type.as_ref().and_then(|kind| kind.value.as_ref()).map(|TypeValue::TensorType(t)| t);
        let dims = tensor.and_then(|tensor| tensor.shape.as_ref()).map_or(&[][..], |shape| &shape.dim);
        let axes = dims.iter().map(|dim| match &dim.value {
            Some(DimValue::DimValue(size)) if *size > 0 => {
                usize::try_from(*size).map_or_else(|_| Axis::Dynamic(size.to_string()), Axis::Fixed)
            }
            Some(DimValue::DimParam(name)) => Axis::Dynamic(name.clone()),
            _ => Axis::Dynamic(String::new()),
        });
        Self {
            name: value.name.clone(),
            element_type: tensor.map_or(0, |tensor| tensor.elem_type),
            axes: axes.collect(),
        }
    }

    /// As people write shapes: `[1, 3, 160, 160]`, a dynamic axis by its name or `?`.
    pub fn shape(&self) -> String {
        let axes = self.axes.iter().map(|axis| match axis {
            Axis::Fixed(size) => size.to_string(),
            Axis::Dynamic(name) if name.is_empty() => "?".into(),
            Axis::Dynamic(name) => name.clone(),
        });
        format!("[{}]", axes.collect::<Vec<_>>().join(", "))
    }

    pub fn element_name(&self) -> &'static str {
        match self.element_type {
            FLOAT32 => "float32",
            2 => "uint8",
            3 => "int8",
            6 => "int32",
            INT64 => "int64",
            10 => "float16",
            11 => "float64",
            _ => "another type",
        }
    }
}

/// A parsed file.
pub(crate) struct OnnxFile {
    pub path: PathBuf,
    pub bytes: u64,
    pub proto: pb::ModelProto,
    pub inputs: Vec<Port>,
    pub outputs: Vec<Port>,
    /// The softmax at the end, if there was one: this engine's outputs are logits.
    pub left_out: Option<String>,
}

impl OnnxFile {
    /// Reads and parses; checks what holds for every graph, whoever is to run it.
    pub fn read(path: &Path) -> Result<Self, LoadError> {
        let bytes = std::fs::read(path).map_err(|source| LoadError::Read { path: path.into(), source })?;
        Self::parse(path, &bytes)
    }

    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self, LoadError> {
        let not_onnx = |detail: String| LoadError::NotOnnx { path: path.into(), detail };
        let proto = pb::ModelProto::decode(bytes).map_err(|error| not_onnx(error.to_string()))?;
        let graph = proto.graph.as_ref().ok_or_else(|| not_onnx("it holds no graph".into()))?;
        let external = graph.initializer.iter().find(|t| t.data_location == Some(EXTERNAL));
        if let Some(tensor) = external {
            return Err(LoadError::ExternalData { path: path.into(), tensor: tensor.name.clone() });
        }
        let weights: BTreeSet<&str> = graph.initializer.iter().map(|tensor| tensor.name.as_str()).collect();
        // Before IR version 4 the weights are listed among the inputs as well.
        let inputs = graph.input.iter().filter(|input| !weights.contains(input.name.as_str()));
        let inputs: Vec<Port> = inputs.map(Port::from_proto).collect();
        let outputs: Vec<Port> = graph.output.iter().map(Port::from_proto).collect();
        checks::check(graph).map_err(|detail| LoadError::Graph { path: path.into(), detail })?;
        let mut file = Self { path: path.into(), bytes: bytes.len() as u64, proto, inputs, outputs, left_out: None };
        file.left_out = file.proto.graph.as_mut().and_then(softmax::leave_out);
        if let (Some(graph), [port]) = (&file.proto.graph, file.outputs.as_mut_slice()) {
            graph.output.iter().for_each(|output| port.name.clone_from(&output.name));
        }
        Ok(file)
    }

    fn nodes(&self) -> &[pb::NodeProto] {
        self.proto.graph.as_ref().map_or(&[], |graph| &graph.node)
    }

    /// Whether any of it is quantised.
    pub fn is_quantised(&self) -> bool {
        self.nodes().iter().any(|node| {
            let op = node.op_type.as_str();
            op.contains("QuantizeLinear") || op.starts_with("QLinear") || op.ends_with("Integer") || op == "QGemm"
        })
    }

    /// How often each operator occurs; names of other domains than ONNX's own are written `domain.Name`.
    pub fn op_counts(&self) -> BTreeMap<String, (String, usize)> {
        let mut counts = BTreeMap::new();
        for node in self.nodes() {
            let entry = counts.entry(qualified(node)).or_insert_with(|| (node.op_type.clone(), 0));
            entry.1 += 1;
        }
        counts
    }

    /// Weights and biases, without the scales, zero points and shapes that serve only to describe others.
    pub fn parameters(&self) -> u64 {
        let describing: BTreeSet<&str> = self.nodes().iter().flat_map(describing_inputs).collect();
        let initializers = self.proto.graph.as_ref().map_or(&[][..], |graph| &graph.initializer);
        let counted = initializers.iter().filter(|tensor| {
            tensor.data_type != INT64 && !tensor.dims.is_empty() && !describing.contains(tensor.name.as_str())
        });
        counted.map(|tensor| tensor.dims.iter().map(|&dim| dim.unsigned_abs()).fold(1, u64::saturating_mul)).sum()
    }
}

/// The operator's name with its domain, unless that is ONNX's own.
pub(crate) fn qualified(node: &pb::NodeProto) -> String {
    match node.domain.as_str() {
        "" | "ai.onnx" => node.op_type.clone(),
        domain => format!("{domain}.{}", node.op_type),
    }
}

/// Inputs of a quantised operator that are scales or zero points, not weights.
fn describing_inputs(node: &pb::NodeProto) -> Vec<&str> {
    let weights: &[usize] = match node.op_type.as_str() {
        "QuantizeLinear" | "DequantizeLinear" => &[0],
        "QLinearConv" => &[0, 3, 8],
        "QLinearMatMul" => &[0, 3],
        "QGemm" => &[0, 3, 6],
        "QLinearAdd" | "QLinearMul" => &[0, 3],
        op if op.starts_with("QLinear") => &[0],
        _ => return Vec::new(),
    };
    let describing = node.input.iter().enumerate().filter(|(index, _)| !weights.contains(index));
    describing.map(|(_, name)| name.as_str()).collect()
}
