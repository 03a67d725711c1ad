//! `tinysaver version`.

use std::io::Write;

use serde_json::json;

use crate::failure::Failure;

/// Arguments of `version`.
#[derive(clap::Args)]
pub struct VersionArgs {
    /// As one JSON object
    #[arg(long)]
    json: bool,
}

/// Prints version, platform and log schema.
pub fn execute(args: &VersionArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let (version, schema) = (env!("CARGO_PKG_VERSION"), tinysaver_core::RECORD_SCHEMA);
    let (system, processor) = (std::env::consts::OS, std::env::consts::ARCH);
    if args.json {
        let object = json!({"version": version, "os": system, "arch": processor, "exit_log_schema": schema});
        writeln!(out, "{object}")?;
    } else {
        writeln!(out, "tinysaver {version} ({processor} {system}), exit log schema {schema}")?;
    }
    Ok(())
}
