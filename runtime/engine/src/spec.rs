//! The one interface that every backend stands behind.

use tinysaver_core::InputSpec;

use crate::error::InferError;
use crate::threads::Threads;

/// An input tensor, owned by the caller, of [`InputSpec::len`] numbers.
#[derive(Debug, Clone, Copy)]
pub enum Input<'a> {
    /// For [`tinysaver_core::Element::F32`].
    F32(&'a [f32]),
    /// For [`tinysaver_core::Element::U8`].
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

    /// Threads of an inference, at most: 1 unless [`Engine::set_threads`] has said otherwise.
    fn threads(&self) -> usize;

    /// Runs on these threads from now on. The answers stay the same to the bit.
    fn set_threads(&mut self, threads: &Threads);

    /// Runs one frame: reads `input`, overwrites `logits`.
    ///
    /// # Errors
    /// A buffer of the wrong kind or length, or a failure inside the backend.
    fn infer(&mut self, input: Input<'_>, logits: &mut [f32]) -> Result<(), InferError>;
}
