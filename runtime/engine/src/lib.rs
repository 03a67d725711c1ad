//! A model file in, logits out.
//!
//! Invariant: this crate is the only one that knows ONNX or tract. Whatever a model file says, loading it gives an
//! engine or an error that names the file; it never panics and never guesses.

mod batch;
mod checks;
#[cfg(target_arch = "x86_64")]
mod convolution_f32;
mod error;
mod inspect;
mod int8;
mod load;
mod onnx;
mod program;
mod softmax;
mod spec;
mod threads;
mod tract;

pub use batch::{BatchedModel, open_batch};
pub use error::{InferError, LoadError};
pub use inspect::{Int8Report, ModelReport, OpReport, TensorReport, inspect};
pub use int8::{Fallback, Int8Engine, KernelChoice, Unsupported};
pub use load::{Loaded, load_best};
pub use spec::{Engine, Input};
pub use threads::{MOST_THREADS, Threads};
pub use tract::TractEngine;
