//! The one interface that every backend stands behind.

use crate::error::InferError;

/// How the numbers of an image tensor follow each other. The batch is always 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// All of the first channel, then all of the second.
    Nchw,
    /// The channels of a pixel together.
    Nhwc,
}

/// What one number of an input tensor is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Element {
    /// The normalised pixel `x` itself.
    F32,
    /// `x / scale + zero_point`, rounded half to even and saturated: what an int8 plan starts from.
    U8 {
        /// Width of a step.
        scale: f32,
        /// The step that stands for 0.
        zero_point: u8,
    },
}

/// The input tensor that an engine wants.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct InputSpec {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// Channels; 3 for colour.
    pub channels: usize,
    /// Order of the numbers.
    pub layout: Layout,
    /// Kind of the numbers.
    pub element: Element,
}

impl InputSpec {
    /// Numbers in the tensor.
    #[must_use]
    pub fn len(&self) -> usize {
        self.height * self.width * self.channels
    }

    /// Whether there is nothing to fill in; never the case for a loaded model.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// An input tensor, owned by the caller, of [`InputSpec::len`] numbers.
#[derive(Debug, Clone, Copy)]
pub enum Input<'a> {
    /// For [`Element::F32`].
    F32(&'a [f32]),
    /// For [`Element::U8`].
    U8(&'a [u8]),
}

/// A loaded model. Batch 1; the caller owns the buffers on both sides, so that a backend can run without allocating.
pub trait Engine: Send {
    /// A short name for logs and tables, such as `tract-f32`.
    fn name(&self) -> &'static str;

    /// The tensor that [`Engine::infer`] takes.
    fn input(&self) -> InputSpec;

    /// How many logits [`Engine::infer`] writes.
    fn classes(&self) -> usize;

    /// Multiply-accumulates of one inference.
    fn macs(&self) -> u64;

    /// Runs one frame: reads `input`, overwrites `logits`.
    ///
    /// # Errors
    /// A buffer of the wrong kind or length, or a failure inside the backend.
    fn infer(&mut self, input: Input<'_>, logits: &mut [f32]) -> Result<(), InferError>;
}
