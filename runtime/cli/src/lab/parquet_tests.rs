use super::*;
use proptest::prelude::*;

/// Records of made-up logits.
pub(crate) fn sample_records(rows: usize, classes: usize, keep_logits: bool, labelled: bool) -> Records {
    let info = |id: &str, macs| ModelInfo {
        id: id.into(),
        sha256: "ab".repeat(32),
        macs,
        classes,
        latency_us: Some(1.5),
        energy_joules: None,
    };
    let mut models = vec![ModelRecords::new(info("saver", 10)), ModelRecords::new(info("base", 100))];
    for (which, model) in models.iter_mut().enumerate() {
        for row in 0..rows {
            let logits: Vec<f32> =
                (0..classes).map(|class| ((row * 7 + class * 3 + which) % 11) as f32 / 2.0).collect();
            model.push(&logits, keep_logits).unwrap();
        }
    }
    let label = |row: usize| labelled.then(|| u32::try_from(row % classes).unwrap());
    let samples = (0..rows).map(|row| Sample { name: format!("s/{row}"), content: row as u64 * 3, label: label(row) });
    Records { samples: samples.collect(), models }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn what_is_written_is_read(
        rows in 1usize..40, classes in 1usize..12, keep_logits in any::<bool>(), labelled in any::<bool>()
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r.parquet");
        let mut records = sample_records(rows, classes, keep_logits, labelled);
        if rows > 2 {
            records.samples[1].label = None;
        }
        write(&path, &records).unwrap();
        prop_assert_eq!(&read(&path).unwrap(), &records);
        prop_assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left");
    }
}

#[test]
fn a_file_that_was_cut_off_is_refused_wherever_that_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("r.parquet");
    write(&path, &sample_records(50, 10, true, true)).unwrap();
    let whole = fs::read(&path).unwrap();
    for kept in [0, 3, 8, whole.len() / 2, whole.len() - 1] {
        fs::write(&path, &whole[..kept]).unwrap();
        let error = format!("{:#}", read(&path).unwrap_err());
        assert!(error.contains("r.parquet") && error.contains("cut off"), "{kept}: {error}");
    }
}

#[test]
fn a_label_that_is_no_class_is_named_by_its_row() {
    let mut records = sample_records(5, 3, false, true);
    records.samples[4].label = Some(3);
    let error = records.check("r.parquet").unwrap_err().to_string();
    assert!(error.contains("r.parquet: row 4 (s/4): label 3 is no class"), "{error}");
    records.samples.clear();
    assert!(records.check("r").unwrap_err().to_string().contains("no samples"));
}
