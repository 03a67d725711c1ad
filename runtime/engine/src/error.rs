//! What can go wrong with a model file and with a frame. Every message says what to try.

use std::path::PathBuf;

/// A model file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file system refused.
    #[error("{path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The bytes are no ONNX model.
    #[error("{path}: not an ONNX model, or cut short ({detail}); compare its size and hash with the original")]
    NotOnnx {
        /// The file.
        path: PathBuf,
        /// The parser's words.
        detail: String,
    },
    /// Weights lie in a second file.
    #[error(
        "{path}: tensor '{tensor}' is stored in another file; save the model as one file \
         (onnx.save without save_as_external_data)"
    )]
    ExternalData {
        /// The file.
        path: PathBuf,
        /// The first such tensor.
        tensor: String,
    },
    /// Nothing here can run some of the operators.
    #[error("{path}: unsupported {}: {}; `tinysaver model inspect` lists every operator", plural(.ops.len(), "operator"), .ops.join(", "))]
    UnsupportedOps {
        /// The file.
        path: PathBuf,
        /// Their names, with the domain where it is not the standard one.
        ops: Vec<String>,
    },
    /// It is no image classifier with one input.
    #[error("{path}: {detail}; an image classifier has one input of float32 [1, 3, height, width]")]
    Inputs {
        /// The file.
        path: PathBuf,
        /// What was found.
        detail: String,
    },
    /// It has several outputs or one of another shape.
    #[error("{path}: {detail}; an image classifier has one output of float32 [1, classes]")]
    Outputs {
        /// The file.
        path: PathBuf,
        /// What was found.
        detail: String,
    },
    /// An axis has no size.
    #[error(
        "{path}: input '{input}' has a dynamic axis {axes}; fix it with \
         `python -m onnxruntime.tools.make_dynamic_shape_fixed`, or state `input` in pair.toml"
    )]
    DynamicAxes {
        /// The file.
        path: PathBuf,
        /// Name of the input.
        input: String,
        /// The shape as the file has it.
        axes: String,
    },
    /// The file wants another size of picture than the pair says.
    #[error("{path}: the model wants {found} pixels, the pair says {expected}; correct `input` in pair.toml")]
    InputSize {
        /// The file.
        path: PathBuf,
        /// `height x width` of the model.
        found: String,
        /// `height x width` of the pair.
        expected: String,
    },
    /// The int8 backend cannot run the graph; tract may.
    #[error("{path}: no int8 plan: {reason}")]
    Int8 {
        /// The file.
        path: PathBuf,
        /// The first node that stands in the way.
        reason: crate::int8::Unsupported,
    },
    /// The forced kernels cannot run here.
    #[error("{path}: {detail}; --kernel auto (TINYSAVER_KERNEL) takes the fastest that this processor has")]
    Kernels {
        /// The file.
        path: PathBuf,
        /// Why.
        detail: String,
    },
    /// A file for one picture that cannot be made one for several.
    #[error(
        "{path}: operator {op} may fix the size of the batch; export the model anew from its framework, with a dynamic batch axis"
    )]
    FixedBatch {
        /// The file.
        path: PathBuf,
        /// The operator.
        op: String,
    },
    /// The backend refused the graph.
    #[error("{path}: the graph cannot be run: {detail}")]
    Graph {
        /// The file.
        path: PathBuf,
        /// The backend's words.
        detail: String,
    },
}

/// A frame that could not be run.
#[derive(Debug, thiserror::Error)]
pub enum InferError {
    /// The caller's buffer is of the wrong kind or length.
    #[error("the {buffer} buffer holds {found}, the model takes {expected}")]
    Buffer {
        /// `input` or `logits`.
        buffer: &'static str,
        /// What was given.
        found: String,
        /// What is wanted.
        expected: String,
    },
    /// The backend failed.
    #[error("inference failed: {0}")]
    Backend(String),
}

fn plural(n: usize, noun: &str) -> String {
    if n == 1 { noun.to_owned() } else { format!("{noun}s") }
}
