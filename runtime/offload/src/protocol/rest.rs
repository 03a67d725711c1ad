//! Requests and replies as HTTP bodies: JSON, or JSON followed by the tensors' bytes.

use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::json_data::{self, JsonData};
use super::message::{InferReply, InferRequest, Parameters, RequestedOutput};
use super::{Datatype, ProtocolError, Tensor};

const BINARY_SIZE: &str = "binary_data_size";
const BINARY_WANTED: &str = "binary_data";
const BINARY_WANTED_ALL: &str = "binary_data_output";

/// A body and, where it has a binary part, the length of its JSON part for the header of that name.
#[derive(Debug, Clone, PartialEq)]
pub struct RestBody {
    /// What goes over the wire.
    pub bytes: Bytes,
    /// Bytes of JSON at its start; `None` where all of it is JSON.
    pub json_bytes: Option<usize>,
}

#[derive(Deserialize)]
struct RequestJson {
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    parameters: Option<Parameters>,
    inputs: Vec<TensorJson>,
    #[serde(default)]
    outputs: Option<Vec<OutputJson>>,
}

#[derive(Deserialize)]
struct OutputJson {
    name: String,
    #[serde(default)]
    parameters: Option<Parameters>,
}

#[derive(Deserialize)]
struct ReplyJson {
    #[serde(default)]
    model_name: Option<String>,
    #[serde(default)]
    model_version: Option<String>,
    #[serde(default)]
    id: Option<String>,
    outputs: Vec<TensorJson>,
}

#[derive(Deserialize)]
struct TensorJson {
    name: String,
    shape: Vec<i64>,
    datatype: String,
    #[serde(default)]
    parameters: Option<Parameters>,
    #[serde(default)]
    data: Option<JsonData>,
}

#[derive(Serialize)]
struct TensorOut<'a> {
    name: &'a str,
    shape: &'a [i64],
    datatype: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Value>,
}

/// Reads a request.
///
/// # Errors
/// Everything that is not of the protocol.
pub fn decode_request(body: &Bytes, header_length: Option<&str>) -> Result<InferRequest, ProtocolError> {
    let (json, binary) = split(body, header_length)?;
    let request: RequestJson = serde_json::from_slice(&json).map_err(|error| json_error(&error))?;
    let outputs = request.outputs.unwrap_or_default().into_iter();
    Ok(InferRequest {
        id: request.id,
        parameters: request.parameters.unwrap_or_default(),
        inputs: decode_tensors(request.inputs, binary)?,
        outputs: outputs
            .map(|output| RequestedOutput { name: output.name, parameters: output.parameters.unwrap_or_default() })
            .collect(),
    })
}

/// Reads a reply.
///
/// # Errors
/// Everything that is not of the protocol.
pub fn decode_reply(body: &Bytes, header_length: Option<&str>) -> Result<InferReply, ProtocolError> {
    let (json, binary) = split(body, header_length)?;
    let reply: ReplyJson = serde_json::from_slice(&json).map_err(|error| json_error(&error))?;
    Ok(InferReply {
        model_name: reply.model_name.unwrap_or_default(),
        model_version: reply.model_version,
        id: reply.id,
        outputs: decode_tensors(reply.outputs, binary)?,
    })
}

/// Writes a request; with `binary`, tensors travel as bytes behind the JSON and are asked for in the same way.
///
/// # Errors
/// A tensor that has no JSON form.
pub fn encode_request(request: &InferRequest, binary: bool) -> Result<RestBody, ProtocolError> {
    let mut tail = BytesMut::new();
    let inputs = encode_tensors(&request.inputs, |_| binary, &mut tail)?;
    let mut parameters = request.parameters.clone();
    if binary && request.outputs.is_empty() {
        parameters.insert(BINARY_WANTED_ALL.into(), true.into());
    }
    let outputs: Vec<Value> = request
        .outputs
        .iter()
        .map(|output| {
            let mut parameters = output.parameters.clone();
            if binary {
                parameters.insert(BINARY_WANTED.into(), true.into());
            }
            if parameters.is_empty() {
                json!({"name": output.name})
            } else {
                json!({"name": output.name, "parameters": parameters})
            }
        })
        .collect();
    let mut header = json!({ "inputs": inputs });
    let mut set = |key: &str, value: Option<Value>| {
        if let (Some(value), Some(header)) = (value, header.as_object_mut()) {
            header.insert(key.into(), value);
        }
    };
    set("id", request.id.clone().map(Value::String));
    set("parameters", (!parameters.is_empty()).then(|| json!(parameters)));
    set("outputs", (!outputs.is_empty()).then_some(Value::Array(outputs)));
    Ok(join(&header, tail, binary))
}

/// Writes a reply, each output in the form that the request asked for.
///
/// # Errors
/// An output that has no JSON form.
pub fn encode_reply(reply: &InferReply, request: &InferRequest) -> Result<RestBody, ProtocolError> {
    let wants = |parameters: &Parameters, key: &str| parameters.get(key).and_then(Value::as_bool);
    let all = wants(&request.parameters, BINARY_WANTED_ALL).unwrap_or(false);
    let binary = |name: &str| {
        let output = request.outputs.iter().find(|output| output.name == name);
        output.and_then(|output| wants(&output.parameters, BINARY_WANTED)).unwrap_or(all)
    };
    let mut tail = BytesMut::new();
    let outputs = encode_tensors(&reply.outputs, binary, &mut tail)?;
    let mut header = json!({ "model_name": reply.model_name, "outputs": outputs });
    if let Some(header) = header.as_object_mut() {
        for (key, value) in [("model_version", &reply.model_version), ("id", &reply.id)] {
            if let Some(value) = value {
                header.insert(key.into(), value.clone().into());
            }
        }
    }
    let any_binary = reply.outputs.iter().any(|output| binary(output.name()));
    Ok(join(&header, tail, any_binary))
}

fn json_error(error: &serde_json::Error) -> ProtocolError {
    ProtocolError::Json(error.to_string())
}

fn split(body: &Bytes, header_length: Option<&str>) -> Result<(Bytes, Option<Bytes>), ProtocolError> {
    let Some(says) = header_length else { return Ok((body.clone(), None)) };
    let length = says.trim().parse::<usize>().ok().filter(|&length| length <= body.len());
    let Some(length) = length else {
        return Err(ProtocolError::HeaderLength { says: says.chars().take(40).collect(), body_bytes: body.len() });
    };
    Ok((body.slice(..length), Some(body.slice(length..))))
}

fn decode_tensors(tensors: Vec<TensorJson>, binary: Option<Bytes>) -> Result<Vec<Tensor>, ProtocolError> {
    let mut rest = binary.unwrap_or_default();
    let got = rest.len();
    let mut claimed = 0u64;
    let mut decoded = Vec::with_capacity(tensors.len());
    for tensor in tensors {
        let contents = |detail| ProtocolError::Contents { tensor: tensor.name.clone(), detail };
        let datatype = Datatype::from_name(&tensor.datatype).ok_or_else(|| ProtocolError::Datatype {
            tensor: tensor.name.clone(),
            datatype: tensor.datatype.chars().take(40).collect(),
        })?;
        let size = tensor.parameters.as_ref().and_then(|parameters| parameters.get(BINARY_SIZE));
        let data = match (size, &tensor.data) {
            (None, Some(data)) => json_data::encode(&tensor.name, datatype, data)?,
            (Some(size), None) => {
                let size = size.as_u64().ok_or_else(|| contents("a binary_data_size that is no whole number"))?;
                claimed = claimed.saturating_add(size);
                let size = usize::try_from(size).ok().filter(|&size| size <= rest.len());
                rest.split_to(size.ok_or(ProtocolError::BinaryPart { claimed, got })?)
            }
            (Some(_), Some(_)) => return Err(contents("both data and binary_data_size")),
            (None, None) => return Err(contents("neither data nor binary_data_size")),
        };
        decoded.push(Tensor::new(&tensor.name, datatype, &tensor.shape, data)?);
    }
    if rest.is_empty() { Ok(decoded) } else { Err(ProtocolError::BinaryPart { claimed, got }) }
}

fn encode_tensors<'a>(
    tensors: &'a [Tensor],
    binary: impl Fn(&str) -> bool,
    tail: &mut BytesMut,
) -> Result<Vec<TensorOut<'a>>, ProtocolError> {
    let mut encoded = Vec::with_capacity(tensors.len());
    for tensor in tensors {
        let as_bytes = binary(tensor.name());
        if as_bytes {
            tail.put_slice(tensor.data());
        }
        encoded.push(TensorOut {
            name: tensor.name(),
            shape: tensor.shape(),
            datatype: tensor.datatype().name(),
            parameters: as_bytes.then(|| json!({ BINARY_SIZE: tensor.data().len() })),
            data: if as_bytes { None } else { Some(json_data::decode(tensor)?) },
        });
    }
    Ok(encoded)
}

fn join(header: &Value, tail: BytesMut, binary: bool) -> RestBody {
    let json = header.to_string();
    let json_bytes = binary.then_some(json.len());
    if tail.is_empty() {
        return RestBody { bytes: json.into(), json_bytes };
    }
    let mut bytes = BytesMut::with_capacity(json.len() + tail.len());
    bytes.put_slice(json.as_bytes());
    bytes.put_slice(&tail);
    RestBody { bytes: bytes.freeze(), json_bytes }
}

#[cfg(test)]
#[path = "rest_tests.rs"]
mod tests;
