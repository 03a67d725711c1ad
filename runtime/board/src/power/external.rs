//! Meters outside: a file that something else keeps writing, or a program that prints a line of watts at a time.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use super::sensor::PowerError;

/// A value older than this is no longer the meter's.
const OLDEST_FILE: Duration = Duration::from_secs(10);
const OLDEST_LINE: Duration = Duration::from_secs(3);
const LONGEST_LINE: u64 = 4096;

/// The first number of a file's last line.
pub(super) struct FileMeter {
    pub(super) path: PathBuf,
}

impl FileMeter {
    pub(super) fn read(&self) -> Result<f64, PowerError> {
        let problem = |what: String| PowerError::Meter(format!("{}: {what}", self.path.display()));
        let modified = fs::metadata(&self.path).and_then(|data| data.modified()).map_err(|e| problem(e.to_string()))?;
        let age = SystemTime::now().duration_since(modified).unwrap_or_default();
        if age > OLDEST_FILE {
            return Err(problem(format!("not written for {} s", age.as_secs())));
        }
        let text = fs::read_to_string(&self.path).map_err(|error| problem(error.to_string()))?;
        let line = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
        watts(line).ok_or_else(|| problem(format!("'{}' does not begin with watts", shortened(line))))
    }
}

fn watts(line: &str) -> Option<f64> {
    let word = line.split([',', ';', ' ', '\t']).find(|word| !word.is_empty())?;
    word.parse().ok().filter(|watts: &f64| watts.is_finite())
}

fn shortened(line: &str) -> String {
    line.chars().take(40).collect()
}

type Newest = Arc<Mutex<Option<(Instant, Result<f64, String>)>>>;

/// A program that runs as long as this does.
pub(super) struct CommandMeter {
    command: String,
    child: Child,
    newest: Newest,
    reader: JoinHandle<()>,
}

impl CommandMeter {
    /// Starts it in a shell.
    pub(super) fn start(command: &str) -> std::io::Result<Self> {
        let mut shell = Command::new("/bin/sh");
        let mut child =
            shell.args(["-c", &format!("exec {command}")]).stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let newest = Newest::default();
        let of_thread = Arc::clone(&newest);
        let out = child.stdout.take();
        let reader = std::thread::Builder::new().name("meter".into()).spawn(move || {
            out.into_iter().for_each(|out| follow(BufReader::new(out), &of_thread));
        })?;
        Ok(Self { command: command.to_owned(), child, newest, reader })
    }

    pub(super) fn read(&mut self) -> Result<Option<f64>, PowerError> {
        let problem = |what: String| PowerError::Meter(format!("`{}`: {what}", self.command));
        // Asked first: what the thread has read by its end is known afterwards.
        let is_over = self.reader.is_finished();
        let newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match newest {
            Some((at, Ok(watts))) if at.elapsed() < OLDEST_LINE => Ok(Some(watts)),
            Some((_, Err(line))) => Err(problem(format!("'{line}' does not begin with watts"))),
            Some(_) => Err(problem("printed nothing for a while".to_owned())),
            None if is_over => match self.child.try_wait() {
                Ok(Some(status)) => Err(problem(format!("ended with {status}"))),
                _ => Ok(None),
            },
            None => Ok(None),
        }
    }
}

/// Keeps the newest line until the program ends; of a line without an end, pieces.
fn follow(mut out: impl BufRead, newest: &Newest) {
    let mut line = Vec::new();
    while matches!(out.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line), Ok(read) if read > 0) {
        let text = String::from_utf8_lossy(&line);
        let value = watts(text.trim()).ok_or_else(|| shortened(text.trim()));
        *newest.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), value));
        line.clear();
    }
}

impl Drop for CommandMeter {
    fn drop(&mut self) {
        // It may have ended by itself, and then there is nothing to end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_tells_by_its_last_line_and_not_for_ever() {
        let folder = tempfile::tempdir().unwrap();
        let meter = FileMeter { path: folder.path().join("meter.csv") };
        assert!(meter.read().unwrap_err().to_string().contains("meter.csv"));
        fs::write(&meter.path, "watts,volts\n4.25,5.1\n4.5,5.1\n\n").unwrap();
        assert_eq!(meter.read().unwrap(), 4.5);
        fs::write(&meter.path, "nan\n").unwrap();
        assert!(meter.read().unwrap_err().to_string().contains("does not begin with watts"));
        fs::write(&meter.path, "4.5\n").unwrap();
        let old = SystemTime::now() - Duration::from_secs(60);
        fs::File::options().write(true).open(&meter.path).unwrap().set_modified(old).unwrap();
        assert!(meter.read().unwrap_err().to_string().contains("not written for 6"));
    }

    /// Reads until the meter says something; the test's own limit ends it.
    fn first(meter: &mut CommandMeter) -> Result<f64, String> {
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(60) {
            match meter.read() {
                Ok(Some(watts)) => return Ok(watts),
                Ok(None) => std::thread::yield_now(),
                Err(error) => return Err(error.to_string()),
            }
        }
        panic!("the meter stayed silent")
    }

    #[test]
    fn a_program_tells_by_its_newest_line() {
        // The lines come before anybody waits, and the program stays.
        let mut meter = CommandMeter::start("sh -c 'echo 3.5 W; exec tail -f /dev/null'").unwrap();
        assert_eq!(first(&mut meter), Ok(3.5));
        let mut wrong = CommandMeter::start("echo hello").unwrap();
        let error = first(&mut wrong).unwrap_err();
        assert!(error.contains("echo hello") && error.contains("does not begin"), "{error}");
        let mut missing = CommandMeter::start("/no/such/program").unwrap();
        let error = first(&mut missing).unwrap_err();
        assert!(error.contains("ended with"), "{error}");
    }
}
