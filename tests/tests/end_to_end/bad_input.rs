//! What users get wrong, and what the program says to it.

use std::fs;
use std::io::Cursor;
use std::path::Path;

use image::{DynamicImage, ImageFormat, RgbImage};
use tempfile::TempDir;
use tinysaver_tests::{Finished, finish, root};

use crate::main_job::run_json;

/// The exit code is 2 and the message holds every part.
fn refused(arguments: &[&str], parts: &[&str]) {
    let Finished { code, out, err } = finish(arguments).unwrap();
    assert_eq!(code, 2, "{arguments:?}: {out}{err}");
    for part in parts {
        assert!(err.contains(part), "{arguments:?}: '{part}' is not in: {err}");
    }
    assert!(!err.contains("panicked"), "{err}");
}

fn picture(width: u32, height: u32) -> DynamicImage {
    RgbImage::from_fn(width, height, |x, y| image::Rgb([(x % 256) as u8, (y % 256) as u8, 90])).into()
}

fn encoded(picture: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Vec::new();
    picture.write_to(&mut Cursor::new(&mut bytes), format).unwrap();
    bytes
}

#[test]
fn sources_that_hold_nothing() {
    let empty = tempfile::tempdir().unwrap();
    refused(&["run", "--source", "/no/such/folder"], &["/no/such/folder", "no such file or folder"]);
    refused(&["run", "--source", empty.path().to_str().unwrap()], &["no pictures"]);
    refused(&["run", "--source", "/tmp/*.nothing"], &["no file fits this pattern"]);
    refused(&["run", "--source", "test://?frame=1"], &["unknown option 'frame'"]);
    refused(&["run"], &["--source"]);
}

#[test]
fn pictures_of_every_kind_are_answered_or_dropped_with_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| fs::write(folder.path().join(name), bytes).unwrap();
    let jpeg = encoded(&picture(200, 150), ImageFormat::Jpeg);
    write("a_text.jpg", b"this is a text");
    write("b_cut.jpg", &jpeg[..jpeg.len() / 2]);
    write("c_empty.jpg", b"");
    write("d_good.jpg", &jpeg);
    write("e_grey.png", &encoded(&picture(90, 80).into_luma8().into(), ImageFormat::Png));
    write("f_deep.png", &encoded(&picture(90, 80).into_rgb16().into(), ImageFormat::Png));
    write("g_large.jpg", &encoded(&picture(5500, 3700), ImageFormat::Jpeg));
    let (records, summary) = run_json(&["--source", folder.path().to_str().unwrap()]);
    let got: Vec<&str> = records.iter().map(|r| r["reason"].as_str().unwrap_or("answered")).collect();
    let expected = ["not_an_image", "damaged", "not_an_image", "answered", "answered", "answered", "answered"];
    assert_eq!(got, expected);
    assert_eq!(summary["dropped"], 3);
    let (records, _) = run_json(&["--source", folder.path().to_str().unwrap(), "--max-pixels", "1000000"]);
    assert_eq!(records[6]["reason"], "too_large");
}

#[test]
fn configuration_mistakes_name_file_line_and_key() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("c.toml");
    let path = config.to_str().unwrap();
    let check = |text: &str, parts: &[&str]| {
        fs::write(&config, text).unwrap();
        refused(&["check", "--config", path], parts);
    };
    check("thresold = 0.5", &["c.toml:1", "thresold", "threshold"]);
    check("pair = \"x\"\nthreshold = 2.0", &["c.toml:2", "threshold = 2.0", "between 0"]);
    check("threshold = \"high\"", &["c.toml:1", "invalid type"]);
    refused(&["check", "--config", "/no/config.toml"], &["/no/config.toml"]);
    refused(&["check", "--threshold", "1.5"], &["--threshold", "between 0"]);
    refused(&["check", "--saver", "lite9"], &["no model 'lite9'", "lite0-160-int8"]);
    refused(&["check", "--pair", "/no/pair.toml"], &["no such pair"]);
}

/// A copy of the pair whose saver or labels are exchanged.
fn pair_with(folder: &TempDir, saver: Option<&Path>, labels: Option<&str>, edit: impl Fn(String) -> String) -> String {
    let original = root().join("models/imagenet-lite");
    let build = folder.path().join("build");
    fs::create_dir_all(&build).unwrap();
    for name in ["efficientnet_lite0_160.int8.onnx", "efficientnet_lite2_260.f32.onnx", "labels.txt"] {
        let target = build.join(name);
        if !target.exists() {
            std::os::unix::fs::symlink(original.join("build").join(name), target).unwrap();
        }
    }
    if let Some(saver) = saver {
        fs::remove_file(build.join("efficientnet_lite0_160.int8.onnx")).unwrap();
        fs::copy(saver, build.join("efficientnet_lite0_160.int8.onnx")).unwrap();
    }
    if let Some(labels) = labels {
        fs::remove_file(build.join("labels.txt")).unwrap();
        fs::write(build.join("labels.txt"), labels).unwrap();
    }
    let text = edit(fs::read_to_string(original.join("pair.toml")).unwrap());
    let path = folder.path().join("pair.toml");
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn files_that_are_not_those_of_the_pair() {
    let folder = tempfile::tempdir().unwrap();
    let other = root().join("models/imagenet-lite/build/efficientnet_lite0_96.int8.onnx");
    let pair = pair_with(&folder, Some(&other), None, |text| text);
    refused(&["check", "--pair", &pair], &["SHA-256", "damaged or another one"]);
    let folder = tempfile::tempdir().unwrap();
    let pair = pair_with(&folder, None, Some("a\nb\n"), |text| text);
    refused(&["check", "--pair", &pair], &["labels.txt", "SHA-256"]);
    let folder = tempfile::tempdir().unwrap();
    let pair = pair_with(&folder, None, None, |text| text.replace("classes = 1000", "classes = 999"));
    refused(&["check", "--pair", &pair], &["1000 names for 999 classes"]);
    let folder = tempfile::tempdir().unwrap();
    let pair = pair_with(&folder, None, None, |text| text.replace("input = 160", "input = 192"));
    refused(&["check", "--pair", &pair], &["160 x 160", "192 x 192"]);
    let folder = tempfile::tempdir().unwrap();
    let pair = pair_with(&folder, None, None, |text| text.replace("schema = 1", "shema = 1"));
    refused(&["check", "--pair", &pair], &["pair.toml:", "shema"]);
}

#[test]
fn model_files_that_are_none() {
    let folder = tempfile::tempdir().unwrap();
    let model = fs::read(root().join("models/imagenet-lite/build/efficientnet_lite0_160.int8.onnx")).unwrap();
    for (name, bytes) in [("cut.onnx", &model[..model.len() / 2]), ("empty.onnx", b""), ("text.onnx", b"hello there")] {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        refused(&["model", "inspect", path.to_str().unwrap()], &[name, "not an ONNX model"]);
    }
    refused(&["model", "inspect", "/no/such.onnx"], &["/no/such.onnx"]);
}

#[test]
fn report_of_nothing() {
    let Finished { code, err, .. } = finish(&["report", "/no/such.jsonl"]).unwrap();
    assert!(code == 1 && err.contains("/no/such.jsonl"), "{code} {err}");
    let Finished { code, err, .. } = finish(&["report", "Cargo.toml"]).unwrap();
    assert!(code == 1 && err.contains("no record of a known schema"), "{code} {err}");
}

/// A classifier of three classes: the mean of each colour.
struct Tiny {
    input: Vec<Dim>,
    outputs: usize,
    pool: &'static str,
}

enum Dim {
    Fixed(i64),
    Named(&'static str),
}

impl Tiny {
    fn bytes(&self) -> Vec<u8> {
        use prost::Message;
        use tract_onnx::pb;
        use tract_onnx::pb::tensor_shape_proto::{Dimension, dimension::Value};
        let dims = self.input.iter().map(|dim| {
            let value = match dim {
                Dim::Fixed(size) => Value::DimValue(*size),
                Dim::Named(name) => Value::DimParam((*name).into()),
            };
            Dimension { value: Some(value), ..Dimension::default() }
        });
        let tensor = |dims: Vec<Dimension>| {
            let shape = Some(pb::TensorShapeProto { dim: dims });
            let value = Some(pb::type_proto::Value::TensorType(pb::type_proto::Tensor { elem_type: 1, shape }));
            Some(pb::TypeProto { value, ..pb::TypeProto::default() })
        };
        let port = |name: &str, r#type| pb::ValueInfoProto { name: name.into(), r#type, ..Default::default() };
        let node = |op: &str, from: &str, to: &str| pb::NodeProto {
            op_type: op.into(),
            input: vec![from.into()],
            output: vec![to.into()],
            ..Default::default()
        };
        let names = ["logits", "pooled"];
        let graph = pb::GraphProto {
            node: vec![node(self.pool, "input", "pooled"), node("Flatten", "pooled", "logits")],
            input: vec![port("input", tensor(dims.collect()))],
            output: names[..self.outputs].iter().map(|name| port(name, None)).collect(),
            ..Default::default()
        };
        let opset = pb::OperatorSetIdProto { version: 13, ..Default::default() };
        pb::ModelProto { ir_version: 7, opset_import: vec![opset], graph: Some(graph), ..Default::default() }
            .encode_to_vec()
    }
}

/// `check` with the pair's saver replaced by this model, its hash corrected.
fn check_tiny(model: &Tiny) -> Finished {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tiny.onnx");
    fs::write(&file, model.bytes()).unwrap();
    let sum = std::process::Command::new("sha256sum").arg(&file).output().unwrap();
    let sum = String::from_utf8(sum.stdout).unwrap()[..64].to_owned();
    let pair = pair_with(&folder, Some(&file), None, |text| {
        let at = text.find("id = \"lite0-160-int8\"").unwrap();
        let hash = at + text[at..].find("sha256 = \"").unwrap() + "sha256 = \"".len();
        format!("{}{sum}{}", &text[..hash], &text[hash + 64..])
    });
    finish(&["check", "--pair", &pair]).unwrap()
}

#[test]
fn models_that_are_no_classifiers_of_this_pair() {
    use Dim::{Fixed, Named};
    let pool = "GlobalAveragePool";
    let square = || vec![Fixed(1), Fixed(3), Fixed(160), Fixed(160)];
    let open = || vec![Named("batch"), Fixed(3), Named("h"), Named("w")];
    let cases: [(Tiny, &[&str]); 5] = [
        (Tiny { input: square(), outputs: 1, pool }, &["3 classes", "1000"]),
        (Tiny { input: open(), outputs: 1, pool }, &["3 classes"]), // the pair states the size: taken, then refused
        (Tiny { input: square(), outputs: 2, pool }, &["2 outputs (logits, pooled)"]),
        (Tiny { input: square(), outputs: 1, pool: "Sorcery" }, &["unsupported operator", "Sorcery"]),
        (Tiny { input: vec![Fixed(1), Fixed(7)], outputs: 1, pool }, &["input 'input' is float32 [1, 7]"]),
    ];
    for (model, parts) in cases {
        let Finished { code, err, .. } = check_tiny(&model);
        assert!(code == 2 && parts.iter().all(|part| err.contains(part)), "{parts:?}: {code} {err}");
        assert!(!err.contains("panicked"), "{err}");
    }
}
