//! From the file's nodes to fused steps.
//!
//! The nodes are walked once, in the file's order. A node that computes in real numbers on dequantised tensors makes no
//! step yet: it is [`Pending`] until a QuantizeLinear (or, in the QOperator form, the node itself) says what its output
//! is quantised to. A Relu or Clip in between narrows the range of the pending result.

mod arithmetic;
mod convolution;
mod pool;
mod quantise;
mod shape;

use std::collections::HashMap;
use std::rc::Rc;

use tract_onnx::pb;

use super::graph::{Constant, MOST_ELEMENTS, Node, Unsupported, elements};
use super::kernels::Kernels;
use super::memory::TensorId;
use super::plan::{Output, Plan, Size};
use super::quant::{Bounds, Quant};
use super::steps::Step;
use crate::onnx::{Axis, FLOAT32, OnnxFile};

/// Most steps of a plan; the largest nets that fit a board have a few hundred.
const MOST_STEPS: usize = 4096;

/// Most bytes of packed weights.
const MOST_WEIGHT_BYTES: usize = 1 << 29;

/// A quantised tensor as a node reads it: the numbers, and what the node takes them to mean.
#[derive(Debug, Clone, Copy)]
struct Operand {
    tensor: TensorId,
    quant: Quant,
}

/// What a name in the graph stands for.
#[derive(Debug, Clone)]
enum Value<'a> {
    /// The graph's own input, in real numbers.
    Picture,
    /// Quantised numbers.
    Stored(Operand),
    /// Real numbers: a dequantised tensor.
    Real(Operand),
    /// Numbers of the file.
    Constant(Constant<'a>),
    /// Dequantised numbers of the file.
    Weights(Rc<convolution::Weights<'a>>),
    /// Real numbers whose quantisation is not known yet.
    Pending(Rc<Pending<'a>>),
}

/// Makes the value of a tensor: of its stored numbers or of its real ones.
type Wrap<'a> = fn(Operand) -> Value<'a>;

/// A result that waits for its quantisation.
#[derive(Debug, Clone)]
struct Pending<'a> {
    operation: Operation<'a>,
    /// A clip to be fused; infinite where there is none.
    low: f32,
    high: f32,
}

/// What can be fused with the quantisation of its output.
#[derive(Debug, Clone)]
enum Operation<'a> {
    Convolution(convolution::Layer<'a>),
    Add(Operand, Operand),
    Multiply(Operand, Operand),
    AveragePool(pool::Average),
    GlobalAverage(Operand),
    /// Shared, like a layer's weights and bias: every fused clip holds a copy of its operation.
    Concat(Rc<[Operand]>),
    Function(Operand, arithmetic::Function),
}

impl<'a> From<Operation<'a>> for Value<'a> {
    fn from(operation: Operation<'a>) -> Self {
        Self::Pending(Rc::new(Pending { operation, low: f32::NEG_INFINITY, high: f32::INFINITY }))
    }
}

impl Pending<'_> {
    fn bounds(&self, output: Quant) -> Bounds {
        Bounds::clipped(output, self.low, self.high)
    }

    /// The same range with steps in the model's own type.
    fn model_bounds(&self, output: Quant) -> Bounds {
        let bounds = self.bounds(output);
        let zero_point = output.model_zero_point();
        Bounds { low: bounds.low + zero_point, high: bounds.high + zero_point, zero_point: output.offset() }
    }
}

/// The walk over the nodes and what it has found so far.
struct Compiler<'a> {
    kernels: Kernels,
    constants: HashMap<&'a str, &'a pb::TensorProto>,
    values: HashMap<&'a str, Value<'a>>,
    tensors: Vec<Size>,
    steps: Vec<Step>,
    /// Size of the picture, and its tensor once it is quantised.
    picture: Size,
    picture_is_nhwc: bool,
    input: Option<Operand>,
    /// Whether signed tensors count as unsigned ones moved by 128. ONNX Runtime turns a QDQ graph into that on x86, and
    /// the last bit of a sum of tensors depends on it; in the QOperator form it takes them as they are.
    as_unsigned: bool,
    macs: u64,
    weight_bytes: usize,
}

/// Compiles a classifier for pictures of `height` by `width`.
pub fn compile(file: &OnnxFile, pixels: (usize, usize), kernels: Kernels) -> Result<Plan, Unsupported> {
    let whole = |why: &str| Unsupported { op: "graph".into(), node: file.path.display().to_string(), why: why.into() };
    let graph = file.proto.graph.as_ref().ok_or_else(|| whole("it is empty"))?;
    let ([input], [output]) = (file.inputs.as_slice(), file.outputs.as_slice()) else {
        return Err(whole("it has not one input and one output"));
    };
    let [_, a, _, c] = input.axes.as_slice() else { return Err(whole("its input has not four axes")) };
    let (channels, picture_is_nhwc) = match (a, c) {
        (Axis::Fixed(channels), _) if *channels <= 4 => (*channels, false),
        (_, Axis::Fixed(channels)) if *channels <= 4 => (*channels, true),
        _ => return Err(whole("its input has neither channels first nor last")),
    };
    if input.element_type != FLOAT32 {
        return Err(whole("its input is not float32"));
    }
    let picture = Size { rows: pixels.0, columns: pixels.1, channels, is_row: false };
    picture.elements().ok_or_else(|| whole("its input is too large"))?;
    let mut compiler = Compiler {
        kernels,
        constants: graph.initializer.iter().map(|tensor| (tensor.name.as_str(), tensor)).collect(),
        values: HashMap::from([(input.name.as_str(), Value::Picture)]),
        tensors: Vec::new(),
        steps: Vec::new(),
        picture,
        picture_is_nhwc,
        input: None,
        as_unsigned: !graph.node.iter().any(|node| node.op_type.starts_with("QLinear") || node.op_type == "QGemm"),
        macs: 0,
        weight_bytes: 0,
    };
    for proto in &graph.node {
        compiler.add_node(Node::new(proto))?;
    }
    let last = graph.node.last().map(Node::new).ok_or_else(|| whole("it has no node"))?;
    compiler.finish(last, &output.name)
}

impl<'a> Compiler<'a> {
    fn add_node(&mut self, node: Node<'a>) -> Result<(), Unsupported> {
        let Some((name, others)) = node.outputs().split_first() else { return Ok(()) };
        let value = self.value_of(node)?;
        // Dropout's mask and MaxPool's indices are outputs that nobody reads.
        if others.iter().any(|other| !other.is_empty()) && node.op() != "Dropout" {
            return Err(node.refuse("it has more than one output"));
        }
        if self.values.insert(name, value).is_some() || self.constants.contains_key(name.as_str()) {
            return Err(node.refuse(format!("'{name}' is made twice")));
        }
        Ok(())
    }

    fn value_of(&mut self, node: Node<'a>) -> Result<Value<'a>, Unsupported> {
        match node.op() {
            "QuantizeLinear" => self.quantize_linear(node),
            "DequantizeLinear" => self.dequantize_linear(node),
            "Constant" => {
                let tensor = node.tensor("value").ok_or_else(|| node.refuse("it holds no tensor"))?;
                Ok(Value::Constant(Constant::new(tensor).map_err(|why| node.refuse(why))?))
            }
            "Conv" => self.conv(node),
            "Gemm" | "MatMul" => self.gemm(node),
            "QLinearConv" => self.qlinear_conv(node),
            "QGemm" | "QLinearMatMul" => self.qgemm(node),
            "Relu" | "Clip" => self.clip(node),
            "Add" | "Mul" => self.binary(node),
            "QLinearAdd" | "QLinearMul" => self.qlinear_binary(node),
            "Sigmoid" | "HardSigmoid" | "HardSwish" | "LeakyRelu" | "Tanh" => self.function(node),
            "QLinearSigmoid" | "QLinearLeakyRelu" => self.qlinear_function(node),
            "MaxPool" => self.max_pool(node),
            "AveragePool" | "QLinearAveragePool" => self.average_pool(node),
            "GlobalAveragePool" | "ReduceMean" | "QLinearGlobalAveragePool" => self.global_average(node),
            "Concat" => self.concat(node),
            "QLinearConcat" => self.qlinear_concat(node),
            "Flatten" | "Reshape" | "Squeeze" => self.flatten(node),
            "Resize" => self.resize(node),
            "Identity" | "Dropout" => self.value(node, 0),
            _ => Err(node.refuse("there is no int8 step for this operator")),
        }
    }

    /// What an input stands for.
    fn value(&self, node: Node<'a>, index: usize) -> Result<Value<'a>, Unsupported> {
        let name = node.input(index).ok_or_else(|| node.refuse(format!("input {index} is missing")))?;
        if let Some(value) = self.values.get(name) {
            return Ok(value.clone());
        }
        let tensor = self.constants.get(name);
        let tensor = tensor.ok_or_else(|| node.refuse(format!("its input '{name}' is made by no earlier node")))?;
        Ok(Value::Constant(Constant::new(tensor).map_err(|why| node.refuse(why))?))
    }

    /// An input that has to be a constant; `None` where it is left out.
    fn constant(&self, node: Node<'a>, index: usize) -> Result<Option<Constant<'a>>, Unsupported> {
        match node.input(index) {
            None => Ok(None),
            Some(name) => match self.value(node, index)? {
                Value::Constant(constant) => Ok(Some(constant)),
                _ => Err(node.refuse(format!("'{name}' is not a constant"))),
            },
        }
    }

    /// An input in dequantised real numbers.
    fn real(&self, node: Node<'a>, index: usize) -> Result<Operand, Unsupported> {
        match self.value(node, index)? {
            Value::Real(operand) => Ok(operand),
            Value::Stored(_) => Err(node.refuse(format!("input {index} is quantised, real numbers are wanted"))),
            _ => Err(node.refuse(format!("input {index} is not the output of a DequantizeLinear"))),
        }
    }

    /// An input that is a tensor of either kind, and what makes a value of a tensor of that kind.
    fn tensor(&self, node: Node<'a>, index: usize) -> Result<(Operand, Wrap<'a>), Unsupported> {
        match self.value(node, index)? {
            Value::Real(operand) => Ok((operand, Value::Real)),
            Value::Stored(operand) => Ok((operand, Value::Stored)),
            _ => Err(node.refuse(format!("input {index} is not quantised"))),
        }
    }

    fn size(&self, operand: Operand) -> Size {
        // Every operand was made by `new_tensor`.
        self.tensors.get(operand.tensor).copied().unwrap_or_default()
    }

    fn new_tensor(&mut self, node: Node<'_>, size: Size) -> Result<TensorId, Unsupported> {
        match size.elements() {
            Some(0) | None => {
                Err(node.refuse(format!("a tensor of {size} is empty or has over {MOST_ELEMENTS} numbers")))
            }
            Some(_) => {
                self.tensors.push(size);
                Ok(self.tensors.len() - 1)
            }
        }
    }

    fn push(&mut self, node: Node<'_>, step: Step) -> Result<(), Unsupported> {
        if self.steps.len() >= MOST_STEPS {
            return Err(node.refuse(format!("the graph has more than {MOST_STEPS} steps")));
        }
        self.steps.push(step);
        Ok(())
    }

    fn charge_weights(&mut self, node: Node<'_>, bytes: usize) -> Result<(), Unsupported> {
        self.weight_bytes = self.weight_bytes.saturating_add(bytes);
        if self.weight_bytes > MOST_WEIGHT_BYTES {
            return Err(node.refuse(format!("the packed weights take more than {MOST_WEIGHT_BYTES} bytes")));
        }
        Ok(())
    }

    /// Makes the step of a pending result whose quantisation is known now.
    fn emit(&mut self, node: Node<'a>, pending: &Pending<'a>, quant: Quant) -> Result<Operand, Unsupported> {
        match &pending.operation {
            Operation::Convolution(layer) => self.emit_convolution(node, pending, layer, quant),
            Operation::Add(a, b) => self.emit_add(node, pending, *a, *b, quant),
            Operation::Multiply(a, b) => self.emit_multiply(node, pending, *a, *b, quant),
            Operation::AveragePool(average) => self.emit_average(node, pending, average, quant),
            Operation::GlobalAverage(operand) => self.emit_global_average(node, pending, *operand, quant),
            Operation::Concat(parts) => self.emit_concat(node, pending, parts, quant),
            Operation::Function(operand, function) => self.emit_function(node, pending, *operand, *function, quant),
        }
    }

    fn finish(self, last: Node<'a>, output: &str) -> Result<Plan, Unsupported> {
        let Some(Value::Real(operand)) = self.values.get(output) else {
            return Err(last.refuse(format!("the output '{output}' is not dequantised int8")));
        };
        let input = self.input.ok_or_else(|| last.refuse("the graph does not begin with a QuantizeLinear"))?;
        let size = self.size(*operand);
        if size.rows * size.columns != 1 {
            return Err(last.refuse(format!("the output is {size}, no row of classes")));
        }
        let output = Output { tensor: operand.tensor, quant: operand.quant, classes: size.channels };
        Plan::new(self.tensors, self.steps, (input.tensor, input.quant), output, self.macs)
            .ok_or_else(|| last.refuse("the tensors of the graph take too much memory"))
    }
}

/// Sizes as the file has them, or `None` where one is negative or the product is absurd.
fn sizes(ints: &[i64]) -> Option<Vec<usize>> {
    let sizes: Option<Vec<usize>> = ints.iter().map(|&size| usize::try_from(size).ok()).collect();
    sizes.filter(|sizes| elements(sizes).is_some())
}
