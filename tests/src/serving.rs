//! A running `tinysaver serve`.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use crate::tinysaver;

/// Ends with its owner.
#[derive(Debug)]
pub struct Server {
    child: Child,
    /// Where it listens.
    pub address: String,
}

impl Server {
    /// Starts one on a free port of 127.0.0.1 and waits until it serves. With `log`, a line for each request goes there.
    ///
    /// # Errors
    /// The binary is not there, or it does not say where it listens.
    pub fn start(model: &str, arguments: &[&str], log: Option<File>) -> io::Result<Self> {
        let all = [&["serve", "--model", model, "--listen", "127.0.0.1:0"], arguments].concat();
        let mut command = tinysaver(&all);
        if let Some(log) = log {
            command.env("RUST_LOG", "warn,tinysaver::requests=info").stderr(log);
        }
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        if let Some(out) = child.stdout.as_mut() {
            BufReader::new(out).read_line(&mut line)?;
        }
        let address = line.split("://").nth(1).and_then(|rest| rest.split(' ').next()).map(str::to_owned);
        match address {
            Some(address) => Ok(Self { child, address }),
            None => Err(io::Error::other(format!("no address in {line:?}"))),
        }
    }

    /// Its process.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// A line of the kernel's account of it in bytes: `VmRSS` is its memory now, `VmHWM` the most that it had.
    ///
    /// # Errors
    /// It is gone.
    pub fn memory_bytes(&self, name: &str) -> io::Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let kibibytes = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
        kibibytes.map(|kibibytes| kibibytes * 1024).ok_or_else(|| io::Error::other(format!("no {name} in {status}")))
    }

    /// Sends a signal by its name: TERM, HUP.
    ///
    /// # Errors
    /// It is gone.
    pub fn signal(&self, name: &str) -> io::Result<()> {
        let done = Command::new("kill").args([format!("-{name}"), self.id().to_string()]).status()?;
        if done.success() { Ok(()) } else { Err(io::Error::other(format!("kill -{name}: {done}"))) }
    }

    /// Waits for its end; gives its exit code, -1 after a signal.
    ///
    /// # Errors
    /// The system's.
    pub fn wait(mut self) -> io::Result<i32> {
        Ok(self.child.wait()?.code().unwrap_or(-1))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
