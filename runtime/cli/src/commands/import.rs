//! `tinysaver import`: logits that other programs wrote, as records.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;

use crate::failure::Failure;
use crate::lab::import::{Import, import};
use crate::lab::parquet_file;

/// What to import.
#[derive(Debug, Clone, clap::Args)]
pub struct ImportArgs {
    /// A model and the file of its logits, samples x classes: .npy, .npz (array `logits`, and `labels` if there) or .csv
    #[arg(long = "model", required = true, value_name = "ID=FILE", value_parser = parse_pair::<PathBuf>)]
    models: Vec<(String, PathBuf)>,
    /// Right classes, from 0: .npy, .npz (array `labels`), or text with one a line
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
    /// The numbers are probabilities; each row must add up to 1
    #[arg(long)]
    probabilities: bool,
    /// Multiply-accumulates of a model
    #[arg(long, value_name = "ID=N", value_parser = parse_pair::<u64>)]
    macs: Vec<(String, u64)>,
    /// SHA-256 of a model's file, so that `run` accepts a policy for it
    #[arg(long, value_name = "ID=SHA256", value_parser = parse_hash)]
    model_hash: Vec<(String, String)>,
    /// Milliseconds of an inference on the board that is meant
    #[arg(long, value_name = "ID=MS", value_parser = parse_pair::<f64>)]
    latency_ms: Vec<(String, f64)>,
    /// Joules of an inference on the board that is meant
    #[arg(long, value_name = "ID=J", value_parser = parse_pair::<f64>)]
    energy_joules: Vec<(String, f64)>,
    /// Keep all logits, so that a temperature can be fitted later
    #[arg(long)]
    logits: bool,
    /// The records to write
    #[arg(long, value_name = "FILE.parquet")]
    out: PathBuf,
}

/// `ID=VALUE`.
///
/// # Errors
/// It is not of this form.
pub fn parse_pair<T: std::str::FromStr>(text: &str) -> Result<(String, T), String> {
    let (id, value) = text.split_once('=').ok_or("ID=VALUE is wanted")?;
    Ok((id.to_owned(), value.parse().map_err(|_| format!("`{value}` is not what is wanted after ID="))?))
}

fn parse_hash(text: &str) -> Result<(String, String), String> {
    let (id, hash) = parse_pair::<String>(text)?;
    if hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        Ok((id, hash.to_lowercase()))
    } else {
        Err("64 hexadecimal digits are wanted after ID=".to_owned())
    }
}

/// Reads, checks and writes.
pub fn execute(args: &ImportArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let records = import(&Import {
        models: args.models.clone(),
        labels: args.labels.clone(),
        probabilities: args.probabilities,
        macs: BTreeMap::from_iter(args.macs.iter().cloned()),
        hashes: BTreeMap::from_iter(args.model_hash.iter().cloned()),
        latency_ms: BTreeMap::from_iter(args.latency_ms.iter().cloned()),
        energy_joules: BTreeMap::from_iter(args.energy_joules.iter().cloned()),
        keep_logits: args.logits,
    })
    .map_err(Failure::config)?;
    parquet_file::write(&args.out, &records)?;
    let labelled = if records.is_labelled() { "with labels" } else { "without labels" };
    let (samples, models) = (records.samples.len(), records.models.len());
    writeln!(out, "{}: {models} models, {samples} samples {labelled}", args.out.display())?;
    Ok(())
}
