//! Records, selection and calibration, from logits that another program wrote to a policy that `run` takes or refuses.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;
use tinysaver_tests::{Finished, finish, root};

/// A seeded sequence from 0 to below 1 (Knuth's multiplier).
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Adds a line of three logits, the answer's of this height.
    fn row(&mut self, text: &mut String, label: usize, right: bool, height: f64) {
        let answer = if right { label } else { (label + 1) % 3 };
        let cells: Vec<String> =
            (0..3).map(|class| format!("{:.4}", if class == answer { height } else { self.roll() * 0.2 })).collect();
        writeln!(text, "{label},{}", cells.join(",")).unwrap();
    }
}

/// Logits of a saver and of a larger model that are right more often the surer they are, and of a base that is right in 95
/// of 100.
struct Logits {
    folder: TempDir,
}

impl Logits {
    fn new(samples: usize, seed: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let header = || String::from("label,0,1,2\n");
        let (mut saver, mut middle, mut base, mut dice) = (header(), header(), header(), Dice(seed));
        for _ in 0..samples {
            let label = (dice.roll() * 3.0) as usize;
            let sure = dice.roll();
            let saver_right = dice.roll() < 0.5 + 0.5 * sure.sqrt();
            let base_right = dice.roll() < 0.95;
            dice.row(&mut saver, label, saver_right, 0.5 + 6.0 * sure);
            dice.row(&mut base, label, base_right, 5.0);
            let sure = dice.roll();
            let middle_right = dice.roll() < 0.75 + 0.25 * sure.sqrt();
            dice.row(&mut middle, label, middle_right, 0.5 + 6.0 * sure);
        }
        let logits = Self { folder };
        fs::write(logits.path("saver.csv"), saver).unwrap();
        fs::write(logits.path("middle.csv"), middle).unwrap();
        fs::write(logits.path("base.csv"), base).unwrap();
        logits
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// `import` of both, with more arguments.
    fn import(&self, more: &[&str]) -> Finished {
        let (saver, base) = (format!("saver={}", self.text("saver.csv")), format!("base={}", self.text("base.csv")));
        let out = self.text("records.parquet");
        let mut arguments =
            vec!["import", "--model", &saver, "--model", &base, "--macs", "saver=10", "--macs", "base=100"];
        arguments.extend(["--out", &out]);
        arguments.extend(more);
        finish(&arguments).unwrap()
    }

    fn imported(self, more: &[&str]) -> Self {
        let Finished { code, err, .. } = self.import(more);
        assert_eq!(code, 0, "{err}");
        self
    }
}

fn json(arguments: &[&str]) -> Value {
    let Finished { code, out, err } = finish(arguments).unwrap();
    assert_eq!(code, 0, "{arguments:?}: {err}");
    serde_json::from_str(&out).unwrap()
}

fn refused(arguments: &[&str], wanted: i32, parts: &[&str]) {
    let Finished { code, out, err } = finish(arguments).unwrap();
    assert_eq!(code, wanted, "{arguments:?}: {out}{err}");
    for part in parts {
        assert!(err.contains(part), "{arguments:?}: '{part}' is not in: {err}");
    }
    assert!(!err.contains("panicked"), "{err}");
}

const PAIR: [&str; 4] = ["--saver", "saver", "--base", "base"];

#[test]
fn from_logits_to_a_policy_and_its_drop_on_other_samples() {
    let calibration = Logits::new(6_000, 1).imported(&["--logits"]);
    let test = Logits::new(6_000, 2).imported(&["--logits"]);
    let (records, policy) = (calibration.text("records.parquet"), calibration.text("policy.toml"));
    for method in ["rcps", "ltt", "sgr", "crc", "sweep"] {
        let arguments =
            [&["calibrate", &records, "--method", method, "--epsilon-pp", "3", "--json"][..], &PAIR].concat();
        let made = json(&arguments);
        let certificate = &made["certificate"];
        assert!(certificate["bound"].as_f64().unwrap() <= 0.03, "{made}");
        assert!(certificate["exits"].as_u64().unwrap() > 300, "{method}: {made}");
        assert_eq!(certificate["samples"], 6_000);
    }
    let scores = ["max_softmax", "margin", "entropy", "logistic"];
    for score in scores {
        let more = ["--score", score, "--temperature", "fit", "--epsilon-pp", "3", "--out", &policy];
        let Finished { code, out, err } = finish(&[&["calibrate", &records][..], &PAIR, &more].concat()).unwrap();
        assert_eq!(code, 0, "{err}");
        assert!(out.contains("4800 for the threshold, 1200 for fits, judged by labels"), "{out}");
        let test = test.text("records.parquet");
        let Finished { code, out, err } = finish(&["evaluate", &test, "--policy", &policy]).unwrap();
        assert!(code == 0 && err.contains("only the names are compared") && out.contains("policy"), "{out}{err}");
        let report = json(&[&["evaluate", &test, "--calibration", &records, "--json"][..], &PAIR].concat());
        let rows = report["rows"].as_array().unwrap();
        assert_eq!(rows.len(), 8);
        assert!(rows[0]["refused"].as_str().unwrap().contains("29956"), "0.01 pp cannot be promised: {report}");
        let certified = rows[6]["figures"]["drop_pp"].as_f64().unwrap();
        assert!(certified <= 1.0, "at most 1 pp on samples that were not seen: {report}");
        let (always, base) = (&report["always_saver"]["accuracy"], &report["always_base"]["accuracy"]);
        assert!(always.as_f64() < base.as_f64());
    }
    assert!(fs::read_to_string(&policy).unwrap().contains("kind = \"logistic\""));
}

/// `import` of all three models.
fn of_three(samples: usize, seed: u64) -> Logits {
    let logits = Logits::new(samples, seed);
    let middle = format!("middle={}", logits.text("middle.csv"));
    logits.imported(&["--model", &middle, "--macs", "middle=30", "--logits", "--latency-ms", "saver=1"])
}

#[test]
fn three_stages_are_certified_and_swept_as_two_are() {
    let (calibration, test) = (of_three(8_000, 11), of_three(8_000, 12));
    let (calibration, test) = (calibration.text("records.parquet"), test.text("records.parquet"));
    let arguments = ["evaluate", &test, "--calibration", &calibration, "--epsilon-pp", "3", "--fit-share", "0.3"];
    let more = ["--stages", "saver,middle,base"];
    let three = json(&[&arguments[..], &more, &["--json"]].concat());
    let two = json(&[&arguments[..], &PAIR, &["--json"]].concat());
    let row = |report: &Value, how: &str| -> Value {
        let rows = report["rows"].as_array().unwrap();
        rows.iter().rfind(|row| row["how"] == how).unwrap()["figures"].clone()
    };
    for how in ["certified", "test-swept"] {
        let (three, two) = (row(&three, how), row(&two, how));
        assert_eq!(
            (three["thresholds"].as_array().unwrap().len(), two["thresholds"].as_array().unwrap().len()),
            (2, 1)
        );
        assert!(three["drop_pp"].as_f64().unwrap() <= 3.0, "{three}");
        assert!(three["macs"].as_f64() < two["macs"].as_f64(), "{how}: a middle model saves something: {three} {two}");
        let exits = three["exit_ratios"].as_array().unwrap();
        let total: f64 = exits.iter().map(|exits| exits.as_f64().unwrap()).sum();
        assert!((total - three["exit_ratio"].as_f64().unwrap()).abs() < 1e-9);
    }
    let shown = finish(&[&arguments[..], &more].concat()).unwrap();
    assert!(shown.code == 0 && shown.out.contains("saver / middle / base, 8000 test samples"), "{}", shown.out);
    refused(&[&arguments[..], &more, &["--method", "sgr"]].concat(), 2, &["sgr chooses one threshold only"]);
    refused(&[&arguments[..], &["--stages", "base"]].concat(), 2, &["at least a saver and a base"]);
    refused(&[&arguments[..], &more, &["--saver", "saver"]].concat(), 2, &["--stages", "--saver"]);
}

#[test]
fn plots_are_one_page_that_needs_nothing_else() {
    let (calibration, test) = (of_three(3_000, 13), of_three(3_000, 14));
    let page = calibration.text("page.html");
    let records = calibration.text("records.parquet");
    let arguments = ["calibrate", &records, "--epsilon-pp", "3", "--html", &page];
    assert_eq!(finish(&[&arguments[..], &PAIR].concat()).unwrap().code, 0);
    let text = fs::read_to_string(&page).unwrap();
    assert!(text.contains("3000 calibration samples") && text.matches("<svg").count() == 6);
    let test = test.text("records.parquet");
    let arguments = ["evaluate", &test, "--calibration", &records, "--stages", "saver,middle,base", "--html", &page];
    assert_eq!(finish(&arguments).unwrap().code, 0);
    let text = fs::read_to_string(&page).unwrap();
    assert!(text.contains("saver / middle / base on 3000 test samples") && text.contains("1 pp, test-swept"));
    for outside in ["http:", "https:", "src=", "href=", "<script"] {
        assert!(!text.contains(outside), "{outside}");
    }
    refused(
        &[&["calibrate", &records, "--html", "/no/such/page.html"][..], &PAIR].concat(),
        1,
        &["/no/such/page.html"],
    );
}

#[test]
fn a_policy_is_not_evaluated_on_records_of_other_model_files() {
    let (one, other) = ("a".repeat(64), "b".repeat(64));
    let hashes = |hash: &str| [format!("saver={hash}"), format!("base={hash}")];
    let of = |hash: &str| {
        let [saver, base] = hashes(hash);
        Logits::new(2_000, 15).imported(&["--model-hash", &saver, "--model-hash", &base])
    };
    let (made_for, others) = (of(&one), of(&other));
    let (records, policy) = (made_for.text("records.parquet"), made_for.text("policy.toml"));
    let made = finish(&[&["calibrate", &records, "--epsilon-pp", "3", "--out", &policy][..], &PAIR].concat()).unwrap();
    assert_eq!(made.code, 0, "{}", made.err);
    let same = finish(&["evaluate", &records, "--policy", &policy]).unwrap();
    assert!(same.code == 0 && same.err.contains("the very samples that the policy was made with"), "{}", same.err);
    let others = others.text("records.parquet");
    refused(&["evaluate", &others, "--policy", &policy], 2, &["policy.toml: made for the saver 'saver' (aaaa"]);
}

#[test]
fn promises_that_the_data_cannot_keep_are_refused_with_a_number() {
    let few = Logits::new(500, 3).imported(&[]);
    let records = few.text("records.parquet");
    let calibrate =
        |more: &[&str], parts: &[&str]| refused(&[&["calibrate", &records][..], &PAIR, more].concat(), 1, parts);
    calibrate(&[], &["records.parquet", "500 samples", "598 are needed"]);
    calibrate(&["--epsilon-pp", "0.1"], &["2995 are needed"]);
    refused(&[&["calibrate", &records][..], &PAIR, &["--temperature", "fit"]].concat(), 2, &["logits", "--logits"]);
    refused(&["calibrate", &records, "--saver", "saver", "--base", "nobody"], 2, &["no model 'nobody'", "saver, base"]);
    refused(&["calibrate", &records, "--base", "base"], 2, &["--saver"]);
    refused(&[&["calibrate", &records][..], &PAIR, &["--delta", "0"]].concat(), 2, &["delta 0"]);
    refused(&[&["calibrate", &records][..], &PAIR, &["--method", "luck"]].concat(), 2, &["rcps, ltt, sgr"]);
}

#[test]
fn select_finds_the_saver_and_says_how_sure_that_is() {
    let logits = Logits::new(2_000, 4).imported(&[]);
    let found = json(&["select", &logits.text("records.parquet"), "--base", "base", "--json"]);
    let best = &found["searches"][0]["candidates"][0];
    assert_eq!((best["saver"].as_str(), best["cost_ratio"].as_f64()), (Some("saver"), Some(0.1)));
    let delta = best["delta_cost"].as_f64().unwrap();
    assert!((delta - (0.1 - best["exit_ratio"].as_f64().unwrap())).abs() < 1e-12);
    assert!(best["delta_cost_95"]["low"].as_f64().unwrap() <= best["delta_cost_95"]["high"].as_f64().unwrap());
    let records = logits.text("records.parquet");
    refused(&["select", &records, "--by", "energy"], 2, &["joules are not known", "--energy-joules"]);
    refused(&["select", &records, "--base", "nobody"], 2, &["no model 'nobody'"]);
    let page = logits.text("page.html");
    let shown = finish(&["select", &records, "--base", "base", "--html", &page]).unwrap();
    assert!(shown.code == 0 && shown.out.contains("base base: accuracy"), "{}{}", shown.out, shown.err);
    assert!(fs::read_to_string(&page).unwrap().contains("its 95 % interval"));
    let Finished { out, .. } = finish(&["select", "--paper"]).unwrap();
    assert_eq!(out.lines().count(), 45, "{out}");
    assert!(out.contains("convnextv2_huge") && out.contains("-0.951"), "{out}");
}

#[test]
fn the_ranking_may_be_by_time_or_by_joules() {
    let logits = Logits::new(2_000, 21);
    let middle = format!("middle={}", logits.text("middle.csv"));
    let costs = |kind: &str, saver: f64| [format!("--{kind}"), format!("saver={saver}")];
    let mut more = vec!["--model".to_owned(), middle, "--macs".to_owned(), "middle=30".to_owned()];
    // In joules the smaller model is the dearer one.
    more.extend(costs("energy-joules", 0.9).into_iter().chain(costs("latency-ms", 2.0)));
    for model in ["middle=0.2", "base=1"] {
        more.extend(["--energy-joules", model, "--latency-ms", model].map(str::to_owned));
    }
    let logits = logits.imported(&more.iter().map(String::as_str).collect::<Vec<_>>());
    let records = logits.text("records.parquet");
    let by = |cost: &str| json(&["select", &records, "--base", "base", "--by", cost, "--json"])["searches"][0].clone();
    let energy = by("energy");
    assert_eq!(energy["candidates"][0]["saver"], "middle", "{energy}");
    let first = &energy["candidates"][0];
    assert_eq!(first["cost_ratio"].as_f64(), Some(0.2));
    let delta = |kind: &str, key: &str| first[kind][key].as_f64().unwrap();
    assert!((delta("macs", "value") - delta("energy", "value") - 0.1).abs() < 1e-9, "0.3 and 0.2 of the base's cost");
    let low = |kind: &str| first[kind]["interval_95"]["low"].as_f64().unwrap();
    assert!((low("macs") - low("energy") - 0.1).abs() < 1e-9);
    let arguments = ["select", &records, "--base", "base", "--by", "energy", "--json", "--energy-joules"];
    let other = json(
        &[&arguments[..], &["middle=0.95", "--energy-joules", "saver=0.1", "--latency-ms", "middle=0.5"]].concat(),
    );
    let other = &other["searches"][0]["candidates"];
    assert_eq!((&other[0]["saver"], &other[0]["cost_ratio"]), (&"saver".into(), &0.1.into()), "{other}");
    assert_eq!(other[1]["latency"]["cost_ratio"].as_f64(), Some(0.5), "{other}");
    refused(&[&arguments[..], &["nobody=1"]].concat(), 2, &["no model 'nobody'"]);
    let latency = by("latency");
    assert_eq!(latency["candidates"].as_array().unwrap().len(), 1, "the saver takes longer than the base: {latency}");
}

#[test]
fn fits_may_have_records_of_their_own() {
    let (calibration, fit) =
        (Logits::new(3_000, 22).imported(&["--logits"]), Logits::new(500, 23).imported(&["--logits"]));
    let (records, fit) = (calibration.text("records.parquet"), fit.text("records.parquet"));
    let arguments = ["calibrate", &records, "--epsilon-pp", "3", "--score", "logistic", "--temperature", "fit"];
    let made = json(&[&arguments[..], &PAIR, &["--fit-records", &fit, "--json"]].concat());
    assert_eq!((&made["certificate"]["samples"], &made["certificate"]["fitted_on"]), (&3_000.into(), &500.into()));
    refused(&[&arguments[..], &PAIR, &["--fit-records", &records]].concat(), 2, &["3000 of its samples are in"]);
    let plain = ["calibrate", &records, "--epsilon-pp", "3", "--fit-records", &fit, "--json"];
    let made = json(&[&plain[..], &PAIR].concat());
    assert_eq!((&made["certificate"]["samples"], &made["certificate"]["fitted_on"]), (&3_000.into(), &0.into()));
    let without = Logits::new(500, 24).imported(&[]);
    let without = without.text("records.parquet");
    refused(&[&arguments[..], &PAIR, &["--fit-records", &without]].concat(), 2, &["one file holds logits"]);
}

#[test]
fn samples_that_are_in_both_files_are_counted() {
    let logits = Logits::new(1_000, 5).imported(&[]);
    let records = logits.text("records.parquet");
    let Finished { code, err, .. } =
        finish(&[&["evaluate", &records, "--calibration", &records][..], &PAIR].concat()).unwrap();
    assert!(code == 0 && err.contains("1000 of 1000 test samples are calibration samples"), "{err}");
}

#[test]
fn samples_that_repeat_others_are_counted_where_a_promise_rests_on_them() {
    let logits = Logits::new(1_000, 25);
    for name in ["saver.csv", "base.csv"] {
        let text = fs::read_to_string(logits.path(name)).unwrap();
        // The first three samples once more at the end.
        let again: Vec<&str> = text.lines().skip(1).take(3).collect();
        logits.write(name, &format!("{text}{}\n", again.join("\n")));
    }
    let logits = logits.imported(&[]);
    let records = logits.text("records.parquet");
    let made = finish(&[&["calibrate", &records, "--epsilon-pp", "3"][..], &PAIR].concat()).unwrap();
    assert!(made.code == 0 && made.err.contains("3 of 1003 samples repeat another one"), "{}", made.err);
    let other = Logits::new(1_000, 26).imported(&[]);
    let other = other.text("records.parquet");
    let made = finish(&[&["calibrate", &other, "--epsilon-pp", "3"][..], &PAIR].concat()).unwrap();
    assert!(made.code == 0 && !made.err.contains("repeat"), "{}", made.err);
}

#[test]
fn bad_imports_name_the_file_and_the_row() {
    let check = |change: &dyn Fn(&Logits), more: &[&str], parts: &[&str]| {
        let logits = Logits::new(5, 6);
        change(&logits);
        let Finished { code, err, .. } = logits.import(more);
        assert_eq!(code, 2, "{err}");
        for part in parts {
            assert!(err.contains(part), "'{part}' is not in: {err}");
        }
        assert!(!err.contains("panicked") && !logits.path("records.parquet").exists(), "{err}");
    };
    let rows = "label,0,1,2\n0,1,2,3\n1,1,2,3\n";
    check(&|l| l.write("saver.csv", rows), &[], &["base.csv: 5 rows, but 'saver' has 2"]);
    check(&|l| l.write("base.csv", "label,0,1\n0,1,2\n"), &[], &["base.csv: 2 classes, but 'saver' has 3"]);
    check(&|l| l.write("saver.csv", "label,0,1,2\n"), &[], &["saver.csv", "empty"]);
    check(&|l| l.write("saver.csv", ""), &[], &["saver.csv", "empty"]);
    check(&|l| l.write("saver.csv", "label,0,1,2\n0,1,x,3\n"), &[], &["saver.csv: line 2: `x` is no number"]);
    check(&|l| l.write("saver.csv", "label,0,1,2\n0,1,nan,3\n"), &[], &["saver.csv: row 0", "logit 1 is not a finite"]);
    check(&|l| l.write("saver.csv", "label,0,1,2\n0,1,2\n"), &[], &["saver.csv: line 2: 2 numbers for 3 classes"]);
    check(&|_| {}, &["--probabilities"], &["saver.csv: row 0", "is no probability"]);
    check(&|l| l.write("saver.csv", "0,1\n"), &[], &["saver.csv", "column names"]);
    check(&|l| l.write("saver.csv", "a,b,c\n0.5,0.2,0.1\n"), &["--probabilities"], &["row 0", "add up to 0.8000"]);
    check(&|l| l.write("saver.npy", "no array"), &["--model", "x=/no/such.npy"], &["/no/such.npy"]);
    let labels = |text: &'static str| move |l: &Logits| l.write("labels.txt", text);
    for (text, part) in [
        ("0\n1\n2\n3\n1\n", "row 3 (3): label 3 is no class: there are 3"),
        ("0\n1\n", "2 labels for 5 rows"),
        ("0\n1\n-1\n0\n0\n", "row 2: label -1 is no class"),
        ("0\n1\nx\n", "line 3: `x` is no class"),
    ] {
        let logits = Logits::new(5, 6);
        labels(text)(&logits);
        let Finished { code, err, .. } = logits.import(&["--labels", &logits.text("labels.txt")]);
        assert!(code == 2 && err.contains(part), "'{part}' is not in: {err}");
    }
}

/// An NPY file of float32.
fn npy(shape: &str, values: &[f32]) -> Vec<u8> {
    let mut header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}");
    while (10 + header.len() + 1) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend(u16::try_from(header.len()).unwrap().to_le_bytes());
    bytes.extend(header.bytes());
    values.iter().for_each(|value| bytes.extend(value.to_le_bytes()));
    bytes
}

#[test]
fn arrays_of_numpy_are_read_and_damaged_ones_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let whole = npy("(2, 3)", &[3.0, 1.0, 0.0, 0.0, 2.0, 1.0]);
    fs::write(path("m.npy"), &whole).unwrap();
    fs::write(path("labels.txt"), "0\n1\n").unwrap();
    let (model, labels, out) = (format!("m={}", path("m.npy")), path("labels.txt"), path("r.parquet"));
    let arguments = ["import", "--model", &model, "--labels", &labels, "--out", &out];
    let made = finish(&arguments).unwrap();
    assert!(made.code == 0 && made.out.contains("1 models, 2 samples with labels"), "{}{}", made.out, made.err);
    for (bytes, parts) in [
        (whole[..whole.len() - 4].to_vec(), "cut off"),
        (b"no array at all".to_vec(), "no NPY array"),
        (npy("(6,)", &[0.0; 6]), "shape [6]; samples x classes is wanted"),
        (npy("(0, 3)", &[]), "there are no samples"),
        (npy("(1, 3)", &[0.0; 3]), "2 labels for 1 rows"),
    ] {
        fs::write(path("m.npy"), bytes).unwrap();
        refused(&arguments, 2, &[parts]);
    }
    fs::write(path("m.npz"), &whole[..40]).unwrap();
    let model = format!("m={}", path("m.npz"));
    refused(&["import", "--model", &model, "--out", &out], 2, &["m.npz", "no NPZ file"]);
}

#[test]
fn a_truncated_record_file_is_said_to_be_one() {
    let logits = Logits::new(50, 7).imported(&[]);
    let path = logits.path("records.parquet");
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    let records = logits.text("records.parquet");
    refused(&[&["calibrate", &records][..], &PAIR].concat(), 2, &["records.parquet", "cut off"]);
    fs::write(&path, "no records").unwrap();
    refused(&["select", &records], 2, &["records.parquet", "no Parquet file"]);
    refused(&["evaluate", "/no/such.parquet", "--policy", "p"], 2, &["/no/such.parquet"]);
}

/// The SHA-256 that pair.toml states for a model.
fn hash_of(id: &str) -> String {
    let text = fs::read_to_string(root().join("models/imagenet-lite/pair.toml")).unwrap();
    let entry = &text[text.find(&format!("id = \"{id}\"")).unwrap()..];
    let start = entry.find("sha256 = \"").unwrap() + 10;
    entry[start..start + 64].to_owned()
}

fn policy(folder: &Path, saver: &str, base: &str, threshold: f32) -> String {
    let path = folder.join(format!("policy-{threshold}.toml"));
    let text = format!(
        "schema = 1\nthreshold = {threshold}\ntemperature = 1.0\n[score]\nkind = \"max_softmax\"\n\
         [saver]\nid = \"s\"\nsha256 = \"{saver}\"\n[base]\nid = \"b\"\nsha256 = \"{base}\"\n[certificate]\n\
         method = \"rcps\"\npromises = \"\"\nepsilon = 0.01\ndelta = 0.05\nsamples = 1000\nfitted_on = 0\n\
         labelled = true\nexits = 1\nharms = 0\nhelps = 0\nbound = 0.003\nexpected_exit_ratio = 0.1\n\
         data_sha256 = \"\"\n"
    );
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn run_takes_a_policy_for_its_models_only_and_replay_repeats_it_to_the_bit() {
    let folder = tempfile::tempdir().unwrap();
    let (saver, base) = (hash_of("lite0-160-int8"), hash_of("lite2-260-int8"));
    let in_force = policy(folder.path(), &saver, &base, 0.6);
    let log = folder.path().join("log");
    let (log, photos) = (log.to_str().unwrap(), "models/imagenet-lite/build/photos/known");
    let run = ["run", "--source", photos, "--log", log, "--quiet", "--policy"];
    let ran = finish(&[&run[..], &[&in_force]].concat()).unwrap();
    assert_eq!(ran.code, 0, "{}", ran.err);
    let other = policy(folder.path(), &base, &base, 0.5);
    refused(&[&run[..], &[&other]].concat(), 2, &["made for the saver", "lite0-160-int8", "calibrate again"]);
    refused(&[&run[..], &[&in_force, "--threshold", "0.3"]].concat(), 2, &["a threshold and a temperature of its own"]);
    let same = json(&["replay", log, "--policy", &in_force, "--json"]);
    let frames = same["frames"].as_u64().unwrap();
    assert!(frames > 0 && same["in_force_alike"].as_u64() == Some(frames), "{same}");
    assert_eq!((&same["in_force_otherwise"], &same["exits_then"]), (&Value::from(0), &same["exits_now"]));
    assert_eq!(same["macs_then"], same["macs_now"]);
    let never = policy(folder.path(), &saver, &base, 0.0);
    let all = json(&["replay", log, "--policy", &never, "--json"]);
    assert_eq!(all["exits_now"].as_u64(), Some(frames), "at 0 the saver answers everything");
    refused(&["replay", log, "--policy", &other], 1, &["nothing can be replayed"]);
}

#[test]
fn record_goes_on_where_it_was_stopped_and_select_reads_what_it_wrote() {
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("list.csv");
    let photos = root().join("models/imagenet-lite/build/photos/known");
    let mut text = String::from("file,class\n");
    let mut names: Vec<_> = fs::read_dir(&photos).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.retain(|path| path.extension().is_some_and(|extension| extension == "jpg"));
    names.sort();
    for path in &names {
        writeln!(text, "{},291", path.display()).unwrap();
    }
    fs::write(&list, text).unwrap();
    let out = folder.path().join("r.parquet");
    let (list, out) = (list.to_str().unwrap(), out.to_str().unwrap());
    let models = "lite0-96-int8,lite0-160-int8";
    let arguments = ["record", "--data", list, "--format", "csv", "--models", models, "--out", out];
    let first = finish(&arguments).unwrap();
    assert!(first.code == 0 && first.out.contains(&format!("2 models, {} samples", names.len())), "{}", first.err);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "the parts are gone");
    let found = json(&["select", out, "--base", "lite0-160-int8", "--json"]);
    assert_eq!(found["searches"][0]["candidates"][0]["saver"], "lite0-96-int8");
    let part = folder.path().join("part.parquet");
    let range = |range: &str| -> Vec<String> {
        let mut changed = arguments.map(str::to_owned).to_vec();
        changed[8] = part.to_str().unwrap().to_owned();
        changed.extend(["--range".to_owned(), range.to_owned()]);
        changed
    };
    let of_range = |text: &str| -> Finished {
        let changed = range(text);
        finish(&changed.iter().map(String::as_str).collect::<Vec<_>>()).unwrap()
    };
    let ran = of_range("1..3");
    assert!(ran.code == 0 && ran.out.contains("2 models, 2 samples"), "{}", ran.err);
    for (text, wanted) in [("2..2", "--range 2..2"), ("0..9999", "--range 0..9999"), ("3", "`3` is no range")] {
        let ran = of_range(text);
        assert!(ran.code == 2 && ran.err.contains(wanted), "{text}: {}", ran.err);
    }
    fs::write(list, "file,class\n/no/such.jpg,1\n").unwrap();
    refused(&arguments, 1, &["/no/such.jpg"]);
    fs::write(list, "file,class\na.jpg,1000\n").unwrap();
    refused(&arguments, 2, &["a.jpg: label 1000 is no class"]);
}

/// What the project's own labelled pair promises, on its committed records of 10,000 calibration and 10,000 test pictures.
#[test]
fn the_committed_pair_keeps_its_certified_promise_on_the_test_set() {
    let fashion = root().join("models/fashion-mnist");
    let file = |name: &str| fashion.join(name).to_str().unwrap().to_owned();
    let (calibration, test) = (file("records/calibration.parquet"), file("records/test.parquet"));
    let pair = ["--saver", "mobile-4900k-int8", "--base", "resnet-124m-int8"];
    let made = json(&[&["calibrate", &calibration, "--method", "ltt", "--json"][..], &pair].concat());
    let committed: toml::Table = fs::read_to_string(file("policy.toml")).unwrap().parse().unwrap();
    let threshold = |value: Option<f64>| (value.unwrap() * 1e6).round();
    assert_eq!(threshold(made["threshold"].as_f64()), threshold(committed["threshold"].as_float()), "{made}");
    let report = json(&["evaluate", &test, "--policy", &file("policy.toml"), "--json"]);
    let figures = &report["rows"][0]["figures"];
    assert!(figures["drop_pp"].as_f64().unwrap() <= 0.5, "the promise: {report}");
    assert!(figures["macs_saved"].as_f64().unwrap() >= 0.85, "what the pair is there to show: {report}");
    assert!(report["always_base"]["accuracy"].as_f64().unwrap() >= 0.945, "{report}");
}
