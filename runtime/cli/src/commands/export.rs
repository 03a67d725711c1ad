//! `tinysaver export`: the base for Triton and KServe.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::export::{Batching, manifest, repository};
use crate::failure::Failure;
use crate::pair::Pair;

/// Arguments of `export`.
#[derive(clap::Args)]
#[command(group(clap::ArgGroup::new("what").args(["triton", "kserve"]).required(true).multiple(true)))]
pub struct ExportArgs {
    /// The pair: a pair.toml or the folder that holds one
    #[arg(long, value_name = "PATH", env = "TINYSAVER_PAIR", default_value = "models/imagenet-lite")]
    pair: PathBuf,
    /// The model, by its id [default: the pair's base]
    #[arg(long, value_name = "ID", env = "TINYSAVER_BASE")]
    base: Option<String>,
    /// Write a Triton model repository into this folder, which must be empty or new
    #[arg(long, value_name = "FOLDER")]
    triton: Option<PathBuf>,
    /// Write a KServe InferenceService for that repository into this file, which must be new
    #[arg(long, value_name = "FILE", requires = "storage_uri")]
    kserve: Option<PathBuf>,
    /// Where KServe finds the repository: s3://, gs://, pvc://, ...
    #[arg(long, value_name = "URI", requires = "kserve")]
    storage_uri: Option<String>,
    /// The most pictures that Triton puts into one inference
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=256))]
    max_batch: u32,
    /// How long Triton lets a picture wait for others
    #[arg(long, value_name = "MICROSECONDS", default_value_t = 2000)]
    max_delay_us: u32,
}

/// Writes what was asked for, and says what.
pub fn execute(args: &ExportArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let written = write_all(args).map_err(Failure::Config)?;
    for path in written {
        writeln!(out, "{}", path.display())?;
    }
    Ok(())
}

fn write_all(args: &ExportArgs) -> Result<Vec<PathBuf>> {
    let path = if args.pair.is_dir() { args.pair.join("pair.toml") } else { args.pair.clone() };
    let pair = Pair::read(&path)?;
    let entry = pair.base(args.base.as_deref())?;
    let mut written = Vec::new();
    if let Some(folder) = &args.triton {
        let is_used = fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some());
        if is_used {
            bail!("{}: not empty, and nothing is overwritten; name a new folder", folder.display());
        }
        let batching = Batching { max_batch: args.max_batch, max_delay_us: args.max_delay_us };
        for (name, content) in repository(&pair, entry, batching)? {
            written.push(write_new(&folder.join(name), &content)?);
        }
    }
    if let (Some(file), Some(storage_uri)) = (&args.kserve, &args.storage_uri) {
        written.push(write_new(file, manifest(&entry.id, storage_uri).as_bytes())?);
    }
    Ok(written)
}

fn write_new(path: &Path, content: &[u8]) -> Result<PathBuf> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("{}: cannot be made", folder.display()))?;
    }
    let file = fs::OpenOptions::new().write(true).create_new(true).open(path);
    file.and_then(|mut file| file.write_all(content))
        .with_context(|| format!("{}: cannot be written", path.display()))?;
    Ok(path.to_owned())
}
