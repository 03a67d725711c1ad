//! Parts of a graph that stay in real numbers: what cannot be run in int8 is left to tract, dequantised where the graph
//! enters it and quantised where the graph itself does so next. All such nodes between two quantised places are one
//! program, an [`Island`].

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::Serialize;
use tinysaver_core::{InputSpec, Layout};
use tract_onnx::pb;

use super::{Compiler, Operand, Operation, Value};
use crate::int8::graph::{Node, Unsupported, element};
use crate::int8::memory::{SlotId, TensorId};
use crate::int8::plan::Entry;
use crate::int8::quant::Quant;
use crate::int8::steps::{Island, Quantise, RealInput, Step};
use crate::int8::view::{View, copy_loops, row_major_strides, shape_elements, standard_strides};
use crate::onnx::FLOAT32;
use crate::program::Program;
use crate::tract;

/// Most programs of a plan; each is optimised by tract at load.
const MOST_ISLANDS: usize = 128;

/// Operators whose output may be of any size, whatever their inputs are, or that hold graphs of their own: not believed.
const UNBOUNDED: [&str; 14] = [
    "ConstantOfShape",
    "EyeLike",
    "Expand",
    "If",
    "Loop",
    "Multinomial",
    "OneHot",
    "RandomNormal",
    "RandomUniform",
    "RandomNormalLike",
    "RandomUniformLike",
    "Range",
    "Scan",
    "Tile",
];

/// Operators that move numbers and make none: quantised ones keep their meaning through real numbers and back.
const MOVES: [&str; 6] = ["DepthToSpace", "SpaceToDepth", "Gather", "Transpose", "Slice", "ReverseSequence"];

/// A node that tract runs in f32, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fallback {
    /// The operator, with its domain where that is not ONNX's own.
    pub op: String,
    /// The node's name, or that of its first output.
    pub node: String,
    /// Why there is no int8 step.
    pub why: String,
}

/// Who makes and who reads what, and which real numbers are kept.
pub(super) struct Graph<'a> {
    makers: HashMap<&'a str, (usize, Node<'a>)>,
    reads: HashMap<&'a str, usize>,
    unread: HashMap<&'a str, usize>,
    slots: HashMap<&'a str, SlotId>,
    shapes: Vec<Vec<usize>>,
}

impl<'a> Graph<'a> {
    pub fn of(graph: &'a pb::GraphProto) -> Self {
        let (mut makers, mut reads) = (HashMap::new(), HashMap::new());
        for (index, proto) in graph.node.iter().enumerate() {
            makers.extend(proto.output.iter().map(|name| (name.as_str(), (index, Node::new(proto)))));
            proto.input.iter().for_each(|name| *reads.entry(name.as_str()).or_insert(0) += 1);
        }
        graph.output.iter().for_each(|output| *reads.entry(output.name.as_str()).or_insert(0) += 1);
        let unread = reads.clone();
        Self { makers, reads, unread, slots: HashMap::new(), shapes: Vec::new() }
    }

    /// Counts one read of a name; whether it was the last.
    pub fn was_read(&mut self, name: &str) -> bool {
        self.unread.get_mut(name).is_some_and(|left| {
            *left = left.saturating_sub(1);
            *left == 0
        })
    }

    /// Whether any node reads a name, or it is the graph's output.
    pub fn is_read(&self, name: &str) -> bool {
        self.reads.contains_key(name)
    }

    /// Sizes of the axes of kept real numbers.
    pub fn slot_shape(&self, slot: SlotId) -> Vec<usize> {
        self.shapes.get(slot).cloned().unwrap_or_default()
    }
}

/// The graph's input: quantised numbers where all that reads it quantises it alike, real numbers otherwise.
pub(super) struct Picture {
    shape: Vec<usize>,
    is_real: bool,
    stored: Option<(TensorId, Operand)>,
    slot: Option<SlotId>,
}

impl Picture {
    pub fn of(graph: &pb::GraphProto, name: &str, input: &InputSpec) -> Self {
        let readers: Vec<&pb::NodeProto> =
            graph.node.iter().filter(|node| node.input.iter().any(|each| each == name)).collect();
        let first = readers.first().map(|node| &node.input);
        let alike = readers.iter().all(|node| node.op_type == "QuantizeLinear" && Some(&node.input) == first);
        let is_real = input.layout == Layout::Nhwc || !alike;
        Self { shape: tract::input_shape(input).to_vec(), is_real, stored: None, slot: None }
    }

    pub fn is_real(&self) -> bool {
        self.is_real
    }

    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    pub fn stored(&self) -> Option<Operand> {
        self.stored.map(|(_, operand)| operand)
    }

    pub fn store(&mut self, tensor: TensorId, operand: Operand) {
        self.stored = Some((tensor, operand));
    }

    pub fn entry(&self) -> Option<Entry> {
        let stored = self.stored.map(|(tensor, operand)| Entry::Steps(tensor, operand.quant));
        stored.or(self.slot.map(Entry::Reals))
    }
}

/// What an island is made of while it is gathered.
#[derive(Default)]
struct Gathered<'a> {
    nodes: BTreeMap<usize, Node<'a>>,
    inputs: Vec<(&'a str, RealInput, Vec<usize>)>,
    constants: Vec<pb::TensorProto>,
}

impl<'a> Compiler<'a> {
    /// Makes room for a picture of real numbers, where it is read as such.
    pub(super) fn enter_picture(&mut self, name: &'a str) {
        if self.picture.is_real {
            let shape = self.picture.shape.clone();
            self.picture.slot = Some(self.new_slot(name, shape));
        }
    }

    fn new_slot(&mut self, name: &'a str, shape: Vec<usize>) -> SlotId {
        self.parts.slots.push(shape.iter().product());
        self.graph.shapes.push(shape);
        let slot = self.parts.slots.len() - 1;
        self.graph.slots.insert(name, slot);
        slot
    }

    /// Leaves a node that has no int8 step to tract, if tract can take it.
    pub(super) fn fall_back(&mut self, node: Node<'a>, reason: Unsupported) -> Result<Vec<Value<'a>>, Unsupported> {
        let proto = node.proto();
        let is_standard = matches!(proto.domain.as_str(), "" | "ai.onnx");
        let is_quantised =
            node.op().contains("Quantize") || node.op().starts_with("Q") || node.op().ends_with("Integer");
        let holds_graph = proto.attribute.iter().any(|attribute| attribute.g.is_some());
        if !is_standard || is_quantised || holds_graph || UNBOUNDED.contains(&node.op()) || !tract::knows(node.op()) {
            return Err(reason);
        }
        let mut stored = None;
        for name in node.inputs().iter().filter(|name| !name.is_empty()) {
            match self.named(node, name)? {
                Value::Stored(operand) if MOVES.contains(&node.op()) && stored.is_none() => stored = Some(operand),
                Value::Stored(_) => return Err(reason),
                _ => {}
            }
        }
        let fallback = Fallback { op: reason.op, node: reason.node, why: reason.why };
        self.parts.fallbacks.push(fallback);
        match (stored, node.outputs()) {
            (None, outputs) => Ok(vec![Value::Float; outputs.len()]),
            (Some(operand), [output]) => {
                self.values.insert(output, Value::Float);
                let slot = self.close(node, output)?;
                self.values.remove(output.as_str());
                Ok(vec![Value::Stored(self.quantise_slot(node, slot, operand.quant)?)])
            }
            (Some(_), _) => Err(node.refuse("it has more than one output")),
        }
    }

    /// Quantises real numbers that tract makes. `reason` is why a pending operator cannot be made a step with it.
    pub(super) fn quantise_reals(
        &mut self,
        node: Node<'a>,
        quant: Quant,
        reason: Option<Unsupported>,
    ) -> Result<Value<'a>, Unsupported> {
        let name = node.input(0).ok_or_else(|| node.refuse("its input is missing"))?;
        let slot = self.close(node, name)?;
        if let Some(reason) = reason {
            let maker = self.graph.makers.get(name).map(|(_, maker)| maker.refuse(reason.why.clone()));
            let Unsupported { op, node, why } = maker.unwrap_or(reason);
            self.parts.fallbacks.push(Fallback { op, node, why });
        }
        Ok(Value::Stored(self.quantise_slot(node, slot, quant)?))
    }

    fn quantise_slot(&mut self, node: Node<'a>, slot: SlotId, quant: Quant) -> Result<Operand, Unsupported> {
        let shape = self.graph.slot_shape(slot);
        let (output, result) = self.new_tensor(node, &shape, quant)?;
        let view = View::whole(output, &shape, &row_major_strides(&shape));
        let loops = copy_loops(&view, &standard_strides(&shape));
        self.push(node, Step::Quantise(Quantise { slot, output, loops, quant }))?;
        Ok(result)
    }

    /// The graph's output in real numbers.
    pub(super) fn real_output(&mut self, last: Node<'a>, name: &str) -> Result<SlotId, Unsupported> {
        if let Some(Value::Pending(pending)) = self.values.get(name).cloned()
            && let Operation::Convolution(layer) = &pending.operation
            && let Some(classes) = layer.row_length()
            && let Some((&name, _)) = self.graph.makers.get_key_value(name)
        {
            let slot = self.new_slot(name, vec![1, classes]);
            self.emit_real_layer(last, &pending, layer, slot)?;
            return Ok(slot);
        }
        self.close(last, name)
    }

    /// Gathers all that the named real numbers still need into one program and keeps what others will read of it.
    fn close(&mut self, node: Node<'a>, name: &str) -> Result<SlotId, Unsupported> {
        if let Some(&slot) = self.graph.slots.get(name) {
            return Ok(slot);
        }
        if self.parts.programs.len() >= MOST_ISLANDS {
            return Err(node.refuse(format!("the graph leaves int8 in more than {MOST_ISLANDS} places")));
        }
        let gathered = self.gather(node, name)?;
        let names = self.kept(&gathered, name);
        let model = self.model_of(&gathered, &names);
        let shapes = gathered.inputs.iter().map(|(_, _, shape)| shape.clone()).collect();
        let program =
            Program::compile(&self.file.path, &model, shapes).map_err(|error| node.refuse(error.to_string()))?;
        let mut outputs = Vec::with_capacity(names.len());
        for (name, shape) in names.iter().zip(program.output_shapes()) {
            if shape_elements(shape).is_none_or(|length| length == 0) {
                return Err(node.refuse(format!("'{name}' is {shape:?}, empty or too large")));
            }
            outputs.push(self.new_slot(name, shape.clone()));
        }
        let inputs = gathered.inputs.into_iter().map(|(_, input, _)| input).collect();
        self.parts.programs.push(program);
        let island = Island { inputs, outputs, program: self.parts.programs.len() - 1 };
        self.push(node, Step::Island(island))?;
        self.graph.slots.get(name).copied().ok_or_else(|| node.refuse(format!("'{name}' is made by no node")))
    }

    /// The nodes behind a name, back to where numbers are quantised, kept or constant.
    fn gather(&self, node: Node<'a>, name: &str) -> Result<Gathered<'a>, Unsupported> {
        let mut gathered = Gathered::default();
        let mut seen: HashSet<&str> = HashSet::new();
        let mut open: Vec<&str> = vec![name];
        while let Some(name) = open.pop() {
            if !seen.insert(name) {
                continue;
            }
            let maker = self.graph.makers.get_key_value(name);
            if let Some((&name, &slot)) = self.graph.slots.get_key_value(name) {
                gathered.inputs.push((name, RealInput::Slot(slot), self.graph.slot_shape(slot)));
                continue;
            }
            match (self.named(node, name)?, maker) {
                (Value::Pending(_) | Value::Float, Some((_, &(index, maker)))) => {
                    gathered.nodes.insert(index, maker);
                    open.extend(maker.inputs().iter().map(String::as_str).filter(|name| !name.is_empty()));
                }
                (Value::Real(operand) | Value::Stored(operand), Some((&name, _))) => {
                    let view = self.view(operand);
                    let shape = view.shape();
                    let loops = copy_loops(&view, &row_major_strides(&shape));
                    let (tensor, start, quant) = (view.tensor, view.offset, operand.quant);
                    gathered.inputs.push((name, RealInput::Stored { tensor, start, loops, quant }, shape));
                }
                (Value::Constant(constant), _) => {
                    gathered.constants.push(pb::TensorProto { name: name.into(), ..constant.tensor().clone() });
                }
                (Value::Weights(weights), _) => {
                    let (reals, shape) = weights.reals().map_err(|why| node.refuse(why))?;
                    gathered.constants.push(real_tensor(name, reals, &shape));
                }
                _ => return Err(node.refuse(format!("'{name}' cannot be read as real numbers"))),
            }
        }
        Ok(gathered)
    }

    /// The outputs of an island: the wanted name, and what nodes outside read.
    fn kept(&self, gathered: &Gathered<'a>, wanted: &str) -> Vec<&'a str> {
        let mut inside: HashMap<&str, usize> = HashMap::new();
        let inputs = gathered.nodes.values().flat_map(|node| node.inputs());
        inputs.for_each(|name| *inside.entry(name.as_str()).or_insert(0) += 1);
        let names = gathered.nodes.values().flat_map(|node| node.outputs()).map(String::as_str);
        let is_kept = |name: &&str| {
            let all = self.graph.reads.get(*name).copied().unwrap_or(0);
            let is_float = matches!(self.values.get(*name), Some(Value::Float));
            *name == wanted || (is_float && all > inside.get(*name).copied().unwrap_or(0))
        };
        names.filter(is_kept).collect()
    }

    fn model_of(&self, gathered: &Gathered<'a>, outputs: &[&str]) -> pb::ModelProto {
        let port = |name: &str, shape: Option<&[usize]>| {
            let kind = shape.map(|shape| pb::TypeProto {
                value: Some(pb::type_proto::Value::TensorType(real_type(shape))),
                ..Default::default()
            });
            pb::ValueInfoProto { name: name.into(), r#type: kind, ..Default::default() }
        };
        let graph = pb::GraphProto {
            node: gathered.nodes.values().map(|node| node.proto().clone()).collect(),
            initializer: gathered.constants.clone(),
            input: gathered.inputs.iter().map(|(name, _, shape)| port(name, Some(shape))).collect(),
            output: outputs.iter().map(|name| port(name, None)).collect(),
            ..Default::default()
        };
        let file = &self.file.proto;
        pb::ModelProto {
            ir_version: file.ir_version,
            opset_import: file.opset_import.clone(),
            graph: Some(graph),
            ..Default::default()
        }
    }
}

fn real_tensor(name: &str, reals: Vec<f32>, shape: &[usize]) -> pb::TensorProto {
    let dims = shape.iter().map(|&size| i64::try_from(size).unwrap_or(i64::MAX)).collect();
    pb::TensorProto { name: name.into(), data_type: element::F32, dims, float_data: reals, ..Default::default() }
}

fn real_type(shape: &[usize]) -> pb::type_proto::Tensor {
    let dim = |&size: &usize| pb::tensor_shape_proto::Dimension {
        value: Some(pb::tensor_shape_proto::dimension::Value::DimValue(i64::try_from(size).unwrap_or(i64::MAX))),
        ..Default::default()
    };
    let shape = Some(pb::TensorShapeProto { dim: shape.iter().map(dim).collect() });
    pb::type_proto::Tensor { elem_type: FLOAT32, shape }
}
