//! The gRPC form: protobuf messages of the package `inference`, and what they become here.
//!
//! Field numbers are those of the protocol's `open_inference_grpc.proto`; there are few enough to write by hand, so that
//! nobody needs protoc to build this.
#![expect(missing_docs, reason = "the fields are the protocol's own")]

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::Value;

use super::message::{InferReply, InferRequest, ModelMetadata, Parameters, RequestedOutput, TensorMetadata};
use super::{Datatype, ProtocolError, Tensor, join_byte_elements};

/// Path of the service's methods.
pub const SERVICE: &str = "/inference.GRPCInferenceService/";

/// Of ServerLive, ServerReady and ServerMetadata.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Empty {}

/// Of ServerLive, ServerReady and ModelReady.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Flag {
    #[prost(bool, tag = "1")]
    pub yes: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct ServerMetadataResponse {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, tag = "2")]
    pub version: String,
    #[prost(string, repeated, tag = "3")]
    pub extensions: Vec<String>,
}

/// Of ModelReady and ModelMetadata.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ModelQuery {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, tag = "2")]
    pub version: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct TensorDescription {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, tag = "2")]
    pub datatype: String,
    #[prost(int64, repeated, tag = "3")]
    pub shape: Vec<i64>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct ModelMetadataResponse {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, repeated, tag = "2")]
    pub versions: Vec<String>,
    #[prost(string, tag = "3")]
    pub platform: String,
    #[prost(message, repeated, tag = "4")]
    pub inputs: Vec<TensorDescription>,
    #[prost(message, repeated, tag = "5")]
    pub outputs: Vec<TensorDescription>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct InferParameter {
    #[prost(oneof = "ParameterChoice", tags = "1, 2, 3, 4, 5")]
    pub choice: Option<ParameterChoice>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub enum ParameterChoice {
    #[prost(bool, tag = "1")]
    Bool(bool),
    #[prost(int64, tag = "2")]
    Int64(i64),
    #[prost(string, tag = "3")]
    String(String),
    #[prost(double, tag = "4")]
    Double(f64),
    #[prost(uint64, tag = "5")]
    Uint64(u64),
}

/// A tensor of a request or of a reply: the two have the same fields.
#[derive(Clone, PartialEq, prost::Message)]
pub struct WireTensor {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, tag = "2")]
    pub datatype: String,
    #[prost(int64, repeated, tag = "3")]
    pub shape: Vec<i64>,
    #[prost(btree_map = "string, message", tag = "4")]
    pub parameters: BTreeMap<String, InferParameter>,
    #[prost(message, optional, tag = "5")]
    pub contents: Option<Contents>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Contents {
    #[prost(bool, repeated, tag = "1")]
    pub bools: Vec<bool>,
    #[prost(int32, repeated, tag = "2")]
    pub ints: Vec<i32>,
    #[prost(int64, repeated, tag = "3")]
    pub int64s: Vec<i64>,
    #[prost(uint32, repeated, tag = "4")]
    pub uints: Vec<u32>,
    #[prost(uint64, repeated, tag = "5")]
    pub uint64s: Vec<u64>,
    #[prost(float, repeated, tag = "6")]
    pub floats: Vec<f32>,
    #[prost(double, repeated, tag = "7")]
    pub doubles: Vec<f64>,
    #[prost(bytes = "bytes", repeated, tag = "8")]
    pub bytes: Vec<Bytes>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct WireOutput {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(btree_map = "string, message", tag = "2")]
    pub parameters: BTreeMap<String, InferParameter>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct ModelInferRequest {
    #[prost(string, tag = "1")]
    pub model_name: String,
    #[prost(string, tag = "2")]
    pub model_version: String,
    #[prost(string, tag = "3")]
    pub id: String,
    #[prost(btree_map = "string, message", tag = "4")]
    pub parameters: BTreeMap<String, InferParameter>,
    #[prost(message, repeated, tag = "5")]
    pub inputs: Vec<WireTensor>,
    #[prost(message, repeated, tag = "6")]
    pub outputs: Vec<WireOutput>,
    #[prost(bytes = "bytes", repeated, tag = "7")]
    pub raw_inputs: Vec<Bytes>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct ModelInferResponse {
    #[prost(string, tag = "1")]
    pub model_name: String,
    #[prost(string, tag = "2")]
    pub model_version: String,
    #[prost(string, tag = "3")]
    pub id: String,
    #[prost(btree_map = "string, message", tag = "4")]
    pub parameters: BTreeMap<String, InferParameter>,
    #[prost(message, repeated, tag = "5")]
    pub outputs: Vec<WireTensor>,
    #[prost(bytes = "bytes", repeated, tag = "6")]
    pub raw_outputs: Vec<Bytes>,
}

impl From<Value> for InferParameter {
    fn from(value: Value) -> Self {
        let choice = match value {
            Value::Bool(value) => ParameterChoice::Bool(value),
            Value::Number(number) => match (number.as_i64(), number.as_u64()) {
                (Some(value), _) => ParameterChoice::Int64(value),
                (None, Some(value)) => ParameterChoice::Uint64(value),
                (None, None) => ParameterChoice::Double(number.as_f64().unwrap_or_default()),
            },
            Value::String(text) => ParameterChoice::String(text),
            other => ParameterChoice::String(other.to_string()),
        };
        Self { choice: Some(choice) }
    }
}

impl From<InferParameter> for Value {
    fn from(parameter: InferParameter) -> Self {
        match parameter.choice {
            Some(ParameterChoice::Bool(value)) => value.into(),
            Some(ParameterChoice::Int64(value)) => value.into(),
            Some(ParameterChoice::String(value)) => value.into(),
            Some(ParameterChoice::Double(value)) => value.into(),
            Some(ParameterChoice::Uint64(value)) => value.into(),
            None => Self::Null,
        }
    }
}

fn from_wire(parameters: BTreeMap<String, InferParameter>) -> Parameters {
    parameters.into_iter().map(|(key, value)| (key, value.into())).collect()
}

fn to_wire(parameters: &Parameters) -> BTreeMap<String, InferParameter> {
    parameters.iter().map(|(key, value)| (key.clone(), value.clone().into())).collect()
}

fn some(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

impl TryFrom<ModelInferRequest> for InferRequest {
    type Error = ProtocolError;

    fn try_from(wire: ModelInferRequest) -> Result<Self, ProtocolError> {
        let outputs = wire.outputs.into_iter();
        Ok(Self {
            id: some(wire.id),
            parameters: from_wire(wire.parameters),
            inputs: tensors(wire.inputs, wire.raw_inputs)?,
            outputs: outputs
                .map(|output| RequestedOutput { name: output.name, parameters: from_wire(output.parameters) })
                .collect(),
        })
    }
}

impl InferRequest {
    /// The message that asks for this; tensors travel raw.
    #[must_use]
    pub fn to_grpc(&self, model_name: &str) -> ModelInferRequest {
        let outputs = self.outputs.iter();
        ModelInferRequest {
            model_name: model_name.to_owned(),
            model_version: String::new(),
            id: self.id.clone().unwrap_or_default(),
            parameters: to_wire(&self.parameters),
            inputs: self.inputs.iter().map(described).collect(),
            outputs: outputs
                .map(|output| WireOutput { name: output.name.clone(), parameters: to_wire(&output.parameters) })
                .collect(),
            raw_inputs: self.inputs.iter().map(|tensor| tensor.data().clone()).collect(),
        }
    }
}

impl TryFrom<ModelInferResponse> for InferReply {
    type Error = ProtocolError;

    fn try_from(wire: ModelInferResponse) -> Result<Self, ProtocolError> {
        Ok(Self {
            model_name: wire.model_name,
            model_version: some(wire.model_version),
            id: some(wire.id),
            outputs: tensors(wire.outputs, wire.raw_outputs)?,
        })
    }
}

impl From<InferReply> for ModelInferResponse {
    fn from(reply: InferReply) -> Self {
        Self {
            outputs: reply.outputs.iter().map(described).collect(),
            raw_outputs: reply.outputs.iter().map(|tensor| tensor.data().clone()).collect(),
            model_name: reply.model_name,
            model_version: reply.model_version.unwrap_or_default(),
            id: reply.id.unwrap_or_default(),
            parameters: BTreeMap::new(),
        }
    }
}

impl From<ModelMetadata> for ModelMetadataResponse {
    fn from(model: ModelMetadata) -> Self {
        let describe = |tensors: Vec<TensorMetadata>| {
            let described = tensors.into_iter().map(|TensorMetadata { name, datatype, shape }| TensorDescription {
                name,
                datatype,
                shape,
            });
            described.collect()
        };
        Self {
            name: model.name,
            versions: model.versions.unwrap_or_default(),
            platform: model.platform.unwrap_or_default(),
            inputs: describe(model.inputs),
            outputs: describe(model.outputs),
        }
    }
}

impl From<ModelMetadataResponse> for ModelMetadata {
    fn from(wire: ModelMetadataResponse) -> Self {
        let describe = |tensors: Vec<TensorDescription>| {
            let described = tensors.into_iter().map(|TensorDescription { name, datatype, shape }| TensorMetadata {
                name,
                datatype,
                shape,
            });
            described.collect()
        };
        Self {
            name: wire.name,
            versions: Some(wire.versions),
            platform: some(wire.platform),
            inputs: describe(wire.inputs),
            outputs: describe(wire.outputs),
        }
    }
}

fn described(tensor: &Tensor) -> WireTensor {
    WireTensor {
        name: tensor.name().to_owned(),
        datatype: tensor.datatype().name().to_owned(),
        shape: tensor.shape().to_vec(),
        ..WireTensor::default()
    }
}

/// All tensors raw, or none.
fn tensors(wire: Vec<WireTensor>, raw: Vec<Bytes>) -> Result<Vec<Tensor>, ProtocolError> {
    if !raw.is_empty() && raw.len() != wire.len() {
        let detail = "raw contents for some tensors only";
        return Err(ProtocolError::Contents { tensor: format!("{} of {}", raw.len(), wire.len()), detail });
    }
    let mut raw = raw.into_iter();
    wire.into_iter().map(|tensor| decode_tensor(tensor, raw.next())).collect()
}

fn decode_tensor(tensor: WireTensor, raw: Option<Bytes>) -> Result<Tensor, ProtocolError> {
    let datatype = Datatype::from_name(&tensor.datatype).ok_or_else(|| ProtocolError::Datatype {
        tensor: tensor.name.clone(),
        datatype: tensor.datatype.chars().take(40).collect(),
    })?;
    let data = match (raw, tensor.contents) {
        (Some(raw), None) => raw,
        // MLServer sends both, one of them empty.
        (Some(raw), Some(contents)) if contents == Contents::default() => raw,
        (Some(_), Some(_)) => {
            return Err(ProtocolError::Contents { tensor: tensor.name, detail: "both raw contents and contents" });
        }
        (None, contents) => contents.unwrap_or_default().encode_as(&tensor.name, datatype)?,
    };
    Tensor::new(&tensor.name, datatype, &tensor.shape, data)
}

impl Contents {
    /// The elements in the raw form.
    fn encode_as(&self, tensor: &str, datatype: Datatype) -> Result<Bytes, ProtocolError> {
        fn narrow<T: TryFrom<W>, W: Copy + std::fmt::Display, const N: usize>(
            tensor: &str,
            values: &[W],
            bytes: impl Fn(T) -> [u8; N],
        ) -> Result<Bytes, ProtocolError> {
            let mut all = Vec::with_capacity(values.len() * N);
            for &value in values {
                let narrow = T::try_from(value).map_err(|_| ProtocolError::Value {
                    tensor: tensor.to_owned(),
                    detail: format!("{value} does not fit into its datatype"),
                })?;
                all.extend(bytes(narrow));
            }
            Ok(all.into())
        }
        match datatype {
            Datatype::Bool => Ok(self.bools.iter().map(|&value| u8::from(value)).collect()),
            Datatype::Uint8 => narrow(tensor, &self.uints, u8::to_le_bytes),
            Datatype::Uint16 => narrow(tensor, &self.uints, u16::to_le_bytes),
            Datatype::Uint32 => narrow(tensor, &self.uints, u32::to_le_bytes),
            Datatype::Uint64 => narrow(tensor, &self.uint64s, u64::to_le_bytes),
            Datatype::Int8 => narrow(tensor, &self.ints, i8::to_le_bytes),
            Datatype::Int16 => narrow(tensor, &self.ints, i16::to_le_bytes),
            Datatype::Int32 => narrow(tensor, &self.ints, i32::to_le_bytes),
            Datatype::Int64 => narrow(tensor, &self.int64s, i64::to_le_bytes),
            Datatype::Fp32 => Ok(self.floats.iter().flat_map(|value| value.to_le_bytes()).collect()),
            Datatype::Fp64 => Ok(self.doubles.iter().flat_map(|value| value.to_le_bytes()).collect()),
            Datatype::Bytes => join_byte_elements(&self.bytes),
            Datatype::Fp16 | Datatype::Bf16 => Err(ProtocolError::Contents {
                tensor: tensor.to_owned(),
                detail: "16-bit floats, which travel in raw contents only",
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use prost::Message;

    #[test]
    fn the_bytes_are_those_of_the_specification() {
        // protoc's text form: model_name: "m" id: "7" inputs { name: "x" datatype: "UINT8" shape: 2 } raw: "\001\002"
        let tensor = Tensor::new("x", Datatype::Uint8, &[2], Bytes::from_static(&[1, 2])).unwrap();
        let request = InferRequest { id: Some("7".into()), inputs: vec![tensor], ..InferRequest::default() };
        let bytes = request.to_grpc("m").encode_to_vec();
        assert_eq!(bytes, b"\x0a\x01m\x1a\x017\x2a\x0d\x0a\x01x\x12\x05UINT8\x1a\x01\x02\x3a\x02\x01\x02");
    }

    #[test]
    fn contents_are_as_good_as_raw() {
        let wire = |datatype: &str, contents: Contents| WireTensor {
            name: "x".into(),
            datatype: datatype.into(),
            shape: vec![2],
            contents: Some(contents),
            ..WireTensor::default()
        };
        let check = |datatype: &str, contents: Contents| {
            tensors(vec![wire(datatype, contents)], vec![]).map(|tensors| tensors[0].data().to_vec())
        };
        assert_eq!(check("UINT8", Contents { uints: vec![1, 255], ..Contents::default() }).unwrap(), [1, 255]);
        assert!(check("UINT8", Contents { uints: vec![1, 256], ..Contents::default() }).is_err());
        assert!(check("UINT8", Contents { uints: vec![1], ..Contents::default() }).is_err(), "too few");
        assert!(check("FP16", Contents::default()).is_err());
        assert!(check("UINT8", Contents { ints: vec![1, 2], ..Contents::default() }).is_err(), "in the wrong field");
        let floats = Contents { floats: vec![1.0, -2.0], ..Contents::default() };
        assert_eq!(check("FP32", floats.clone()).unwrap(), [1.0f32.to_le_bytes(), (-2.0f32).to_le_bytes()].concat());
        let raw = || vec![Bytes::from_static(&[0; 8])];
        assert!(tensors(vec![wire("FP32", floats)], raw()).is_err(), "two forms at once");
        assert!(tensors(vec![wire("FP32", Contents::default())], raw()).is_ok(), "one of them empty");
    }

    proptest! {
        #[test]
        fn requests_come_back(pixels in prop::collection::vec(any::<u8>(), 1..60), id in ".{0,6}", timeout in 1u64..u64::MAX) {
            let axis = i64::try_from(pixels.len()).unwrap();
            let tensor = Tensor::new("image", Datatype::Uint8, &[1, axis], pixels.into()).unwrap();
            let parameters = Parameters::from([("timeout".to_owned(), timeout.into()), ("flag".to_owned(), true.into())]);
            let request = InferRequest { id: some(id), parameters, inputs: vec![tensor], outputs: vec![] };
            let bytes = request.to_grpc("m").encode_to_vec();
            let back = InferRequest::try_from(ModelInferRequest::decode(&bytes[..]).unwrap()).unwrap();
            prop_assert_eq!(back.timeout_us(), Some(timeout));
            prop_assert_eq!(back, request);
        }

        #[test]
        fn any_bytes_give_an_answer_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = ModelInferRequest::decode(&bytes[..]).map(InferRequest::try_from);
            let _ = ModelInferResponse::decode(&bytes[..]).map(InferReply::try_from);
        }

        #[test]
        fn damage_gives_an_answer_or_an_error(at in any::<prop::sample::Index>(), value in any::<u8>()) {
            let tensor = Tensor::new("x", Datatype::Uint8, &[3], Bytes::from_static(&[1, 2, 3])).unwrap();
            let mut bytes = InferRequest { inputs: vec![tensor], ..InferRequest::default() }.to_grpc("m").encode_to_vec();
            *at.get_mut(&mut bytes[..]) = value;
            let _ = ModelInferRequest::decode(&bytes[..]).map(InferRequest::try_from);
        }
    }
}
