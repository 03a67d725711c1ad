//! The protocol without a socket: tensors, and the two forms in which requests and replies travel.
//!
//! Source: the Open Inference Protocol v2 (REST and gRPC) and Triton's binary tensor extension of the REST form.

mod datatype;
mod elements;
pub mod grpc;
mod json_data;
mod message;
pub mod rest;
mod tensor;

pub use datatype::Datatype;
pub use elements::{ByteElements, join_byte_elements};
pub use message::{InferReply, InferRequest, ModelMetadata, RequestedOutput, ServerMetadata, TensorMetadata};
pub use tensor::{MAX_AXES, ProtocolError, Tensor};

/// The header that says how many bytes of a body are its JSON part (binary tensor extension).
pub const HEADER_LENGTH: &str = "inference-header-content-length";
