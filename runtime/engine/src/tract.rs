//! The general backend: any ONNX graph that tract runs, in f32. Quantised (QDQ) files give right answers here but
//! gain no speed: tract runs them as f32 with rounding in between.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, OnceLock};

use tinysaver_core::{Element, InputSpec, Layout};
use tract_onnx::pb;
use tract_onnx::prelude::*;
use tract_onnx::tract_core::ops::Cost;

use crate::error::{InferError, LoadError};
use crate::onnx::{Axis, FLOAT32, OnnxFile, Port};
use crate::spec::{Engine, Input};
use crate::threads::Threads;

/// Most nodes that tract is given: its optimisation takes seconds for this many and grows faster than they do.
const MOST_NODES: usize = 2_500;

/// Most multiply-accumulates of one inference: minutes on the fastest processor.
pub(crate) const MOST_MACS: u64 = 1_000_000_000_000;

/// The name in logs and tables.
pub(crate) const NAME: &str = "tract-f32";

/// A model that tract runs: loaded and optimised once, the plan kept.
pub struct TractEngine {
    state: TypedSimpleState,
    shape: [usize; 4],
    input: InputSpec,
    classes: usize,
    macs: u64,
    threads: Threads,
}

impl TractEngine {
    /// Loads an image classifier: one float32 input `[1, 3, height, width]` (or `[1, height, width, 3]`), one float32
    /// output of `classes` numbers. A dynamic batch axis is taken as 1; dynamic height and width as `pixels`, the
    /// height and width that the pair states, which fixed axes must equal.
    ///
    /// # Errors
    /// Every way in which the file cannot be used; see [`LoadError`].
    pub fn load(path: &Path, pixels: Option<(usize, usize)>) -> Result<Self, LoadError> {
        Self::from_file(&OnnxFile::read(path)?, pixels)
    }

    pub(crate) fn from_file(file: &OnnxFile, pixels: Option<(usize, usize)>) -> Result<Self, LoadError> {
        let path = file.path.as_path();
        let unsupported: Vec<String> = unsupported_ops(file).into_iter().map(|(name, _)| name).collect();
        if !unsupported.is_empty() {
            return Err(LoadError::UnsupportedOps { path: path.into(), ops: unsupported });
        }
        let input = image_input(file, pixels)?;
        let shape = input_shape(&input);
        guarded(path, || Self::build(file, input, shape))
    }

    fn build(file: &OnnxFile, input: InputSpec, shape: [usize; 4]) -> Result<Self, LoadError> {
        let [output] = file.outputs.as_slice() else {
            let names: Vec<&str> = file.outputs.iter().map(|output| output.name.as_str()).collect();
            let detail = format!("it has {} outputs ({})", names.len(), names.join(", "));
            return Err(LoadError::Outputs { path: file.path.clone(), detail });
        };
        let graph_error = |error: TractError| graph_error(&file.path, &error);
        let model = typed(file, &shape).map_err(graph_error)?;
        let macs = macs(&model).map_err(graph_error)?;
        let classes = classes(&model, output, &file.path)?;
        let plan: Arc<TypedSimplePlan> =
            model.into_optimized().and_then(TypedModel::into_runnable).map_err(graph_error)?;
        let state = plan.spawn().map_err(graph_error)?;
        Ok(Self { state, shape, input, classes, macs, threads: Threads::one() })
    }
}

impl Engine for TractEngine {
    fn name(&self) -> &'static str {
        NAME
    }

    fn input(&self) -> InputSpec {
        self.input
    }

    fn classes(&self) -> usize {
        self.classes
    }

    fn macs(&self) -> u64 {
        self.macs
    }

    fn threads(&self) -> usize {
        self.threads.most()
    }

    fn set_threads(&mut self, threads: &Threads) {
        self.threads = threads.clone();
    }

    fn infer(&mut self, input: Input<'_>, logits: &mut [f32]) -> Result<(), InferError> {
        let expected = self.input.len();
        let pixels = match input {
            Input::F32(pixels) if pixels.len() == expected => pixels,
            Input::F32(pixels) => return Err(buffer("input", format!("{} numbers", pixels.len()), expected)),
            Input::U8(_) => return Err(buffer("input", "u8".into(), expected)),
        };
        if logits.len() != self.classes {
            return Err(buffer("logits", format!("{} numbers", logits.len()), self.classes));
        }
        let backend = |error: TractError| InferError::Backend(format!("{error:#}"));
        let tensor = Tensor::from_shape(&self.shape, pixels).map_err(backend)?;
        let (state, threads) = (&mut self.state, &self.threads);
        let _running = threads.begin();
        let outputs = threads.during(|| guarded_run(state, |state| state.run(tvec!(tensor.into_tvalue()))))?;
        let output = outputs.first().ok_or_else(|| InferError::Backend("no output".into()))?;
        let view = output.to_plain_array_view::<f32>().map_err(backend)?;
        for (logit, &value) in logits.iter_mut().zip(view.iter()) {
            *logit = value;
        }
        Ok(())
    }
}

fn buffer(buffer: &'static str, found: String, expected: usize) -> InferError {
    InferError::Buffer { buffer, found, expected: format!("{expected} numbers of f32") }
}

/// Operators of the file that tract has no code for, with how often they occur.
pub(crate) fn unsupported_ops(file: &OnnxFile) -> Vec<(String, usize)> {
    let known = onnx().op_register;
    let counts = file.op_counts().into_iter();
    counts.filter(|(_, (op, _))| !known.0.contains_key(op)).map(|(name, (_, count))| (name, count)).collect()
}

/// Whether tract has code for an operator of ONNX's own.
pub(crate) fn knows(op: &str) -> bool {
    static KNOWN: OnceLock<HashSet<String>> = OnceLock::new();
    KNOWN.get_or_init(|| onnx().op_register.0.into_keys().collect()).contains(op)
}

/// The graph with types and shapes, simplified, for an input of the given shape.
pub(crate) fn typed(file: &OnnxFile, shape: &[usize]) -> TractResult<TypedModel> {
    typed_for(&file.proto, &[shape.to_vec()])
}

/// The graph with types and shapes, simplified, for f32 inputs of the given shapes.
pub(crate) fn typed_for(proto: &pb::ModelProto, shapes: &[Vec<usize>]) -> TractResult<TypedModel> {
    let nodes = proto.graph.as_ref().map_or(0, |graph| graph.node.len());
    if nodes > MOST_NODES {
        return Err(TractError::msg(format!(
            "{nodes} nodes; at most {MOST_NODES} run in tract, whose optimisation is quadratic in them"
        )));
    }
    let mut model = onnx().parse(proto, None)?.model;
    for (index, shape) in shapes.iter().enumerate() {
        model = model.with_input_fact(index, f32::fact(shape).into())?;
    }
    #[cfg_attr(not(target_arch = "x86_64"), expect(unused_mut, reason = "only x86-64 has kernels of ours"))]
    let mut model = model.into_typed()?;
    check_sizes(&model)?;
    #[cfg(target_arch = "x86_64")]
    crate::convolution_f32::rewrite(&mut model)?;
    let model = model.into_decluttered()?;
    let macs = macs(&model)?;
    if macs > MOST_MACS {
        return Err(TractError::msg(format!("{macs} multiply-accumulates of one inference; at most {MOST_MACS}")));
    }
    Ok(model)
}

/// tract would allocate whatever the file makes of its input.
fn check_sizes(model: &TypedModel) -> TractResult<()> {
    for node in model.nodes() {
        for output in &node.outputs {
            let shape = &output.fact.shape;
            if shape.as_concrete().and_then(crate::int8::elements).is_none() {
                return Err(TractError::msg(format!(
                    "'{}' makes a tensor of {shape:?}: too large, or of no known size",
                    node.name
                )));
            }
        }
    }
    Ok(())
}

/// Multiply-accumulates of convolutions and matrix products, which is what papers count: tract's own figure has pooling
/// in it as well.
pub(crate) fn macs(model: &TypedModel) -> TractResult<u64> {
    let mut total = 0u64;
    for node in model.nodes() {
        let name = node.op.name();
        if !["Conv", "Deconv", "EinSum", "MatMul"].iter().any(|counted| name.contains(counted)) {
            continue;
        }
        for (cost, count) in node.op.cost(&model.node_input_facts(node.id)?)? {
            if matches!(cost, Cost::FMA(_)) {
                total = total.saturating_add(count.to_i64()?.unsigned_abs());
            }
        }
    }
    Ok(total)
}

/// tract is written for models that exist; what it does with a hostile one may be a panic, which stops here.
pub(crate) fn guarded<T>(path: &Path, work: impl FnOnce() -> Result<T, LoadError>) -> Result<T, LoadError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        Err(LoadError::Graph { path: path.into(), detail: "tract stumbled over it (see the message above)".into() })
    })
}

/// The same for an inference; the state is made anew after a panic, which may have left it half-way.
pub(crate) fn guarded_run<T>(
    state: &mut TypedSimpleState,
    work: impl FnOnce(&mut TypedSimpleState) -> TractResult<T>,
) -> Result<T, InferError> {
    let failed = |error: TractError| InferError::Backend(format!("{error:#}"));
    if let Ok(done) = catch_unwind(AssertUnwindSafe(|| work(state))) {
        return done.map_err(failed);
    }
    *state = state.plan().spawn().map_err(failed)?;
    Err(InferError::Backend("tract stumbled over it (see the message above)".into()))
}

pub(crate) fn graph_error(path: &Path, error: &TractError) -> LoadError {
    LoadError::Graph { path: path.into(), detail: format!("{error:#}") }
}

/// The one image input of a classifier.
pub(crate) fn image_input(file: &OnnxFile, pixels: Option<(usize, usize)>) -> Result<InputSpec, LoadError> {
    let refuse = |detail: String| LoadError::Inputs { path: file.path.clone(), detail };
    let [port] = file.inputs.as_slice() else {
        return Err(refuse(format!("it has {} inputs", file.inputs.len())));
    };
    let described = format!("input '{}' is {} {}", port.name, port.element_name(), port.shape());
    let [batch, a, b, c] = port.axes.as_slice() else { return Err(refuse(described)) };
    if port.element_type != FLOAT32 || matches!(batch, Axis::Fixed(size) if *size != 1) {
        return Err(refuse(described));
    }
    let (layout, height, width) = match (a, c) {
        (Axis::Fixed(3), _) => (Layout::Nchw, b, c),
        (_, Axis::Fixed(3)) => (Layout::Nhwc, a, b),
        _ => return Err(refuse(described)),
    };
    let (height, width) = spatial_size(file, port, height, width, pixels)?;
    if crate::int8::elements(&[height, width, 3]).is_none() {
        return Err(refuse(format!("{described} is too large")));
    }
    Ok(InputSpec { height, width, channels: 3, layout, element: Element::F32 })
}

/// Height and width: fixed by the file, or by the pair where the file leaves them open; the two must agree.
fn spatial_size(
    file: &OnnxFile,
    port: &Port,
    height: &Axis,
    width: &Axis,
    pixels: Option<(usize, usize)>,
) -> Result<(usize, usize), LoadError> {
    let size = |axis: &Axis, stated: Option<usize>| match axis {
        Axis::Fixed(size) => Some(*size),
        Axis::Dynamic(_) => stated,
    };
    let (Some(height), Some(width)) =
        (size(height, pixels.map(|(height, _)| height)), size(width, pixels.map(|(_, width)| width)))
    else {
        return Err(LoadError::DynamicAxes { path: file.path.clone(), input: port.name.clone(), axes: port.shape() });
    };
    match pixels {
        Some(stated) if stated != (height, width) => Err(LoadError::InputSize {
            path: file.path.clone(),
            found: format!("{height} x {width}"),
            expected: format!("{} x {}", stated.0, stated.1),
        }),
        _ => Ok((height, width)),
    }
}

pub(crate) fn input_shape(input: &InputSpec) -> [usize; 4] {
    match input.layout {
        Layout::Nchw => [1, input.channels, input.height, input.width],
        Layout::Nhwc => [1, input.height, input.width, input.channels],
    }
}

/// Length of the one output, whose axes are all 1 but one.
fn classes(model: &TypedModel, output: &Port, path: &Path) -> Result<usize, LoadError> {
    let fact = model.output_fact(0).map_err(|error| graph_error(path, &error))?;
    let refuse = || LoadError::Outputs {
        path: path.into(),
        detail: format!("output '{}' is {:?} {:?}", output.name, fact.datum_type, fact.shape),
    };
    if fact.datum_type != f32::datum_type() {
        return Err(refuse());
    }
    let shape = fact.shape.as_concrete().ok_or_else(refuse)?;
    let long: Vec<usize> = shape.iter().copied().filter(|&axis| axis != 1).collect();
    match (long.as_slice(), shape.is_empty()) {
        ([classes], false) => Ok(*classes),
        ([], false) => Ok(1),
        _ => Err(refuse()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_in_an_inference_is_an_error_and_the_next_one_runs() {
        let mut model = TypedModel::default();
        let input = model.add_source("input", f32::fact([2])).unwrap();
        model.select_output_outlets(&[input]).unwrap();
        let plan: Arc<TypedSimplePlan> = model.into_runnable().unwrap();
        let mut state = plan.spawn().unwrap();
        let stopped: Result<(), InferError> = guarded_run(&mut state, |_| panic!("as an operator might"));
        assert!(matches!(stopped, Err(InferError::Backend(text)) if text.contains("stumbled")));
        let numbers = tvec!(tensor1(&[1f32, 2.0]).into_tvalue());
        let outputs = guarded_run(&mut state, |state| state.run(numbers)).unwrap();
        assert_eq!(outputs.first().unwrap().to_plain_array_view::<f32>().unwrap().as_slice(), Some(&[1f32, 2.0][..]));
    }
}
