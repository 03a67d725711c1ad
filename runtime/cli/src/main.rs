//! The binary `tinysaver`: arguments in, exit code out. The only place that prints.

mod cascade;
mod commands;
mod config;
mod doctor;
mod energy;
mod exit_log;
mod export;
mod face;
mod failure;
mod feed;
mod frames;
mod interrupt;
#[cfg(feature = "lab")]
mod lab;
mod offload;
mod pair;
mod policy;
mod recorder;
mod report_page;
mod reuse;
mod serving;
mod sinks;
mod spending;
mod summary_text;
mod table;
mod threads;
mod truth;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

use crate::commands::Command;

/// The first-exit runtime for edge cameras: a tiny model answers what it is sure of, a large one the rest.
#[derive(Parser)]
#[command(name = "tinysaver", version, max_term_width = 100, propagate_version = false)]
struct Arguments {
    /// Say more: -v for what happens, -vv for each frame's details (or set RUST_LOG)
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    verbose: u8,
    #[command(subcommand)]
    command: Command,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    start_logging(arguments.verbose);
    let mut out = std::io::stdout().lock();
    let result = arguments.command.execute(&mut out).and_then(|()| Ok(out.flush()?));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) if failure.is_closed_pipe() => ExitCode::SUCCESS,
        Err(failure) => {
            // Standard error is where the message belongs; if that is closed, too, the exit code remains.
            let _ = writeln!(std::io::stderr(), "tinysaver: {failure}");
            failure.exit_code()
        }
    }
}

/// Warnings always, more on request. tract's own remarks are for tract's developers.
fn start_logging(verbose: u8) {
    let level = ["warn", "info", "debug"].get(usize::from(verbose)).unwrap_or(&"trace");
    let filter = format!("{level},tract_core=error,tract_onnx=error,tract_hir=error,tract_linalg=error");
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or(filter)).init();
}
