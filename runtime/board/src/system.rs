//! System calls that are needed here and there, beside the cameras' own in `v4l2/sys.rs`.
//!
//! They are made here, and not by the crate `rustix`, because the features that they need there would make cargo compile
//! tract, which uses that crate through others, once more.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

/// What can be done with a descriptor.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Ready {
    /// Data, an error or an end: reading tells which.
    pub data: bool,
    /// Something out of the ordinary, such as a driver's event.
    pub urgent: bool,
}

/// Waits until there is something to read. A signal ends the wait early.
pub(crate) fn poll(fd: BorrowedFd, timeout: Duration) -> io::Result<Ready> {
    let mut entry = libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN | libc::POLLPRI, revents: 0 };
    let milliseconds = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: one entry is announced and given, and lives as long as the call.
    if unsafe { libc::poll(&raw mut entry, 1, milliseconds) } == -1 {
        let error = io::Error::last_os_error();
        return if error.kind() == io::ErrorKind::Interrupted { Ok(Ready::default()) } else { Err(error) };
    }
    let data = libc::POLLIN | libc::POLLERR | libc::POLLHUP | libc::POLLNVAL;
    Ok(Ready { data: entry.revents & data != 0, urgent: entry.revents & libc::POLLPRI != 0 })
}

/// How many bytes a program without privileges may still write to the file system of `path`.
///
/// # Errors
/// The path is not there.
pub fn free_bytes(path: &Path) -> io::Result<u64> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: C structures of integers may be all zeros.
    let mut room: libc::statvfs = unsafe { std::mem::zeroed() };
    // SAFETY: the path ends with a zero, and both live as long as the call, which writes one statvfs.
    if unsafe { libc::statvfs(path.as_ptr(), &raw mut room) } == -1 {
        return Err(io::Error::last_os_error());
    }
    #[allow(clippy::unnecessary_cast, reason = "32 bits wide on 32-bit boards")]
    Ok((room.f_bavail as u64).saturating_mul(room.f_frsize as u64))
}

/// `CLOCK_MONOTONIC`.
pub(crate) fn monotonic_now() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the structure is ours and is written as a whole. The clock exists on every Linux, so that the call cannot
    // fail; if it did, the time would stand at 0.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn a_pipe_is_ready_when_it_holds_something_or_has_ended() {
        let (reader, mut writer) = io::pipe().unwrap();
        assert_eq!(poll(reader.as_fd(), Duration::ZERO).unwrap(), Ready::default());
        writer.write_all(b"x").unwrap();
        assert_eq!(poll(reader.as_fd(), Duration::from_secs(60)).unwrap(), Ready { data: true, urgent: false });
        drop(writer);
        assert!(poll(reader.as_fd(), Duration::from_secs(60)).unwrap().data);
    }

    #[test]
    fn time_goes_on() {
        let first = monotonic_now();
        assert!(first > Duration::ZERO && monotonic_now() >= first);
    }
}
