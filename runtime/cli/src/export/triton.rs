//! A Triton model repository: the base by the ONNX backend, the pair's treatment of photos by the Python backend, and the two
//! in a row as an ensemble.

use std::path::PathBuf;

use anyhow::Result;
use tinysaver_board::{ChannelOrder, Filter, Preprocess};
use tinysaver_engine::{BatchedModel, open_batch};

use crate::pair::{ModelEntry, Pair};

/// Run by Triton, not by us.
const PREPROCESS: &str = include_str!("preprocess.py");
/// Photos beyond this are refused, as `serve` does.
const MAX_PIXELS: u64 = 64_000_000;

/// How Triton gathers requests.
#[derive(Debug, Clone, Copy)]
pub struct Batching {
    /// Pictures of one inference at most.
    pub max_batch: u32,
    /// How long the first of them waits for others, in microseconds.
    pub max_delay_us: u32,
}

/// The files of the repository: path within it, and content.
///
/// # Errors
/// The model cannot be read, is not what pair.toml says, or cannot be batched.
pub fn repository(pair: &Pair, entry: &ModelEntry, batching: Batching) -> Result<Vec<(PathBuf, Vec<u8>)>> {
    let loaded = pair.load_model(entry)?;
    let labels = pair.load_labels()?;
    let model = open_batch(&loaded.path, &loaded.bytes)?;
    let id = &entry.id;
    let base = base_config(entry, &model, labels.len(), batching);
    let preprocess = preprocess_config(entry, &pair.preprocess(entry), batching);
    let ensemble = ensemble_config(entry, &model, labels.len(), batching);
    Ok(vec![
        (format!("{id}/config.pbtxt").into(), base.into_bytes()),
        (format!("{id}/labels.txt").into(), (labels.join("\n") + "\n").into_bytes()),
        (format!("{id}/1/model.onnx").into(), model.bytes),
        (format!("{id}_preprocess/config.pbtxt").into(), preprocess.into_bytes()),
        (format!("{id}_preprocess/1/model.py").into(), PREPROCESS.into()),
        (format!("{id}_jpeg/config.pbtxt").into(), ensemble.into_bytes()),
        // Triton wants a version's folder, of an ensemble, too; stores of objects have none without a file.
        (format!("{id}_jpeg/1/.keep").into(), Vec::new()),
    ])
}

fn base_config(entry: &ModelEntry, model: &BatchedModel, classes: usize, batching: Batching) -> String {
    let (id, side, input, output) = (&entry.id, entry.input, &model.input, &model.output);
    let Batching { max_batch, max_delay_us } = batching;
    format!(
        r#"name: "{id}"
backend: "onnxruntime"
max_batch_size: {max_batch}
input [ {{ name: "{input}" data_type: TYPE_FP32 dims: [ 3, {side}, {side} ] }} ]
output [ {{ name: "{output}" data_type: TYPE_FP32 dims: [ {classes} ] label_filename: "labels.txt" }} ]
dynamic_batching {{ max_queue_delay_microseconds: {max_delay_us} }}
"#
    )
}

fn preprocess_config(entry: &ModelEntry, rule: &Preprocess, batching: Batching) -> String {
    let (id, side) = (&entry.id, entry.input);
    let filter = match rule.filter {
        Filter::Bilinear => "bilinear",
        Filter::Bicubic => "bicubic",
        Filter::Lanczos => "lanczos",
    };
    let channels = match rule.channels {
        ChannelOrder::Rgb => "rgb",
        ChannelOrder::Bgr => "bgr",
    };
    let parameters = [
        ("side", side.to_string()),
        ("crop_fraction", entry.crop_fraction.to_string()),
        ("filter", filter.to_owned()),
        ("channels", channels.to_owned()),
        ("mean", format!("{:?}", rule.mean)),
        ("std", format!("{:?}", rule.std)),
        ("max_pixels", MAX_PIXELS.to_string()),
    ];
    let parameters = parameters
        .map(|(key, value)| format!("parameters {{ key: \"{key}\" value {{ string_value: \"{value}\" }} }}\n"))
        .concat();
    format!(
        r#"name: "{id}_preprocess"
backend: "python"
max_batch_size: {}
input [ {{ name: "jpeg" data_type: TYPE_STRING dims: [ 1 ] }} ]
output [ {{ name: "picture" data_type: TYPE_FP32 dims: [ 3, {side}, {side} ] }} ]
instance_group [ {{ kind: KIND_CPU count: 2 }} ]
{parameters}"#,
        batching.max_batch
    )
}

fn ensemble_config(entry: &ModelEntry, model: &BatchedModel, classes: usize, batching: Batching) -> String {
    let (id, input, output) = (&entry.id, &model.input, &model.output);
    format!(
        r#"name: "{id}_jpeg"
platform: "ensemble"
max_batch_size: {}
input [ {{ name: "jpeg" data_type: TYPE_STRING dims: [ 1 ] }} ]
output [ {{ name: "{output}" data_type: TYPE_FP32 dims: [ {classes} ] }} ]
ensemble_scheduling {{
  step [
    {{
      model_name: "{id}_preprocess"
      model_version: -1
      input_map {{ key: "jpeg" value: "jpeg" }}
      output_map {{ key: "picture" value: "picture" }}
    }},
    {{
      model_name: "{id}"
      model_version: -1
      input_map {{ key: "{input}" value: "picture" }}
      output_map {{ key: "{output}" value: "{output}" }}
    }}
  ]
}}
"#,
        batching.max_batch
    )
}
