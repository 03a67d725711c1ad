//! One file that holds whole lines, whatever the disk does.

use std::fs::File;
use std::io::{self, Write};

/// What a [`LineFile`] needs of a file; a seam for tests of a disk that fails.
pub(super) trait Sink: Write {
    fn truncate(&mut self, bytes: u64) -> io::Result<()>;
    fn sync(&mut self) -> io::Result<()>;
}

impl Sink for File {
    fn truncate(&mut self, bytes: u64) -> io::Result<()> {
        self.set_len(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}

/// Why a line was not written, and what that left behind.
#[derive(Debug, thiserror::Error)]
pub(super) enum LineError {
    /// The file holds whole lines only and can be appended to.
    #[error("{0}")]
    Clean(#[source] io::Error),
    /// The file ends in a part of the line; nothing may follow.
    #[error("{0}")]
    Torn(#[source] io::Error),
}

/// A file of whole lines. The sink must write at its end (`O_APPEND`), so that it needs no seek after a truncation.
#[derive(Debug)]
pub(super) struct LineFile<S> {
    pub(super) sink: S,
    pub(super) bytes: u64,
}

impl<S: Sink> LineFile<S> {
    pub(super) fn new(sink: S) -> Self {
        Self { sink, bytes: 0 }
    }

    /// Writes a line with its newline in one system call, or none of it.
    pub(super) fn append(&mut self, line: &[u8]) -> Result<(), LineError> {
        let wanted = line.len();
        let done = loop {
            match self.sink.write(line) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other.map_err(LineError::Clean)?,
            }
        };
        if done == wanted {
            self.bytes += wanted as u64;
            return Ok(());
        }
        // A disk fills up in the middle of a line: the system says how much went in, and "full" only to the next call.
        let full = io::Error::from(io::ErrorKind::StorageFull);
        match self.sink.truncate(self.bytes) {
            Ok(()) => Err(LineError::Clean(full)),
            Err(_) => Err(LineError::Torn(full)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A disk of so many bytes.
    struct Disk {
        content: Vec<u8>,
        capacity: usize,
        truncates: bool,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let room = self.capacity - self.content.len();
            if room == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            let part = &bytes[..bytes.len().min(room)];
            self.content.extend_from_slice(part);
            Ok(part.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Sink for Disk {
        fn truncate(&mut self, bytes: u64) -> io::Result<()> {
            if !self.truncates {
                return Err(io::ErrorKind::PermissionDenied.into());
            }
            self.content.truncate(usize::try_from(bytes).unwrap());
            Ok(())
        }

        fn sync(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn disk(capacity: usize, truncates: bool) -> LineFile<Disk> {
        LineFile::new(Disk { content: Vec::new(), capacity, truncates })
    }

    #[test]
    fn half_a_line_is_taken_back_and_the_file_goes_on() {
        let mut file = disk(8, true);
        file.append(b"abcd\n").unwrap();
        assert!(
            matches!(file.append(b"efgh\n"), Err(LineError::Clean(error)) if error.kind() == io::ErrorKind::StorageFull)
        );
        assert_eq!(file.sink.content, b"abcd\n");
        file.append(b"ij\n").unwrap();
        assert_eq!((file.sink.content.as_slice(), file.bytes), (&b"abcd\nij\n"[..], 8));
        assert!(matches!(file.append(b"k\n"), Err(LineError::Clean(_))));
    }

    #[test]
    fn a_torn_line_that_stays_is_said() {
        let mut file = disk(8, false);
        file.append(b"abcd\n").unwrap();
        assert!(matches!(file.append(b"efgh\n"), Err(LineError::Torn(_))));
    }
}
