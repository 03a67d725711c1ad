//! The mailbox's device: one ioctl.
#![allow(unsafe_code)]

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;

use super::pmic::Mailbox;

/// `_IOWR(100, 0, char *)`: its number holds the size of a pointer.
const fn request(pointer_bytes: usize) -> u32 {
    const READ_AND_WRITE: u32 = 3 << 30;
    const KIND: u32 = 100 << 8;
    READ_AND_WRITE | ((pointer_bytes as u32) << 16) | KIND
}

/// `/dev/vcio` or `/dev/vcio_gencmd`.
pub(super) struct DeviceMailbox(File);

impl DeviceMailbox {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        OpenOptions::new().read(true).write(true).open(path).map(Self)
    }
}

impl Mailbox for DeviceMailbox {
    fn exchange(&mut self, message: &mut [u32]) -> io::Result<()> {
        let request = request(size_of::<*mut u8>());
        // SAFETY: the kernel reads the message's size from its first word, which is that of the slice, and writes at most
        // as much back. The slice is ours and lives until the call returns.
        let result = unsafe { libc::ioctl(self.0.as_raw_fd(), request as _, message.as_mut_ptr()) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_is_that_of_the_kernels_header_on_both_sizes() {
        assert_eq!((request(8), request(4)), (0xC008_6400, 0xC004_6400));
    }

    #[test]
    fn a_file_that_is_no_mailbox_refuses_the_call() {
        let mut mailbox = DeviceMailbox(tempfile::tempfile().unwrap());
        let error = mailbox.exchange(&mut [8, 0]).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENOTTY));
    }
}
