//! What a model file holds and who would run it, for `tinysaver model inspect`.

use std::path::Path;

use serde::Serialize;

use crate::error::LoadError;
use crate::int8::{self, Fallback, Int8Engine, KernelChoice};
use crate::onnx::{Axis, OnnxFile, Port};
use crate::spec::Engine;
use crate::tract;

/// A model file described. Serialises to the JSON of `model inspect --json`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ModelReport {
    /// Size of the file.
    pub bytes: u64,
    /// Who wrote it, as it says itself.
    pub producer: String,
    /// Version of ONNX's standard operator set.
    pub opset: i64,
    /// Inputs that are not weights.
    pub inputs: Vec<TensorReport>,
    /// Outputs.
    pub outputs: Vec<TensorReport>,
    /// Weights and biases; scales and zero points are not counted.
    pub parameters: u64,
    /// Multiply-accumulates of one inference; `None` where the graph cannot be run or its size is open.
    pub macs: Option<u64>,
    /// Why `macs` is missing.
    pub macs_unknown_because: Option<String>,
    /// Why the int8 backend does not run a quantised file; `None` where it does, and for files of real numbers.
    pub not_int8_because: Option<String>,
    /// The softmax at the end, if there is one: it is left out, because the gate takes logits and applies its own.
    pub left_out: Option<String>,
    /// What the int8 backend makes of it, if it runs it.
    pub int8: Option<Int8Report>,
    /// One row an operator and engine.
    pub operators: Vec<OpReport>,
}

/// A plan of the int8 backend.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Int8Report {
    /// Fused steps of one inference.
    pub steps: usize,
    /// Bytes of all activations together.
    pub arena_bytes: usize,
    /// Multiply-accumulates of one inference that tract makes in f32; they are among `macs`.
    pub f32_macs: u64,
    /// Numbers that one inference dequantises and quantises for tract.
    pub border_numbers: usize,
    /// The nodes that run in f32, and why.
    pub fallbacks: Vec<Fallback>,
}

impl From<&Int8Engine> for Int8Report {
    fn from(engine: &Int8Engine) -> Self {
        Self {
            steps: engine.step_count(),
            arena_bytes: engine.arena_bytes(),
            f32_macs: engine.f32_macs(),
            border_numbers: engine.border_numbers(),
            fallbacks: engine.fallbacks().to_vec(),
        }
    }
}

/// An input or an output.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TensorReport {
    /// Its name in the graph.
    pub name: String,
    /// Such as `float32`.
    pub element: String,
    /// Such as `[1, 3, 160, 160]`; a dynamic axis by its name.
    pub shape: String,
}

/// One kind of operator in the graph.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OpReport {
    /// Its name, with the domain where that is not ONNX's own.
    pub operator: String,
    /// How often it occurs.
    pub count: usize,
    /// The backend that would run it; `None` where none can.
    pub engine: Option<&'static str>,
    /// Why it does not run, or what it costs.
    pub note: Option<String>,
}

/// Describes a file, also one that cannot be run.
///
/// `pixels` fixes a dynamic height and width, so that operations can be counted.
///
/// # Errors
/// A file that cannot be read or is no ONNX model.
pub fn inspect(path: &Path, pixels: Option<(usize, usize)>) -> Result<ModelReport, LoadError> {
    let file = OnnxFile::read(path)?;
    let plan = Int8Engine::compile(&file, pixels, KernelChoice::Scalar);
    let counted = match &plan {
        Ok(engine) => Ok(engine.macs()),
        Err(_) => count_macs(&file, pixels),
    };
    let (macs, macs_unknown_because) = match counted {
        Ok(macs) => (Some(macs), None),
        Err(reason) => (None, Some(reason)),
    };
    let not_int8_because = match &plan {
        Ok(_) => None,
        Err(_) if !file.is_quantised() => None,
        Err(LoadError::Int8 { reason, .. }) => Some(reason.to_string()),
        Err(other) => Some(other.to_string()),
    };
    let opset = file.proto.opset_import.iter().find(|import| matches!(import.domain.as_str(), "" | "ai.onnx"));
    Ok(ModelReport {
        bytes: file.bytes,
        producer: format!("{} {}", file.proto.producer_name, file.proto.producer_version).trim().to_owned(),
        opset: opset.map_or(0, |import| import.version),
        inputs: file.inputs.iter().map(TensorReport::from).collect(),
        outputs: file.outputs.iter().map(TensorReport::from).collect(),
        parameters: file.parameters(),
        macs,
        macs_unknown_because,
        operators: match &plan {
            Ok(engine) => int8_operators(&file, engine.fallbacks()),
            Err(_) => tract_operators(&file),
        },
        left_out: file.left_out.clone(),
        int8: plan.as_ref().ok().map(Int8Report::from),
        not_int8_because,
    })
}

impl From<&Port> for TensorReport {
    fn from(port: &Port) -> Self {
        Self { name: port.name.clone(), element: port.element_name().into(), shape: port.shape() }
    }
}

/// A row for what runs in int8, and one for what tract runs, with the first reason.
fn int8_operators(file: &OnnxFile, fallbacks: &[Fallback]) -> Vec<OpReport> {
    let rows = file.op_counts().into_iter().flat_map(|(operator, (_, count))| {
        let mut left: Vec<&Fallback> = fallbacks.iter().filter(|fallback| fallback.op == operator).collect();
        left.truncate(count);
        let row = |engine, count, note| OpReport { operator: operator.clone(), count, engine: Some(engine), note };
        let note = left.first().map(|fallback| format!("between f32 and int8: {}", fallback.why));
        let rows = [row(int8::NAME, count - left.len(), None), row(tract::NAME, left.len(), note)];
        rows.into_iter().filter(|row| row.count > 0)
    });
    sorted(rows.collect())
}

fn tract_operators(file: &OnnxFile) -> Vec<OpReport> {
    let unsupported = tract::unsupported_ops(file);
    let rows = file.op_counts().into_iter().map(|(operator, (_, count))| {
        let missing = unsupported.iter().any(|(name, _)| *name == operator);
        let note = match operator.as_str() {
            _ if missing => Some("tract has no such operator"),
            "QuantizeLinear" | "DequantizeLinear" => Some("rounds between f32 operators: right, no faster than f32"),
            "QLinearConv" | "QLinearMatMul" | "ConvInteger" | "MatMulInteger" => Some("right, slower than f32"),
            _ => None,
        };
        OpReport { operator, count, engine: (!missing).then_some(tract::NAME), note: note.map(str::to_owned) }
    });
    sorted(rows.collect())
}

fn sorted(mut rows: Vec<OpReport>) -> Vec<OpReport> {
    rows.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.operator.cmp(&b.operator)));
    rows
}

fn count_macs(file: &OnnxFile, pixels: Option<(usize, usize)>) -> Result<u64, String> {
    if !tract::unsupported_ops(file).is_empty() {
        return Err("some operators are unsupported".into());
    }
    let shape = concrete_shape(file, pixels)?;
    tract::guarded(&file.path, || {
        let model = tract::typed(file, &shape).map_err(|error| tract::graph_error(&file.path, &error))?;
        tract::macs(&model).map_err(|error| tract::graph_error(&file.path, &error))
    })
    .map_err(|error| error.to_string())
}

/// The shape to count for: the image's where it is one, else the file's own if every axis is fixed.
fn concrete_shape(file: &OnnxFile, pixels: Option<(usize, usize)>) -> Result<Vec<usize>, String> {
    if let Ok(input) = tract::image_input(file, pixels) {
        return Ok(tract::input_shape(&input).to_vec());
    }
    let [port] = file.inputs.as_slice() else {
        return Err(format!("it has {} inputs, operations are counted for one", file.inputs.len()));
    };
    let axes = port.axes.iter().map(|axis| match axis {
        Axis::Fixed(size) => Ok(*size),
        Axis::Dynamic(_) => Err(format!("input '{}' is {}: give its size with --pixels", port.name, port.shape())),
    });
    axes.collect()
}
