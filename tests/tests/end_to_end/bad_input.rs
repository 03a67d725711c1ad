//! What users get wrong, and what the program says to it.

use std::fs;
use std::io::Cursor;
use std::path::Path;
use std::process::Command;

use image::{DynamicImage, ImageFormat, RgbImage};
use serde_json::Value;
use tempfile::TempDir;
use tinysaver_tests::{Finished, finish, root};

use crate::main_job::run_json;
use crate::onnx::{Dim, Model, Node};

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
fn threads_that_are_none_or_too_many() {
    for threads in ["0", "65", "-1", "many"] {
        let flag = format!("--threads={threads}");
        for command in ["run", "bench", "check", "serve"] {
            refused(&[command, &flag], &["--threads", if threads == "many" { "whole number" } else { "from 1 to 64" }]);
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("c.toml");
    fs::write(&config, "threads = 0\n").unwrap();
    refused(&["check", "--config", config.to_str().unwrap()], &["c.toml:1", "threads = 0", "from 1 to 64", "cores"]);
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

/// Runs Pillow of the models' environment, which writes what the `image` crate cannot.
fn pillow(script: &str, photo: &Path) {
    let python = root().join("models/.venv/bin/python");
    let lion = root().join("models/imagenet-lite/build/photos/known/lion.jpg");
    let status = Command::new(python).args(["-c", script]).arg(lion).arg(photo).status().unwrap();
    assert!(status.success(), "{script}");
}

#[test]
fn a_cmyk_photo_and_a_turned_one_are_what_they_show() {
    let folder = tempfile::tempdir().unwrap();
    let open = "import sys; from PIL import Image; photo = Image.open(sys.argv[1]).convert('RGB'); ";
    let turn = "photo = photo.transpose(Image.Transpose.ROTATE_90); ";
    let tag = "exif = Image.Exif(); exif[0x0112] = 6; photo.save(sys.argv[2], quality=95, exif=exif)";
    for (name, rest) in [
        ("a_rgb.jpg", "photo.save(sys.argv[2], quality=95)".to_owned()),
        ("b_cmyk.jpg", "photo.convert('CMYK').save(sys.argv[2], quality=95)".to_owned()),
        ("c_turned.jpg", format!("{turn}{tag}")),
        ("d_lying.jpg", format!("{turn}photo.save(sys.argv[2], quality=95)")),
    ] {
        pillow(&format!("{open}{rest}"), &folder.path().join(name));
    }
    let (records, _) = run_json(&["--source", folder.path().to_str().unwrap()]);
    let off =
        |record: &Value| (record["confidence"].as_f64().unwrap() - records[0]["confidence"].as_f64().unwrap()).abs();
    for record in &records[..3] {
        assert!(record["label"] == "lion" && off(record) < 0.05, "{record}");
    }
    assert!(off(&records[3]) > 0.05, "without its tag the photo lies on its side");
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
    for name in ["efficientnet_lite0_160.int8.onnx", "efficientnet_lite2_260.int8.onnx", "labels.txt"] {
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

/// `check` with the pair's saver replaced by this model, its hash corrected.
fn check_with_saver(model: &Model) -> Finished {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tiny.onnx");
    fs::write(&file, model.bytes()).unwrap();
    let sum = Command::new("sha256sum").arg(&file).output().unwrap();
    let sum = String::from_utf8(sum.stdout).unwrap()[..64].to_owned();
    let pair = pair_with(&folder, Some(&file), None, |text| {
        let at = text.find("id = \"lite0-160-int8\"").unwrap();
        let hash = at + text[at..].find("sha256 = \"").unwrap() + "sha256 = \"".len();
        format!("{}{sum}{}", &text[..hash], &text[hash + 64..])
    });
    finish(&["check", "--pair", &pair]).unwrap()
}

/// A classifier of three classes: the mean of each colour.
fn mean_of_each_colour(input: Vec<Dim>, pool: &'static str, outputs: &[&'static str]) -> Model {
    let nodes = vec![Node::new(pool, &["input"], "pooled"), Node::new("Flatten", &["pooled"], "logits")];
    Model { input, nodes, weights: Vec::new(), outputs: outputs.to_vec() }
}

#[test]
fn models_that_are_no_classifiers_of_this_pair() {
    use Dim::{Fixed, Named};
    let pool = "GlobalAveragePool";
    let square = || vec![Fixed(1), Fixed(3), Fixed(160), Fixed(160)];
    let open = || vec![Named("batch"), Fixed(3), Named("h"), Named("w")];
    let cases: [(Model, &[&str]); 5] = [
        (mean_of_each_colour(square(), pool, &["logits"]), &["3 classes", "1000"]),
        // The pair states the size: taken, then refused.
        (mean_of_each_colour(open(), pool, &["logits"]), &["3 classes"]),
        (mean_of_each_colour(square(), pool, &["logits", "pooled"]), &["2 outputs (logits, pooled)"]),
        (mean_of_each_colour(square(), "Sorcery", &["logits"]), &["unsupported operator", "Sorcery"]),
        (mean_of_each_colour(vec![Fixed(1), Fixed(7)], pool, &["logits"]), &["input 'input' is float32 [1, 7]"]),
    ];
    for (model, parts) in cases {
        let Finished { code, err, .. } = check_with_saver(&model);
        assert!(code == 2 && parts.iter().all(|part| err.contains(part)), "{parts:?}: {code} {err}");
        assert!(!err.contains("panicked"), "{err}");
    }
}
