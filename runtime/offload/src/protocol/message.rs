//! Requests, replies and descriptions, whatever form they travelled in.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Tensor;

/// Free-form settings of a request, an input or an output.
pub type Parameters = BTreeMap<String, Value>;

/// One inference, asked for.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct InferRequest {
    /// The asker's name for it; comes back with the reply.
    pub id: Option<String>,
    /// Settings for the whole request.
    pub parameters: Parameters,
    /// At least one tensor.
    pub inputs: Vec<Tensor>,
    /// Wanted outputs; none means all of them.
    pub outputs: Vec<RequestedOutput>,
}

impl InferRequest {
    /// Triton's `timeout` parameter: how long the asker waits, in microseconds.
    #[must_use]
    pub fn timeout_us(&self) -> Option<u64> {
        self.parameters.get("timeout").and_then(Value::as_u64).filter(|&timeout_us| timeout_us > 0)
    }
}

/// An output that the asker wants.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RequestedOutput {
    /// Which.
    pub name: String,
    /// Settings for it.
    pub parameters: Parameters,
}

/// The answer to an [`InferRequest`].
#[derive(Debug, Clone, PartialEq)]
pub struct InferReply {
    /// Who answered.
    pub model_name: String,
    /// Which version of it, if it has one.
    pub model_version: Option<String>,
    /// The request's.
    pub id: Option<String>,
    /// The results.
    pub outputs: Vec<Tensor>,
}

/// What a server says of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServerMetadata {
    /// Name of the program.
    pub name: String,
    /// Its version.
    #[serde(default)]
    pub version: Option<String>,
    /// What it can do beyond the protocol.
    #[serde(default)]
    pub extensions: Option<Vec<String>>,
}

/// A tensor that a model takes or gives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TensorMetadata {
    /// Its name.
    pub name: String,
    /// Name of its type: a reader must live with types that it does not know.
    pub datatype: String,
    /// Its axes; -1 is any size.
    pub shape: Vec<i64>,
}

/// What a server says of a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelMetadata {
    /// Its name.
    pub name: String,
    /// Its versions, if it has any.
    #[serde(default)]
    pub versions: Option<Vec<String>>,
    /// What runs it.
    #[serde(default)]
    pub platform: Option<String>,
    /// What it takes.
    #[serde(default)]
    pub inputs: Vec<TensorMetadata>,
    /// What it gives.
    #[serde(default)]
    pub outputs: Vec<TensorMetadata>,
}
