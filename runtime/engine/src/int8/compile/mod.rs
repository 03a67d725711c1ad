//! From the file's nodes to fused steps.
//!
//! The nodes are walked once, in the file's order. A node that computes in real numbers on dequantised tensors makes no
//! step yet: it is [`Pending`] until a QuantizeLinear (or, in the QOperator form, the node itself) says what its output
//! is quantised to. A Relu or Clip in between narrows the range of the pending result. A node that only names numbers in
//! another order makes a [`View`]. A node that cannot be run in int8 is left to tract, with its neighbours ([`real`]).

mod arithmetic;
mod convolution;
mod curves;
mod join;
mod pool;
mod quantise;
mod real;
mod resize;
mod shape;

use std::collections::HashMap;
use std::rc::Rc;

use tinysaver_core::InputSpec;
use tract_onnx::pb;

use super::graph::{Constant, MOST_ELEMENTS, Node, Unsupported, elements};
use super::kernels::Kernels;
use super::memory::TensorId;
use super::plan::{Exit, Parts, Plan, Size};
use super::quant::{Bounds, Quant};
use super::steps::{Copy as CopyStep, Step};
use super::view::{View, copy_loops, shape_elements, standard_strides};
use crate::onnx::OnnxFile;
pub use real::Fallback;

/// Most steps of a plan; the largest nets that fit a board have a few hundred.
const MOST_STEPS: usize = 4096;

/// Most bytes of packed weights.
const MOST_WEIGHT_BYTES: usize = 1 << 29;

/// The number of a view in its compiler.
type ViewId = usize;

/// A quantised tensor as a node reads it: the numbers, and what the node takes them to mean.
#[derive(Debug, Clone, Copy)]
struct Operand {
    view: ViewId,
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
    /// Real numbers that tract makes.
    Float,
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
    GlobalAverage(pool::Global),
    /// Shared, like a layer's weights and bias: every fused clip holds a copy of its operation.
    Concat(Rc<join::Join>),
    Function(arithmetic::Mapped),
}

impl<'a> From<Operation<'a>> for Value<'a> {
    fn from(operation: Operation<'a>) -> Self {
        Self::Pending(Rc::new(Pending { operation, low: f32::NEG_INFINITY, high: f32::INFINITY }))
    }
}

impl Pending<'_> {
    fn is_clipped(&self) -> bool {
        self.low != f32::NEG_INFINITY || self.high != f32::INFINITY
    }

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
    file: &'a OnnxFile,
    kernels: Kernels,
    constants: HashMap<&'a str, &'a pb::TensorProto>,
    values: HashMap<&'a str, Value<'a>>,
    views: Vec<View>,
    /// Tensors in the order in which steps take them, where a view had to be copied for that.
    ordered: HashMap<ViewId, TensorId>,
    parts: Parts,
    picture: real::Picture,
    graph: real::Graph<'a>,
    /// Whether signed tensors count as unsigned ones moved by 128. ONNX Runtime turns a QDQ graph into that on x86, and
    /// the last bit of a sum of tensors depends on it; in the QOperator form it takes them as they are.
    as_unsigned: bool,
    weight_bytes: usize,
}

/// Compiles a classifier whose input is as `spec` says.
pub fn compile(file: &OnnxFile, spec: &InputSpec, kernels: Kernels) -> Result<Plan, Unsupported> {
    let whole = |why: &str| Unsupported { op: "graph".into(), node: file.path.display().to_string(), why: why.into() };
    let graph = file.proto.graph.as_ref().ok_or_else(|| whole("it is empty"))?;
    let ([input], [output]) = (file.inputs.as_slice(), file.outputs.as_slice()) else {
        return Err(whole("it has not one input and one output"));
    };
    let picture = real::Picture::of(graph, &input.name, spec);
    shape_elements(picture.shape()).ok_or_else(|| whole("its input is too large"))?;
    let mut compiler = Compiler {
        file,
        kernels,
        constants: graph.initializer.iter().map(|tensor| (tensor.name.as_str(), tensor)).collect(),
        values: HashMap::from([(input.name.as_str(), Value::Picture)]),
        views: Vec::new(),
        ordered: HashMap::new(),
        parts: Parts::default(),
        picture,
        graph: real::Graph::of(graph),
        as_unsigned: !graph.node.iter().any(|node| node.op_type.starts_with("QLinear") || node.op_type == "QGemm"),
        weight_bytes: 0,
    };
    compiler.enter_picture(&input.name);
    for proto in &graph.node {
        compiler.add_node(Node::new(proto))?;
    }
    let last = graph.node.last().map(Node::new).ok_or_else(|| whole("it has no node"))?;
    compiler.finish(last, &output.name)
}

/// How far a compiler was before a node.
struct Mark {
    views: usize,
    tensors: usize,
    steps: usize,
    macs: u64,
    weight_bytes: usize,
}

impl<'a> Compiler<'a> {
    fn add_node(&mut self, node: Node<'a>) -> Result<(), Unsupported> {
        let mark = Mark {
            views: self.views.len(),
            tensors: self.parts.tensors.len(),
            steps: self.parts.steps.len(),
            macs: self.parts.macs,
            weight_bytes: self.weight_bytes,
        };
        let values = match self.values_of(node) {
            Ok(values) => values,
            Err(reason) => {
                self.roll_back(&mark);
                self.fall_back(node, reason)?
            }
        };
        for (name, value) in node.outputs().iter().zip(values) {
            if !name.is_empty()
                && (self.values.insert(name, value).is_some() || self.constants.contains_key(name.as_str()))
            {
                return Err(node.refuse(format!("'{name}' is made twice")));
            }
        }
        // A pending layer holds its weights a second time; it is let go with its last reader. What tract may still need
        // of it are its name and its maker.
        for name in node.inputs() {
            if self.graph.was_read(name)
                && let Some(value @ Value::Pending(_)) = self.values.get_mut(name.as_str())
            {
                *value = Value::Float;
            }
        }
        Ok(())
    }

    fn roll_back(&mut self, mark: &Mark) {
        self.views.truncate(mark.views);
        self.parts.tensors.truncate(mark.tensors);
        self.parts.steps.truncate(mark.steps);
        self.parts.macs = mark.macs;
        self.weight_bytes = mark.weight_bytes;
        self.ordered.retain(|&view, &mut tensor| view < mark.views && tensor < mark.tensors);
    }

    fn values_of(&mut self, node: Node<'a>) -> Result<Vec<Value<'a>>, Unsupported> {
        if node.op() == "Split" {
            return self.split(node);
        }
        // Dropout's mask and MaxPool's indices are outputs that nobody reads.
        let others = node.outputs().get(1..).unwrap_or(&[]);
        if others.iter().any(|name| self.graph.is_read(name)) {
            return Err(node.refuse("it has more than one output"));
        }
        Ok(vec![self.value_of(node)?])
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
            "Add" | "Sub" | "Mul" | "Div" => self.binary(node),
            "QLinearAdd" | "QLinearMul" => self.qlinear_binary(node),
            "Sigmoid" | "HardSigmoid" | "HardSwish" | "LeakyRelu" | "Tanh" => self.function(node),
            "QLinearSigmoid" | "QLinearLeakyRelu" => self.qlinear_function(node),
            "MaxPool" => self.max_pool(node),
            "AveragePool" | "QLinearAveragePool" => self.average_pool(node),
            "GlobalAveragePool" | "ReduceMean" | "QLinearGlobalAveragePool" => self.global_average(node),
            "Concat" => self.concat(node),
            "QLinearConcat" => self.qlinear_concat(node),
            "Flatten" | "Reshape" | "Squeeze" | "Unsqueeze" => self.reshape(node),
            "Transpose" => self.transpose(node),
            "Slice" => self.slice(node),
            "Resize" => self.resize(node),
            "Identity" | "Dropout" => self.value(node, 0),
            "Cast" => self.cast(node),
            _ => Err(node.refuse("there is no int8 step for this operator")),
        }
    }

    /// What an input stands for.
    fn value(&self, node: Node<'a>, index: usize) -> Result<Value<'a>, Unsupported> {
        let name = node.input(index).ok_or_else(|| node.refuse(format!("input {index} is missing")))?;
        self.named(node, name)
    }

    fn named(&self, node: Node<'a>, name: &str) -> Result<Value<'a>, Unsupported> {
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
            Value::Pending(_) | Value::Float => {
                Err(node.refuse(format!("input {index} comes from an operator whose output is not quantised")))
            }
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

    fn view(&self, operand: Operand) -> View {
        // Every operand was made by `add_view`.
        self.views.get(operand.view).cloned().unwrap_or(View { tensor: 0, offset: 0, axes: Vec::new() })
    }

    fn shape(&self, operand: Operand) -> Vec<usize> {
        self.views.get(operand.view).map(View::shape).unwrap_or_default()
    }

    /// The size of an image or a row of batch 1; refused for every other shape.
    fn size(&self, node: Node<'_>, operand: Operand) -> Result<Size, Unsupported> {
        let shape = self.shape(operand);
        Size::of(&shape).ok_or_else(|| node.refuse(format!("its input is {shape:?}, no image or row of batch 1")))
    }

    fn add_view(&mut self, view: View) -> ViewId {
        self.views.push(view);
        self.views.len() - 1
    }

    /// A new tensor in the order in which steps take it.
    fn new_tensor(
        &mut self,
        node: Node<'_>,
        shape: &[usize],
        quant: Quant,
    ) -> Result<(TensorId, Operand), Unsupported> {
        let length = match shape_elements(shape) {
            Some(0) | None => {
                return Err(node.refuse(format!("a tensor of {shape:?} is empty or has over {MOST_ELEMENTS} numbers")));
            }
            Some(length) => length,
        };
        self.parts.tensors.push(length);
        let tensor = self.parts.tensors.len() - 1;
        let view = self.add_view(View::whole(tensor, shape, &standard_strides(shape)));
        Ok((tensor, Operand { view, quant }))
    }

    /// The tensor of an operand in the order in which steps take it; copied first where it lies in another order.
    fn ordered(&mut self, node: Node<'_>, operand: Operand) -> Result<TensorId, Unsupported> {
        if let Some(&tensor) = self.ordered.get(&operand.view) {
            return Ok(tensor);
        }
        let view = self.view(operand);
        let shape = view.shape();
        let strides = standard_strides(&shape);
        let is_whole = self.parts.tensors.get(view.tensor).copied() == shape_elements(&shape);
        if is_whole && view.has_strides(&strides) {
            return Ok(view.tensor);
        }
        let (tensor, _) = self.new_tensor(node, &shape, operand.quant)?;
        let copy = CopyStep::new([view.tensor, tensor], [view.offset, 0], copy_loops(&view, &strides));
        self.push(node, Step::Copy(copy))?;
        self.ordered.insert(operand.view, tensor);
        Ok(tensor)
    }

    fn push(&mut self, node: Node<'_>, step: Step) -> Result<(), Unsupported> {
        if self.parts.steps.len() >= MOST_STEPS {
            return Err(node.refuse(format!("the graph has more than {MOST_STEPS} steps")));
        }
        self.parts.steps.push(step);
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
            Operation::GlobalAverage(global) => self.emit_global_average(node, pending, *global, quant),
            Operation::Concat(join) => self.emit_concat(node, pending, join, quant),
            Operation::Function(mapped) => self.emit_function(node, pending, mapped, quant),
        }
    }

    fn finish(mut self, last: Node<'a>, output: &str) -> Result<Plan, Unsupported> {
        let (exit, shape) = match self.named(last, output)? {
            Value::Real(operand) => (Exit::Steps(self.ordered(last, operand)?, operand.quant), self.shape(operand)),
            Value::Pending(_) | Value::Float => {
                let slot = self.real_output(last, output)?;
                (Exit::Reals(slot), self.graph.slot_shape(slot))
            }
            _ => return Err(last.refuse(format!("the output '{output}' is not dequantised"))),
        };
        let is_int8 = |step: &Step| {
            use Step::{Convolution, Depthwise, DotConvolution, RealLayer, Winograd};
            matches!(step, Convolution(_) | DotConvolution(_) | Winograd(_) | Depthwise(_) | RealLayer(_))
        };
        if !self.parts.fallbacks.is_empty() && !self.parts.steps.iter().any(is_int8) {
            return Err(last.refuse("no convolution and no matrix product of the graph is quantised"));
        }
        let long: Vec<usize> = shape.iter().copied().filter(|&axis| axis != 1).collect();
        let classes = match long.as_slice() {
            [] => 1,
            [classes] => *classes,
            _ => return Err(last.refuse(format!("the output is {shape:?}, no row of classes"))),
        };
        if self.parts.macs > crate::tract::MOST_MACS {
            return Err(last.refuse(format!("{} multiply-accumulates of one inference", self.parts.macs)));
        }
        self.parts.drop_unread(&exit);
        let entry = self.picture.entry().ok_or_else(|| last.refuse("nothing reads the picture"))?;
        Plan::new(self.parts, entry, exit, classes)
            .ok_or_else(|| last.refuse("the tensors of the graph take too much memory"))
    }
}

/// Sizes as the file has them, or `None` where one is negative or the product is absurd.
fn sizes(ints: &[i64]) -> Option<Vec<usize>> {
    let sizes: Option<Vec<usize>> = ints.iter().map(|&size| usize::try_from(size).ok()).collect();
    sizes.filter(|sizes| elements(sizes).is_some())
}

/// An axis that may be counted from the end.
fn axis(axis: i64, rank: usize) -> Option<usize> {
    let rank = i64::try_from(rank).ok()?;
    let axis = if axis < 0 { axis.checked_add(rank)? } else { axis };
    (0..rank).contains(&axis).then(|| usize::try_from(axis).ok())?
}
