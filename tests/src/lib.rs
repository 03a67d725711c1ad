//! What the end-to-end tests share: the built binary and the built pair. Both come from `make models`; a test that
//! lacks them fails and says so.

pub mod boards;
pub mod fault_proxy;
pub mod figures;
pub mod serving;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The top of the checkout.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(PathBuf::from).unwrap_or_default()
}

/// The binary that `cargo build` of the same profile made: beside this program, or above the folder of tests.
#[must_use]
pub fn binary() -> PathBuf {
    let test = std::env::current_exe().unwrap_or_default();
    let folder = test.ancestors().skip(1).find(|folder| !folder.ends_with("deps"));
    folder.map(|folder| folder.join("tinysaver")).unwrap_or_default()
}

/// `tinysaver` with arguments, in the top folder, free of the caller's settings.
#[must_use]
pub fn tinysaver(arguments: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command.args(arguments).current_dir(root());
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("TINYSAVER_") || name == "RUST_LOG") {
        command.env_remove(name);
    }
    command
}

/// A finished program in words that a failing test can show.
#[derive(Debug)]
pub struct Finished {
    /// Exit code; -1 after a signal.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl From<Output> for Finished {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// Runs to the end.
///
/// # Errors
/// The binary is not there: run `make build`.
pub fn finish(arguments: &[&str]) -> std::io::Result<Finished> {
    Ok(tinysaver(arguments).output()?.into())
}
