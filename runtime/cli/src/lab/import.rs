//! Logits that other programs wrote, as records: NPY, NPZ (PyTorch, timm) and CSV.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail, ensure};
use npyz::{DType, NpyFile, TypeChar};

use crate::lab::records::{ModelInfo, ModelRecords, Records, Sample, content_of};

/// How far from 1 the sum of probabilities may be.
const PROBABILITY_TOLERANCE: f64 = 1e-3;

/// What to import.
#[derive(Debug)]
pub struct Import {
    /// Models by id, and the file of each.
    pub models: Vec<(String, PathBuf)>,
    /// Right classes: NPY, NPZ (array `labels`) or CSV.
    pub labels: Option<PathBuf>,
    /// Numbers are probabilities, not logits.
    pub probabilities: bool,
    /// Multiply-accumulates by model id.
    pub macs: BTreeMap<String, u64>,
    /// SHA-256 of model files by model id.
    pub hashes: BTreeMap<String, String>,
    /// Milliseconds of an inference by model id.
    pub latency_ms: BTreeMap<String, f64>,
    /// Joules of an inference by model id.
    pub energy_joules: BTreeMap<String, f64>,
    /// Keep the logits in the records.
    pub keep_logits: bool,
}

/// A table of numbers, rows one after the other.
struct Table {
    columns: usize,
    values: Vec<f32>,
    labels: Option<Vec<i64>>,
}

/// Reads everything and checks that it belongs together.
///
/// # Errors
/// A file that cannot be read or is no such file; rows that do not fit: the file and the row are named.
pub fn import(import: &Import) -> Result<Records> {
    for id in import
        .macs
        .keys()
        .chain(import.hashes.keys())
        .chain(import.latency_ms.keys())
        .chain(import.energy_joules.keys())
    {
        ensure!(import.models.iter().any(|(known, _)| known == id), "there is no model '{id}' among the imported ones");
    }
    let mut records = Records::default();
    let mut labels = import.labels.as_deref().map(read_labels).transpose()?;
    for (id, path) in &import.models {
        ensure!(records.model(id).is_err(), "model '{id}' is imported twice");
        let table = read_table(path)?;
        labels = labels.or_else(|| table.labels.clone());
        add_model(&mut records, import, id, path, &table)?;
    }
    if let Some(labels) = labels {
        let source = import.labels.as_deref().map_or_else(|| "the labels".into(), |path| path.display().to_string());
        ensure!(
            labels.len() == records.samples.len(),
            "{source}: {} labels for {} rows of logits: they must be of the same samples, in the same order",
            labels.len(),
            records.samples.len()
        );
        for (row, (sample, label)) in records.samples.iter_mut().zip(labels).enumerate() {
            let label = u32::try_from(label).map_err(|_| anyhow!("{source}: row {row}: label {label} is no class"))?;
            sample.label = Some(label);
        }
    }
    records.check(&import.models.first().map_or_else(String::new, |(_, path)| path.display().to_string()))?;
    Ok(records)
}

fn add_model(records: &mut Records, import: &Import, id: &str, path: &Path, table: &Table) -> Result<()> {
    let name = path.display();
    let columns = table.columns;
    let info = ModelInfo {
        id: id.to_owned(),
        sha256: import.hashes.get(id).cloned().unwrap_or_default(),
        macs: import.macs.get(id).copied().unwrap_or(0),
        classes: columns,
        latency_us: import.latency_ms.get(id).map(|ms| ms * 1e3),
        energy_joules: import.energy_joules.get(id).copied(),
    };
    if let Some(first) = records.models.first() {
        let (classes, rows) = (first.info.classes, records.samples.len());
        ensure!(
            columns == classes,
            "{name}: {columns} classes, but '{}' has {classes}: logits of another class count cannot be compared",
            first.info.id
        );
        ensure!(
            table.values.len() == rows * columns,
            "{name}: {} rows, but '{}' has {rows}: they must be of the same samples, in the same order",
            table.values.len() / columns,
            first.info.id
        );
    }
    let (mut model, mut logarithms) = (ModelRecords::new(info), Vec::new());
    let is_first = records.models.is_empty();
    for (row, values) in table.values.chunks(columns).enumerate() {
        let logits = if import.probabilities {
            log_of(values, &mut logarithms).with_context(|| format!("{name}: row {row}"))?;
            &logarithms
        } else {
            values
        };
        model.push(logits, import.keep_logits).with_context(|| format!("{name}: row {row}"))?;
        if is_first {
            let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            records.samples.push(Sample { name: row.to_string(), content: content_of(&bytes), label: None });
        }
    }
    records.models.push(model);
    Ok(())
}

/// Logarithms of probabilities, which are logits; a probability of 0 gets a very small one.
fn log_of(probabilities: &[f32], logarithms: &mut Vec<f32>) -> Result<()> {
    let total: f64 = probabilities.iter().map(|probability| f64::from(*probability)).sum();
    if let Some(class) = probabilities.iter().position(|probability| !(0.0..=1.0).contains(probability)) {
        bail!("class {class}: {} is no probability", probabilities.get(class).copied().unwrap_or(f32::NAN));
    }
    ensure!(
        (total - 1.0).abs() <= PROBABILITY_TOLERANCE,
        "its probabilities add up to {total:.4}, not to 1; if these are logits, leave --probabilities out"
    );
    logarithms.clear();
    logarithms.extend(probabilities.iter().map(|probability| probability.max(1e-30).ln()));
    Ok(())
}

fn extension(path: &Path) -> String {
    path.extension().map(|extension| extension.to_string_lossy().to_lowercase()).unwrap_or_default()
}

fn read_table(path: &Path) -> Result<Table> {
    let name = || path.display().to_string();
    let table = match extension(path).as_str() {
        "npy" => open(path).and_then(numbers).map(|(shape, values)| (shape, values, None)),
        "npz" => npz_table(path),
        "csv" => csv_table(path),
        _ => Err(anyhow!("logits are read from .npy, .npz and .csv files")),
    };
    let (shape, values, labels) = table.with_context(name)?;
    match shape.as_slice() {
        [0, _] | [_, 0] => bail!("{}: it is empty: there are no samples", name()),
        [_, columns] => Ok(Table { columns: usize::try_from(*columns)?, values, labels }),
        _ => bail!("{}: an array of shape {shape:?}; samples x classes is wanted", name()),
    }
}

type Numbers = (Vec<u64>, Vec<f32>, Option<Vec<i64>>);

fn open(path: &Path) -> Result<impl Read> {
    Ok(BufReader::new(File::open(path)?))
}

fn npy(reader: impl Read) -> Result<NpyFile<impl Read>> {
    let file = NpyFile::new(reader).context("no NPY array, or one that was cut off")?;
    ensure!(file.order() == npyz::Order::C || file.shape().len() < 2, "its order is Fortran's; save it in C order");
    Ok(file)
}

fn kind(file: &NpyFile<impl Read>) -> Result<(TypeChar, u64)> {
    match file.dtype() {
        DType::Plain(plain) => Ok((plain.type_char(), plain.size_field())),
        other => bail!("an array of {} is no table of numbers", other.descr()),
    }
}

fn numbers(reader: impl Read) -> Result<(Vec<u64>, Vec<f32>)> {
    let file = npy(reader)?;
    let shape = file.shape().to_vec();
    let cut = "the array was cut off";
    #[expect(clippy::cast_possible_truncation, reason = "logits need no more than 24 bits")]
    let values = match kind(&file)? {
        (TypeChar::Float, 4) => file.into_vec::<f32>().context(cut)?,
        (TypeChar::Float, 8) => file.into_vec::<f64>().context(cut)?.into_iter().map(|value| value as f32).collect(),
        (kind, size) => bail!("an array of {kind}{size}; float32 or float64 is wanted"),
    };
    Ok((shape, values))
}

fn integers(reader: impl Read) -> Result<Vec<i64>> {
    let file = npy(reader)?;
    let cut = "the array was cut off";
    Ok(match kind(&file)? {
        (TypeChar::Int, 8) => file.into_vec::<i64>().context(cut)?,
        (TypeChar::Int, 4) => file.into_vec::<i32>().context(cut)?.into_iter().map(i64::from).collect(),
        (TypeChar::Int, 2) => file.into_vec::<i16>().context(cut)?.into_iter().map(i64::from).collect(),
        (TypeChar::Uint, 1) => file.into_vec::<u8>().context(cut)?.into_iter().map(i64::from).collect(),
        (kind, size) => bail!("labels of {kind}{size}; int64, int32, int16 or uint8 is wanted"),
    })
}

fn npz_table(path: &Path) -> Result<Numbers> {
    let mut archive = zip::ZipArchive::new(File::open(path)?).context("no NPZ file, or one that was cut off")?;
    let names: Vec<String> = archive.file_names().map(str::to_owned).collect();
    let labels = if names.iter().any(|name| name == "labels.npy") {
        Some(integers(archive.by_name("labels.npy")?).context("labels")?)
    } else {
        None
    };
    let others: Vec<&String> = names.iter().filter(|name| *name != "labels.npy").collect();
    let name = others.iter().find(|name| **name == "logits.npy").or(others.first().filter(|_| others.len() == 1));
    let name = name.with_context(|| format!("no array `logits` in it, but {}", names.join(", ")))?;
    let (shape, values) = numbers(archive.by_name(name)?).context("logits")?;
    Ok((shape, values, labels))
}

/// `label` first, if there is such a column, then a column a class; the first line names them.
fn csv_table(path: &Path) -> Result<Numbers> {
    let text = fs::read_to_string(path)?;
    let mut lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let (_, header) = lines.next().context("it is empty: there are no samples")?;
    let has_labels = header.split(',').next().is_some_and(|first| first.trim() == "label");
    let columns = header.split(',').count() - usize::from(has_labels);
    ensure!(
        header.split(',').any(|cell| cell.trim().parse::<f32>().is_err()),
        "line 1: column names are wanted, such as label,0,1,2 or c0,c1,c2"
    );
    let (mut rows, mut values, mut labels) = (0, Vec::new(), Vec::new());
    for (index, line) in lines {
        let at = || format!("line {}", index + 1);
        let mut cells = line.split(',').map(str::trim);
        if has_labels {
            let label = cells.next().unwrap_or_default();
            labels.push(label.parse().map_err(|_| anyhow!("{}: label `{label}` is no class", at()))?);
        }
        let before = values.len();
        for cell in cells {
            values.push(cell.parse::<f32>().map_err(|_| anyhow!("{}: `{cell}` is no number", at()))?);
        }
        ensure!(values.len() - before == columns, "{}: {} numbers for {columns} classes", at(), values.len() - before);
        rows += 1;
    }
    Ok((vec![rows, columns as u64], values, has_labels.then_some(labels)))
}

fn read_labels(path: &Path) -> Result<Vec<i64>> {
    let labels = match extension(path).as_str() {
        "npy" => open(path).and_then(integers),
        "npz" => zip::ZipArchive::new(File::open(path).with_context(|| path.display().to_string())?)
            .context("no NPZ file")
            .and_then(|mut archive| integers(archive.by_name("labels.npy").context("no array `labels`")?)),
        _ => text_labels(path),
    };
    labels.with_context(|| path.display().to_string())
}

/// One number a line, or the last column of a CSV file with a header.
fn text_labels(path: &Path) -> Result<Vec<i64>> {
    let text = fs::read_to_string(path)?;
    let mut labels = Vec::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let cell = line.rsplit(',').next().unwrap_or_default().trim();
        match cell.parse() {
            Ok(label) => labels.push(label),
            Err(_) if index == 0 => {}
            Err(_) => bail!("line {}: `{cell}` is no class", index + 1),
        }
    }
    Ok(labels)
}
