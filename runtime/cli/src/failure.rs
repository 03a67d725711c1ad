//! Why the program ends without success, and with which exit code.

use std::fmt;
use std::process::ExitCode;

/// An error and whose fault it is.
#[derive(Debug)]
pub enum Failure {
    /// Arguments, configuration, models or source cannot be used as given: exit code 2.
    Config(anyhow::Error),
    /// It ran and failed: exit code 1.
    Run(anyhow::Error),
}

impl Failure {
    /// Marks an error as one of usage or configuration.
    pub fn config(error: impl Into<anyhow::Error>) -> Self {
        Self::Config(error.into())
    }

    fn error(&self) -> &anyhow::Error {
        match self {
            Self::Config(error) | Self::Run(error) => error,
        }
    }

    /// 2 for usage and configuration, 1 for the rest.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Config(_) => ExitCode::from(2),
            Self::Run(_) => ExitCode::FAILURE,
        }
    }

    /// Whether whoever read our output has stopped reading, as `head` does: no failure.
    pub fn is_closed_pipe(&self) -> bool {
        self.error().chain().any(|cause| {
            cause.downcast_ref::<std::io::Error>().is_some_and(|io| io.kind() == std::io::ErrorKind::BrokenPipe)
        })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#}", self.error())
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Run(error.into())
    }
}
