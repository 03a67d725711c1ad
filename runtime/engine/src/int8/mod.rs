//! The int8 backend: a quantised ONNX graph as a list of fused steps on bytes.
//!
//! **From file to plan.** [`compile`] walks the nodes once. In the QDQ form (what
//! `onnxruntime.quantization.quantize_static` writes by default, and PyTorch exports) every operator stands between
//! DequantizeLinear and QuantizeLinear; it stays pending until the QuantizeLinear that follows gives its output a scale,
//! and becomes one step with it. In the QOperator form (QLinearConv, and com.microsoft's QLinearAdd and kin) a node is a
//! step. Relu, Relu6 and Clip are ranges of the step before them. What cannot be run is refused as [`Unsupported`] with
//! the node's name, and the caller takes tract for the whole model.
//!
//! **Numbers.** Activations are u8 inside, whatever the file has ([`quant`]). Sums are exact in i32. A sum is multiplied
//! by `input scale * weight scale / output scale` in f32, clamped, rounded half to even, and the zero point is added:
//! ONNX Runtime's arithmetic, so that outputs are equal bit for bit. Where they may differ, by one step:
//! * convolutions, matrix products: nowhere, except from ONNX Runtime's own u8 x s8 kernel on x86 without VNNI, which
//!   saturates (its session option `session.x64quantprecision` turns that off);
//! * sums of tensors: ONNX Runtime on ARM uses fixed point, and its SSE2 path does not fuse product and sum;
//! * QDQ graphs with signed activations: ONNX Runtime keeps a convolution with its Relu in f32 where it finds no int8 one;
//! * sigmoid and tanh: ONNX Runtime approximates them;
//! * global average pools: ONNX Runtime on ARM uses fixed point.
//!
//! **Memory.** Tensors are NHWC and lie in one arena, laid out at load by how long each is needed ([`memory`]). An
//! inference allocates nothing.
//!
//! **Dense convolutions** are matrix products in one of two forms ([`weights`]). The *dot* form multiplies bytes where
//! they lie: an output pixel's row is one run of bytes for each row of the window, so pointwise convolutions and fully
//! connected layers read the input itself, and windows a band of it that was copied with the border around it. Only
//! grouped and horizontally dilated ones gather. Weights are i8. The *pair* form gathers rows of i16 and serves kernels
//! without dot products, and weights which less their zero point do not fit i8. Depthwise convolutions read the image in
//! place.
//!
//! **Kernels** ([`kernels`]) are chosen once, by what the processor has. The scalar set is the definition; all others
//! give the same bits, which property tests hold them to. They are the only unsafe code of the crate.
//!
//! **Hostile files.** Sizes are multiplied with overflow checks and capped, constants must hold what their shape says,
//! scales must be finite and positive, a name must be made once and before it is used (so there are no cycles).

mod aligned;
mod compile;
mod depthwise_weights;
mod graph;
mod kernels;
mod memory;
mod plan;
mod quant;
mod steps;
mod weights;
mod window;

use std::path::Path;

pub use graph::Unsupported;
pub use kernels::KernelChoice;

use crate::error::{InferError, LoadError};
use crate::onnx::OnnxFile;
use crate::spec::{Engine, Input};
use crate::tract;
use kernels::Kernels;
use memory::Memory;
use plan::Plan;
use tinysaver_core::{Element, InputSpec, Layout};

/// The backend's name in tables.
pub(crate) const NAME: &str = "int8";

/// A quantised classifier compiled to int8 steps.
#[derive(Debug)]
pub struct Int8Engine {
    plan: Plan,
    memory: Memory,
    kernels: Kernels,
    input: InputSpec,
}

impl Int8Engine {
    /// Loads a quantised classifier: one float32 input `[1, 3, height, width]` that goes to a QuantizeLinear, one
    /// float32 output of `classes` numbers out of a DequantizeLinear. `pixels` is the height and width that the pair
    /// states; it must equal what the file fixes.
    ///
    /// # Errors
    /// Every way in which the file cannot be used here; [`LoadError::Int8`] where tract may still run it.
    pub fn load(path: &Path, pixels: Option<(usize, usize)>, choice: KernelChoice) -> Result<Self, LoadError> {
        Self::compile(&OnnxFile::read(path)?, pixels, choice)
    }

    pub(crate) fn compile(
        file: &OnnxFile,
        pixels: Option<(usize, usize)>,
        choice: KernelChoice,
    ) -> Result<Self, LoadError> {
        let kernels = choice.find().map_err(|detail| LoadError::Kernels { path: file.path.clone(), detail })?;
        let mut input = tract::image_input(file, pixels)?;
        let refuse = |reason: Unsupported| LoadError::Int8 { path: file.path.clone(), reason };
        let plan = compile::compile(file, (input.height, input.width), kernels).map_err(refuse)?;
        input.layout = Layout::Nhwc;
        // Both are within u8 by construction.
        let zero_point = plan.input_quant.zero_point as u8;
        input.element = Element::U8 { scale: plan.input_quant.scale, zero_point };
        let memory = plan.memory();
        Ok(Self { plan, memory, kernels, input })
    }

    /// Bytes of all activations together.
    #[must_use]
    pub fn arena_bytes(&self) -> usize {
        self.plan.arena_bytes()
    }

    /// Fused steps of one inference.
    #[must_use]
    pub fn step_count(&self) -> usize {
        self.plan.steps().len()
    }
}

impl Engine for Int8Engine {
    fn name(&self) -> &'static str {
        self.kernels.name
    }

    fn input(&self) -> InputSpec {
        self.input
    }

    fn classes(&self) -> usize {
        self.plan.output.classes
    }

    fn macs(&self) -> u64 {
        self.plan.macs
    }

    fn infer(&mut self, input: Input<'_>, logits: &mut [f32]) -> Result<(), InferError> {
        let (wanted, classes) = (self.input.len(), self.classes());
        let wrong = |buffer, found: String, expected: String| Err(InferError::Buffer { buffer, found, expected });
        let picture = match input {
            Input::U8(picture) if picture.len() == wanted => picture,
            Input::U8(picture) => return wrong("input", picture.len().to_string(), format!("{wanted} numbers of u8")),
            Input::F32(_) => return wrong("input", "f32".into(), format!("{wanted} numbers of u8")),
        };
        if logits.len() != classes {
            return wrong("logits", logits.len().to_string(), format!("{classes} numbers of f32"));
        }
        self.plan.run(&mut self.memory, &self.kernels, picture, logits)
    }
}
