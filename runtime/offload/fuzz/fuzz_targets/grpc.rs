//! Messages of gRPC, as protobuf: a request, reply or description, or an error; what was read, written again and read
//! again, is the same.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use prost::Message;
use tinysaver_offload::protocol::grpc::{ModelInferRequest, ModelInferResponse, ModelMetadataResponse};
use tinysaver_offload::protocol::{InferReply, InferRequest, ModelMetadata, Tensor};

fuzz_target!(|data: &[u8]| {
    let bytes = Bytes::copy_from_slice(data);
    if let Ok(wire) = ModelInferRequest::decode(bytes.clone())
        && let Ok(request) = InferRequest::try_from(wire)
    {
        let written = request.to_grpc("model").encode_to_vec();
        let wire = ModelInferRequest::decode(written.as_slice()).expect("what was written is a message");
        let again = InferRequest::try_from(wire).expect("what was written is read");
        assert_eq!(again.id, request.id);
        assert_eq!(contents(&again.inputs), contents(&request.inputs));
    }
    if let Ok(wire) = ModelInferResponse::decode(bytes.clone())
        && let Ok(reply) = InferReply::try_from(wire)
    {
        let outputs = contents(&reply.outputs);
        let written = ModelInferResponse::from(reply).encode_to_vec();
        let wire = ModelInferResponse::decode(written.as_slice()).expect("what was written is a message");
        let again = InferReply::try_from(wire).expect("what was written is read");
        assert_eq!(contents(&again.outputs), outputs);
    }
    if let Ok(wire) = ModelMetadataResponse::decode(bytes) {
        let _ = ModelMetadata::from(wire);
    }
});

/// As bytes: a tensor may hold what is not equal to itself.
fn contents(tensors: &[Tensor]) -> Vec<(String, Vec<i64>, Bytes)> {
    tensors.iter().map(|tensor| (tensor.name().to_owned(), tensor.shape().to_vec(), tensor.data().clone())).collect()
}
