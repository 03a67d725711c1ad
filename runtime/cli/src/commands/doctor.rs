//! `tinysaver doctor`: what is wrong with this board, and what to type.

use std::io::Write;
use std::path::PathBuf;

use anyhow::anyhow;
use serde_json::json;

use crate::config::{RunSettingsArgs, Settings, SettingsArgs};
use crate::doctor::{World, examine};
use crate::failure::Failure;

/// Arguments of `doctor`.
#[derive(clap::Args)]
pub struct DoctorArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    #[command(flatten)]
    run: RunSettingsArgs,
    /// As one JSON object
    #[arg(long)]
    json: bool,
    /// Look at a recorded tree instead of this machine
    #[arg(long, value_name = "FOLDER", hide = true, default_value = "/")]
    root: PathBuf,
}

/// Looks, and says what it found.
pub fn execute(args: &DoctorArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let settings = Settings::gather(&args.settings, &args.run).map_err(Failure::config)?;
    let checks = examine(&World::look(&args.root), &settings);
    let findings = checks.iter().filter(|check| check.finding.is_some()).count();
    if args.json {
        writeln!(out, "{}", json!({ "checks": checks, "findings": findings }))?;
    } else {
        for check in &checks {
            let mark = if check.finding.is_some() { "WRONG" } else { "ok" };
            writeln!(out, "{mark:5}  {:8} {}", check.name, check.what)?;
            if let Some(finding) = &check.finding {
                writeln!(out, "                why:  {}", finding.why)?;
                writeln!(out, "                type: {}", finding.command)?;
            }
        }
    }
    match findings {
        0 => Ok(()),
        1 => Err(Failure::Run(anyhow!("1 finding"))),
        _ => Err(Failure::Run(anyhow!("{findings} findings"))),
    }
}
