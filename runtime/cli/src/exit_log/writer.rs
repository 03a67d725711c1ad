//! Appends records, rotates, keeps within the space allowed, and outlives a disk that fails.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tinysaver_core::Record;

use super::line_file::{LineError, LineFile, Sink};
use super::{MAX_LINE_BYTES, file_name, list};

/// While the disk fails, it is tried again this often: a failing SD card can block for long.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Names taken by other processes in the same folder that are skipped before giving up for now.
const NAME_TRIES: u64 = 100;

/// Where the log goes and how much of the disk it may take.
#[derive(Debug, Clone)]
pub struct LogOptions {
    /// The folder; created with its parents when it is not there.
    pub folder: PathBuf,
    /// Limit of all `exits-*.jsonl` files in the folder together, those of former runs included.
    pub max_bytes: u64,
    /// A file that would grow beyond this is closed and another begun. Half of `max_bytes` is used where that is less:
    /// with one file of the whole size, making room would delete all that there is.
    pub max_file_bytes: u64,
    /// A power cut loses at most the records of this long; zero syncs every record.
    pub sync_interval: Duration,
}

#[derive(Debug)]
struct Current {
    file: LineFile<File>,
    path: PathBuf,
    /// When the oldest record was written that is not yet synced.
    unsynced_since: Option<Duration>,
}

/// The disk does not take records for now.
#[derive(Debug, Clone, Copy)]
struct Failing {
    try_again_at: Duration,
    lost_before: u64,
}

/// Writes the exit log. An append that counts as written has left the process: it survives `kill -9`, and a power cut
/// once it is synced.
#[derive(Debug)]
pub struct LogWriter {
    options: LogOptions,
    current: Option<Current>,
    next_index: u64,
    /// Bytes of our other files when they were last listed.
    other_bytes: u64,
    failing: Option<Failing>,
    warned_too_long: bool,
    warned_sync: bool,
    written: u64,
    lost: u64,
}

impl LogWriter {
    /// Does not touch the disk; the first [`append`](Self::append) does.
    #[must_use]
    pub fn new(options: LogOptions) -> Self {
        Self {
            options,
            current: None,
            next_index: 0,
            other_bytes: 0,
            failing: None,
            warned_too_long: false,
            warned_sync: false,
            written: 0,
            lost: 0,
        }
    }

    /// Where the log is.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.options.folder
    }

    /// Records that are in the log.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Records that the disk did not take.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Appends one record; `now` is the time since the run began. Whatever fails is counted and said, not returned:
    /// answers go on without a log.
    pub fn append(&mut self, record: &Record, now: Duration) {
        if self.failing.is_some_and(|failing| now < failing.try_again_at) {
            self.lost += 1;
            return;
        }
        match encode(record) {
            Ok(line) if line.len() > self.max_line_bytes() => self.too_long(line.len()),
            Ok(line) => match self.append_or_fail(&line, now) {
                Ok(()) => self.succeeded(),
                Err(error) => self.failed(&error, now),
            },
            Err(error) => self.failed(&error, now),
        }
        self.sync_if_due(now);
    }

    /// Syncs when the oldest unsynced record is older than the interval. Call it now and then when no frames come;
    /// [`append`](Self::append) does it by itself.
    pub fn sync_if_due(&mut self, now: Duration) {
        let unsynced_since = self.current.as_ref().and_then(|current| current.unsynced_since);
        if unsynced_since.is_some_and(|since| now.saturating_sub(since) >= self.options.sync_interval) {
            self.sync();
        }
    }

    /// Syncs what there is; call it at the end of a run.
    pub fn finish(&mut self) {
        self.sync();
        if let Some(Failing { lost_before, .. }) = self.failing {
            log::warn!("exit log: {} records were lost up to the end", self.lost - lost_before);
        }
    }

    fn succeeded(&mut self) {
        self.written += 1;
        if let Some(Failing { lost_before, .. }) = self.failing.take() {
            log::warn!("exit log: writing again, {} records were lost", self.lost - lost_before);
        }
    }

    fn failed(&mut self, error: &io::Error, now: Duration) {
        let try_again_at = now.saturating_add(RETRY_INTERVAL);
        let lost_before = self.failing.map_or(self.lost, |failing| failing.lost_before);
        if self.failing.is_none() {
            let folder = self.options.folder.display();
            log::warn!("exit log: cannot write {folder}: {error}; answers go on, records are lost");
        }
        self.failing = Some(Failing { try_again_at, lost_before });
        self.lost += 1;
    }

    fn max_line_bytes(&self) -> usize {
        usize::try_from(self.options.max_bytes).unwrap_or(usize::MAX).min(MAX_LINE_BYTES + 1)
    }

    /// The disk is well: the records that follow must not wait for it.
    fn too_long(&mut self, bytes: usize) {
        self.lost += 1;
        if !std::mem::replace(&mut self.warned_too_long, true) {
            let limit = self.max_line_bytes();
            log::warn!("exit log: a record of {bytes} bytes is above the limit of {limit}; such records are lost");
        }
    }

    fn append_or_fail(&mut self, line: &[u8], now: Duration) -> io::Result<()> {
        match self.append_line(line, now) {
            Err(error) if is_full(&error) => {
                self.delete_oldest()?;
                self.append_line(line, now)
            }
            other => other,
        }
    }

    fn append_line(&mut self, line: &[u8], now: Duration) -> io::Result<()> {
        self.close_if_deleted();
        self.close_if_too_long(line.len() as u64);
        if self.current.is_none() {
            self.open()?;
        }
        self.make_room(line.len() as u64)?;
        let Some(current) = &mut self.current else { return Err(io::ErrorKind::NotFound.into()) };
        match current.file.append(line) {
            Ok(()) => {
                current.unsynced_since.get_or_insert(now);
                Ok(())
            }
            // Room may come back, and the file is good: another one each try would litter a full disk.
            Err(LineError::Clean(error)) if is_full(&error) => Err(error),
            Err(LineError::Clean(error) | LineError::Torn(error)) => {
                self.close_for_good();
                Err(error)
            }
        }
    }

    /// Somebody removed the file or its folder: what is written to it would be gone, without any error.
    fn close_if_deleted(&mut self) {
        let links = self.current.as_ref().map(|current| current.file.sink.metadata().map(|metadata| metadata.nlink()));
        if matches!(links, Some(Ok(0) | Err(_))) {
            self.current = None;
        }
    }

    fn close_if_too_long(&mut self, more_bytes: u64) {
        let limit = self.options.max_file_bytes.min(self.options.max_bytes / 2);
        let bytes = self.current.as_ref().map_or(0, |current| current.file.bytes);
        if bytes > 0 && bytes.saturating_add(more_bytes) > limit {
            self.sync();
            self.current = None;
        }
    }

    /// Closes a file that failed. One without a line is removed: its only content would be a torn one, or nothing. The
    /// lines of another are still owed to the disk.
    fn close_for_good(&mut self) {
        self.sync();
        if let Some(current) = self.current.take()
            && current.file.bytes == 0
            && let Err(error) = fs::remove_file(&current.path)
        {
            log::debug!("exit log: {} stays, empty: {error}", current.path.display());
        }
    }

    fn open(&mut self) -> io::Result<()> {
        let folder = &self.options.folder;
        fs::create_dir_all(folder)?;
        let others = list(folder)?;
        let after_last = others.last().map_or(0, |file| file.index.saturating_add(1));
        self.next_index = self.next_index.max(after_last);
        self.other_bytes = others.iter().map(|file| file.bytes).sum();
        for _ in 0..NAME_TRIES {
            let path = folder.join(file_name(self.next_index));
            self.next_index = self.next_index.saturating_add(1);
            match OpenOptions::new().append(true).create_new(true).open(&path) {
                Ok(file) => {
                    // The name must outlive a power cut too; a file system that cannot do that still takes records.
                    if let Err(error) = File::open(folder).and_then(|folder| folder.sync_all()) {
                        log::debug!("exit log: cannot sync {}: {error}", folder.display());
                    }
                    self.current = Some(Current { file: LineFile::new(file), path, unsynced_since: None });
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    /// Deletes old files until one more line keeps all of them within the limit.
    fn make_room(&mut self, more_bytes: u64) -> io::Result<()> {
        let Some(current) = &self.current else { return Ok(()) };
        let wanted = current.file.bytes.saturating_add(more_bytes);
        if self.other_bytes.saturating_add(wanted) <= self.options.max_bytes {
            return Ok(());
        }
        let mut others = list(&self.options.folder)?;
        others.retain(|file| file.path != current.path);
        self.other_bytes = others.iter().map(|file| file.bytes).sum();
        for file in others {
            if self.other_bytes.saturating_add(wanted) <= self.options.max_bytes {
                break;
            }
            delete(&file.path)?;
            self.other_bytes = self.other_bytes.saturating_sub(file.bytes);
        }
        Ok(())
    }

    /// The disk is full: the oldest of our other files makes place for the newest record.
    fn delete_oldest(&mut self) -> io::Result<()> {
        let current = self.current.as_ref().map(|current| &current.path);
        // An empty file frees nothing.
        let oldest = list(&self.options.folder)?.into_iter().find(|file| Some(&file.path) != current && file.bytes > 0);
        let Some(oldest) = oldest else { return Err(io::ErrorKind::StorageFull.into()) };
        delete(&oldest.path)?;
        self.other_bytes = self.other_bytes.saturating_sub(oldest.bytes);
        log::info!("exit log: disk full, deleted {}", oldest.path.display());
        Ok(())
    }

    fn sync(&mut self) {
        let Some(current) = &mut self.current else { return };
        if current.unsynced_since.take().is_none() {
            return;
        }
        match current.file.sink.sync() {
            Ok(()) => self.warned_sync = false,
            // What the kernel could not write it forgets: syncing this file again would say that all is well.
            Err(error) => {
                if !std::mem::replace(&mut self.warned_sync, true) {
                    log::warn!("exit log: cannot sync {}: {error}; going on in new files", current.path.display());
                }
                self.current = None;
            }
        }
    }
}

fn encode(record: &Record) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(record)?;
    line.push(b'\n');
    Ok(line)
}

fn delete(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

#[cfg(test)]
#[path = "writer_tests.rs"]
mod tests;
