//! The int8 backend: a quantised ONNX graph as a list of fused steps on bytes.
//!
//! **From file to plan.** [`compile`] walks the nodes once. In the QDQ form (what
//! `onnxruntime.quantization.quantize_static` writes by default, and PyTorch exports) every operator stands between
//! DequantizeLinear and QuantizeLinear; it stays pending until the QuantizeLinear that follows gives its output a scale,
//! and becomes one step with it. In the QOperator form (QLinearConv, and com.microsoft's QLinearAdd and kin) a node is a
//! step. Relu, Relu6 and Clip are ranges of the step before them. Functions of one number are
//! tables, and chains of such functions of the same tensor are one table. Reshape, Transpose, Split, Slice, Flatten and
//! Squeeze make another [`view`] of the same bytes; the bytes are copied, once and strided, only where a step needs them in
//! its own order, so that a channel shuffle is one copy. A softmax at the end is left out: outputs are logits.
//!
//! **What has no int8 step** runs in tract in f32: the nodes between two quantised places become one program, whose inputs
//! are dequantised and whose outputs the graph's own QuantizeLinear quantises. That is what ONNX defines for them, so it
//! is sound; it costs the conversions, memory that tract allocates in each inference, and f32 arithmetic, all of which
//! `tinysaver model inspect` tells for each file. A graph of which no convolution is quantised is refused as
//! [`Unsupported`], and so is one with a quantised operator that has no step; the caller then takes tract for the whole.
//!
//! **Numbers.** Activations are u8 inside, whatever the file has ([`quant`]). Sums are exact in i32. A sum is multiplied
//! by `input scale * weight scale / output scale` in f32, clamped, rounded half to even, and the zero point is added:
//! ONNX Runtime's arithmetic, so that outputs are equal bit for bit. Where they may differ, by one step:
//! * convolutions, matrix products: nowhere, except from ONNX Runtime's own u8 x s8 kernel on x86 without VNNI, which
//!   saturates (its session option `session.x64quantprecision` turns that off);
//! * sums of tensors: ONNX Runtime on ARM uses fixed point, and its SSE2 path does not fuse product and sum;
//! * QDQ graphs with signed activations: ONNX Runtime keeps convolutions in f32 where it finds no int8 one, and later layers
//!   add to what that rounds the other way; in the QOperator form it computes them in integers and is equal;
//! * nodes that run in f32: their sums may be taken in another order;
//! * global average pools: ONNX Runtime on ARM uses fixed point.
//!
//! Sigmoid and tanh are ONNX Runtime's own rational approximations. `docs/figures/coverage.md` has the differences on all
//! coverage models.
//!
//! **Memory.** Tensors are NHWC and lie in one arena, laid out at load by how long each is needed ([`memory`]). An
//! inference without nodes in f32 allocates nothing.
//!
//! **Dense convolutions** are matrix products in one of two forms ([`weights`]). The *dot* form multiplies bytes where
//! they lie: an output pixel's row is one run of bytes for each row of the window, so pointwise convolutions and fully
//! connected layers read the input itself, and windows a band of it that was copied with the border around it. Only
//! grouped and horizontally dilated ones gather. Weights are i8. The *pair* form gathers rows of i16 and serves kernels
//! without dot products, and weights which less their zero point do not fit i8; kernels may do its 3 x 3 windows with fewer
//! products ([`kernels::winograd`]). Depthwise convolutions read the image in
//! place; where it has few channels, VNNI kernels read a bordered copy, several pixels at once.
//!
//! **Kernels** ([`kernels`]) are chosen once, by what the processor has. The scalar set is the definition; all others
//! give the same bits, which property tests hold them to. Beside `convolution_f32` and `threads/helper.rs` they are the only unsafe code of the crate.
//!
//! **Threads.** A step whose work is worth it is cut by rows of its output, or by pixels, which lie one after the other
//! ([`steps`]): each thread computes some of them as one thread would compute all, so that the bits stay the same.
//!
//! **Hostile files.** Sizes are multiplied with overflow checks and capped, constants must hold what their shape says,
//! scales must be finite and positive, a name must be made once and before it is used (so there are no cycles).

pub(crate) mod aligned;
mod compile;
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "some forms are read by kernels for x86-64 only"))]
mod depthwise_weights;
mod graph;
mod kernels;
mod memory;
mod plan;
mod quant;
mod steps;
mod view;
mod weights;
mod window;

use std::path::Path;

pub use compile::Fallback;
pub use graph::Unsupported;
pub(crate) use graph::elements;
pub use kernels::KernelChoice;

use crate::error::{InferError, LoadError};
use crate::onnx::OnnxFile;
use crate::spec::{Engine, Input};
use crate::threads::Threads;
use crate::tract;
use kernels::Kernels;
use memory::Memory;
use plan::{Entry, Plan};
use tinysaver_core::{Element, InputSpec, Layout};

/// The backend's name in tables.
pub(crate) const NAME: &str = "int8";

/// A quantised classifier compiled to int8 steps.
#[derive(Debug)]
pub struct Int8Engine {
    plan: Plan,
    memory: Memory,
    kernels: Kernels,
    threads: Threads,
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

    /// The same from the bytes of a file; `path` serves the messages.
    ///
    /// # Errors
    /// As [`Int8Engine::load`], without those of reading.
    pub fn from_bytes(
        path: &Path,
        bytes: &[u8],
        pixels: Option<(usize, usize)>,
        choice: KernelChoice,
    ) -> Result<Self, LoadError> {
        Self::compile(&OnnxFile::parse(path, bytes)?, pixels, choice)
    }

    pub(crate) fn compile(
        file: &OnnxFile,
        pixels: Option<(usize, usize)>,
        choice: KernelChoice,
    ) -> Result<Self, LoadError> {
        let kernels = choice.find().map_err(|detail| LoadError::Kernels { path: file.path.clone(), detail })?;
        let mut input = tract::image_input(file, pixels)?;
        let refuse = |reason: Unsupported| LoadError::Int8 { path: file.path.clone(), reason };
        let plan = compile::compile(file, &input, kernels).map_err(refuse)?;
        if let Entry::Steps(_, quant) = plan.entry {
            input.layout = Layout::Nhwc;
            // The zero point is within u8 by construction.
            input.element = Element::U8 { scale: quant.scale, zero_point: quant.zero_point as u8 };
        }
        let memory =
            plan.memory().map_err(|error| LoadError::Graph { path: file.path.clone(), detail: error.to_string() })?;
        Ok(Self { plan, memory, kernels, threads: Threads::one(), input })
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

    /// The nodes that tract runs in f32 because there is no int8 step for them, in the file's order.
    #[must_use]
    pub fn fallbacks(&self) -> &[Fallback] {
        self.plan.fallbacks()
    }

    /// Numbers that are dequantised or quantised around those nodes, of one inference.
    #[must_use]
    pub fn border_numbers(&self) -> usize {
        self.plan.border_numbers()
    }

    /// Multiply-accumulates of one inference that are made in f32.
    #[must_use]
    pub fn f32_macs(&self) -> u64 {
        self.plan.macs().1
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
        self.plan.classes
    }

    fn macs(&self) -> u64 {
        let (int8, f32) = self.plan.macs();
        int8.saturating_add(f32)
    }

    fn threads(&self) -> usize {
        self.threads.most()
    }

    fn set_threads(&mut self, threads: &Threads) {
        self.memory.buffers = self.plan.buffers(threads.most());
        self.threads = threads.clone();
    }

    fn infer(&mut self, input: Input<'_>, logits: &mut [f32]) -> Result<(), InferError> {
        let (wanted, classes) = (self.input.len(), self.classes());
        let wrong = |buffer, found: String, expected: String| Err(InferError::Buffer { buffer, found, expected });
        if logits.len() != classes {
            return wrong("logits", logits.len().to_string(), format!("{classes} numbers of f32"));
        }
        match (input, self.plan.entry) {
            (Input::U8(steps), Entry::Steps(..)) if steps.len() == wanted => {
                self.plan.enter_steps(&mut self.memory, steps);
            }
            (Input::F32(reals), Entry::Reals(_)) if reals.len() == wanted => {
                self.plan.enter_reals(&mut self.memory, reals);
            }
            (input, entry) => {
                let kind = if matches!(entry, Entry::Steps(..)) { "u8" } else { "f32" };
                let found = match input {
                    Input::U8(steps) => format!("{} numbers of u8", steps.len()),
                    Input::F32(reals) => format!("{} numbers of f32", reals.len()),
                };
                return wrong("input", found, format!("{wanted} numbers of {kind}"));
            }
        }
        let _running = self.threads.begin();
        self.plan.run(&mut self.memory, &self.kernels, &self.threads, logits)
    }
}
