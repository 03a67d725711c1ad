//! The same model for servers that gather requests into batches: its batch axis open.

use std::path::Path;

use prost::Message;
use tract_onnx::pb::{self, tensor_shape_proto::dimension::Value as DimValue, type_proto::Value as TypeValue};

use crate::error::LoadError;
use crate::onnx::{OnnxFile, qualified};

/// Operators whose constants may say how large the batch is: whether they do is not decided here.
const MAY_FIX_BATCH: [&str; 8] =
    ["Reshape", "Expand", "Tile", "ConstantOfShape", "Slice", "Gather", "Unsqueeze", "Squeeze"];
const BATCH_AXIS: &str = "batch";

/// An ONNX file that takes any number of pictures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchedModel {
    /// The file.
    pub bytes: Vec<u8>,
    /// Name of its input, float32 `[batch, 3, height, width]`.
    pub input: String,
    /// Name of its output, float32 logits `[batch, classes]`.
    pub output: String,
}

/// Opens the batch axis of an image classifier that was written for one picture. A softmax at its end is left out, as this
/// engine does.
///
/// # Errors
/// It is no such model, or holds operators that may fix the size of the batch.
pub fn open_batch(path: &Path, bytes: &[u8]) -> Result<BatchedModel, LoadError> {
    let mut file = OnnxFile::parse(path, bytes)?;
    let ([input], [output]) = (file.inputs.as_slice(), file.outputs.as_slice()) else {
        let detail = format!("{} inputs and {} outputs", file.inputs.len(), file.outputs.len());
        return Err(LoadError::Inputs { path: path.into(), detail });
    };
    let (input, output) = (input.name.clone(), output.name.clone());
    let Some(graph) = file.proto.graph.as_mut() else {
        return Err(LoadError::NotOnnx { path: path.into(), detail: "it holds no graph".into() });
    };
    if let Some(node) = graph.node.iter().find(|node| MAY_FIX_BATCH.contains(&qualified(node).as_str())) {
        return Err(LoadError::FixedBatch { path: path.into(), op: node.op_type.clone() });
    }
    graph.input.iter_mut().filter(|port| port.name == input).for_each(open);
    graph.output.iter_mut().for_each(open);
    // Shapes of what lies between were inferred for one picture; whoever loads the file infers them again.
    graph.value_info.clear();
    Ok(BatchedModel { bytes: file.proto.encode_to_vec(), input, output })
}

fn open(port: &mut pb::ValueInfoProto) {
    let kind = port.r#type.as_mut().and_then(|kind| kind.value.as_mut());
    let Some(TypeValue::TensorType(tensor)) = kind else { return };
    if let Some(axis) = tensor.shape.as_mut().and_then(|shape| shape.dim.first_mut()) {
        axis.value = Some(DimValue::DimParam(BATCH_AXIS.into()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(name: &str) -> (std::path::PathBuf, Vec<u8>) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name);
        let bytes = std::fs::read(&path).unwrap();
        (path, bytes)
    }

    #[test]
    fn only_the_batch_axis_changes() {
        let (path, bytes) = data("mixed_qdq_u8.onnx");
        let before = OnnxFile::parse(&path, &bytes).unwrap();
        let batched = open_batch(&path, &bytes).unwrap();
        let after = OnnxFile::parse(&path, &batched.bytes).unwrap();
        assert_eq!((&after.inputs[0].name, &after.outputs[0].name), (&batched.input, &batched.output));
        for (one, any) in [(&before.inputs[0], &after.inputs[0]), (&before.outputs[0], &after.outputs[0])] {
            assert_eq!(any.shape(), one.shape().replacen("[1,", "[batch,", 1));
        }
        assert_eq!(before.op_counts(), after.op_counts());
        assert_eq!(before.parameters(), after.parameters());
    }

    #[test]
    fn what_may_fix_the_batch_is_refused() {
        let (path, bytes) = data("mixed_qdq_u8.onnx");
        let mut proto = pb::ModelProto::decode(bytes.as_slice()).unwrap();
        let graph = proto.graph.as_mut().unwrap();
        graph.node.last_mut().unwrap().op_type = "Reshape".into();
        let error = open_batch(&path, &proto.encode_to_vec()).unwrap_err().to_string();
        assert!(error.contains("Reshape") && error.contains("mixed_qdq_u8.onnx"), "{error}");
        assert!(open_batch(&path, b"no model").is_err());
    }
}
