//! The system calls of kernel mode setting (drm/drm_mode.h), each with its structures filled in and checked. They have the
//! same layout on 32 and 64 bits.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::ptr::null_mut;

/// Nothing real has more of anything; a driver that says so is not believed.
const MOST: u32 = 4096;

const SET_MASTER: u32 = (0x64 << 8) | 0x1e;

/// `_IOWR('d', NUMBER, T)`.
const fn both_ways<T>(number: u32) -> u32 {
    (3 << 30) | ((size_of::<T>() as u32) << 16) | (0x64 << 8) | number
}

#[repr(C)]
#[derive(Default)]
struct Capability {
    name: u64,
    value: u64,
}

#[repr(C)]
#[derive(Default)]
struct CardResources {
    fbs: u64,
    crtcs: u64,
    connectors: u64,
    encoders: u64,
    count_fbs: u32,
    count_crtcs: u32,
    count_connectors: u32,
    count_encoders: u32,
    limits: [u32; 4],
}

/// `struct drm_mode_modeinfo`: size, rate and timing of a picture.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Mode {
    pub clock_khz: u32,
    pub width: u16,
    pub horizontal: [u16; 4],
    pub height: u16,
    pub vertical: [u16; 4],
    pub hertz: u32,
    pub flags: u32,
    pub kind: u32,
    pub name: [u8; 32],
}

/// `struct drm_mode_crtc`: what a part of the hardware scans out, and how.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Crtc {
    connectors: u64,
    count_connectors: u32,
    id: u32,
    fb: u32,
    x: u32,
    y: u32,
    gamma_size: u32,
    mode_valid: u32,
    mode: Mode,
}

/// `struct drm_mode_get_encoder`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
struct RawEncoder {
    id: u32,
    kind: u32,
    crtc: u32,
    possible_crtcs: u32,
    possible_clones: u32,
}

#[repr(C)]
#[derive(Default)]
struct RawConnector {
    encoders: u64,
    modes: u64,
    properties: u64,
    values: u64,
    count_modes: u32,
    count_properties: u32,
    count_encoders: u32,
    encoder: u32,
    id: u32,
    kind: u32,
    number: u32,
    connection: u32,
    millimetres: [u32; 2],
    subpixel: u32,
    padding: u32,
}

#[repr(C)]
#[derive(Default)]
struct CreateDumb {
    height: u32,
    width: u32,
    bits: u32,
    flags: u32,
    handle: u32,
    pitch: u32,
    size: u64,
}

#[repr(C)]
#[derive(Default)]
struct MapDumb {
    handle: u32,
    padding: u32,
    offset: u64,
}

#[repr(C)]
#[derive(Default)]
struct AddFb {
    fb: u32,
    width: u32,
    height: u32,
    pitch: u32,
    bits: u32,
    depth: u32,
    handle: u32,
}

#[repr(C)]
#[derive(Default)]
struct DirtyFb {
    fb: u32,
    flags: u32,
    colour: u32,
    count_clips: u32,
    clips: u64,
}

/// A socket, and what is plugged in there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Connector {
    pub id: u32,
    /// `DRM_MODE_CONNECTOR_*`, and which of these.
    pub kind: u32,
    pub number: u32,
    pub is_connected: bool,
    pub modes: Vec<Mode>,
    /// The one that is in use, 0 for none, and all that can be.
    pub encoder: u32,
    pub encoders: Vec<Encoder>,
}

/// What stands between a CRTC and a connector.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Encoder {
    pub id: u32,
    /// The one in use, 0 for none.
    pub crtc: u32,
    /// A bit for each CRTC of the card, in their order.
    pub possible_crtcs: u32,
}

/// An open card.
pub(super) struct Card {
    file: File,
}

impl Card {
    pub(super) fn new(file: File) -> Self {
        Self { file }
    }

    /// One system call, again after a signal.
    ///
    /// # Safety
    /// `request` must be one whose argument is a `T`, and every address in it must be good for what the request does.
    unsafe fn call<T>(&self, request: u32, argument: &mut T) -> io::Result<()> {
        loop {
            // SAFETY: the descriptor is open as long as `self.file` lives; the rest is the caller's promise.
            if unsafe { libc::ioctl(self.file.as_raw_fd(), request as _, std::ptr::from_mut(argument)) } != -1 {
                return Ok(());
            }
            let error = io::Error::last_os_error();
            if !matches!(error.raw_os_error(), Some(libc::EINTR | libc::EAGAIN)) {
                return Err(error);
            }
        }
    }

    /// Whether buffers can be had that are plain memory.
    pub(super) fn has_dumb_buffers(&self) -> io::Result<bool> {
        let mut capability = Capability { name: 1, value: 0 };
        // SAFETY: the request takes this structure, which has no addresses.
        unsafe { self.call(both_ways::<Capability>(0x0c), &mut capability) }?;
        Ok(capability.value != 0)
    }

    /// Asks for the right to set modes; fails where another program has it.
    pub(super) fn become_master(&self) -> io::Result<()> {
        let mut nothing = 0u32;
        // SAFETY: the request takes no argument and does not look at it.
        unsafe { self.call(SET_MASTER, &mut nothing) }
    }

    /// CRTCs and connectors, by their numbers.
    pub(super) fn resources(&self) -> io::Result<(Vec<u32>, Vec<u32>)> {
        let mut counts = CardResources::default();
        // SAFETY: without room for lists the kernel writes only their lengths.
        unsafe { self.call(both_ways::<CardResources>(0xa0), &mut counts) }?;
        let mut crtcs = vec![0u32; counts.count_crtcs.min(MOST) as usize];
        let mut connectors = vec![0u32; counts.count_connectors.min(MOST) as usize];
        let mut lists = CardResources {
            crtcs: address(&mut crtcs),
            connectors: address(&mut connectors),
            count_crtcs: length(&crtcs),
            count_connectors: length(&connectors),
            ..CardResources::default()
        };
        // SAFETY: both lists live as long as the call and are as long as is said; the kernel writes no further.
        unsafe { self.call(both_ways::<CardResources>(0xa0), &mut lists) }?;
        crtcs.truncate(lists.count_crtcs as usize);
        connectors.truncate(lists.count_connectors as usize);
        Ok((crtcs, connectors))
    }

    /// A connector with its modes, which are asked for anew.
    pub(super) fn connector(&self, id: u32) -> io::Result<Connector> {
        let mut counts = RawConnector { id, ..RawConnector::default() };
        // SAFETY: without room for lists the kernel writes only their lengths.
        unsafe { self.call(both_ways::<RawConnector>(0xa7), &mut counts) }?;
        let mut modes = vec![Mode::default(); counts.count_modes.min(MOST) as usize];
        let mut encoders = vec![0u32; counts.count_encoders.min(MOST) as usize];
        let mut raw = RawConnector {
            id,
            modes: address(&mut modes),
            encoders: address(&mut encoders),
            count_modes: length(&modes),
            count_encoders: length(&encoders),
            ..RawConnector::default()
        };
        if !modes.is_empty() {
            // SAFETY: both lists live as long as the call and are as long as is said; the kernel writes no further.
            unsafe { self.call(both_ways::<RawConnector>(0xa7), &mut raw) }?;
        }
        modes.truncate(raw.count_modes as usize);
        encoders.truncate(raw.count_encoders as usize);
        Ok(Connector {
            id,
            kind: counts.kind,
            number: counts.number,
            is_connected: counts.connection == 1,
            modes,
            encoder: raw.encoder,
            encoders: encoders.into_iter().map(|id| self.encoder(id)).collect::<io::Result<_>>()?,
        })
    }

    fn encoder(&self, id: u32) -> io::Result<Encoder> {
        let mut raw = RawEncoder { id, ..RawEncoder::default() };
        // SAFETY: the request takes this structure, which has no addresses.
        unsafe { self.call(both_ways::<RawEncoder>(0xa6), &mut raw) }?;
        Ok(Encoder { id, crtc: raw.crtc, possible_crtcs: raw.possible_crtcs })
    }

    /// What a CRTC scans out now.
    pub(super) fn crtc(&self, id: u32) -> io::Result<Crtc> {
        let mut crtc = Crtc { id, ..Crtc::default() };
        // SAFETY: the request takes this structure and follows no address in it.
        unsafe { self.call(both_ways::<Crtc>(0xa1), &mut crtc) }?;
        Ok(crtc)
    }

    /// Has a CRTC show a buffer at a connector.
    pub(super) fn show(&self, crtc: u32, fb: u32, mode: Mode, connector: u32) -> io::Result<()> {
        self.set(Crtc { id: crtc, fb, mode, mode_valid: 1, ..Crtc::default() }, connector)
    }

    /// Has a CRTC show again what [`Self::crtc`] found.
    pub(super) fn restore(&self, found: Crtc, connector: u32) -> io::Result<()> {
        self.set(found, connector)
    }

    fn set(&self, mut crtc: Crtc, connector: u32) -> io::Result<()> {
        let mut connectors = [connector];
        // One that showed nothing shows nothing again, nowhere.
        let count = u32::from(crtc.mode_valid != 0 && crtc.fb != 0);
        (crtc.connectors, crtc.count_connectors, crtc.mode_valid) = (address(&mut connectors), count, count);
        // SAFETY: the list lives as long as the call, which reads at most its one element.
        unsafe { self.call(both_ways::<Crtc>(0xa2), &mut crtc) }
    }

    /// Makes a buffer of 32 bits a pixel, 8 unused ones above red, green and blue, and maps it.
    pub(super) fn create_buffer(&self, width: u32, height: u32) -> io::Result<Buffer> {
        let mut dumb = CreateDumb { width, height, bits: 32, ..CreateDumb::default() };
        // SAFETY: the request takes this structure, which has no addresses.
        unsafe { self.call(both_ways::<CreateDumb>(0xb2), &mut dumb) }?;
        let mut buffer =
            Buffer { handle: dumb.handle, fb: 0, pitch: dumb.pitch as usize, memory: null_mut(), bytes: 0 };
        let made = self.fill_in(&mut buffer, &dumb);
        made.map(|()| buffer).inspect_err(|_| self.destroy_handle(dumb.handle))
    }

    fn fill_in(&self, buffer: &mut Buffer, dumb: &CreateDumb) -> io::Result<()> {
        let bytes = usize::try_from(dumb.size).map_err(io::Error::other)?;
        if bytes < buffer.pitch.saturating_mul(dumb.height as usize) {
            return Err(io::Error::other("the driver's buffer is smaller than the picture"));
        }
        let mut map = MapDumb { handle: dumb.handle, ..MapDumb::default() };
        // SAFETY: the request takes this structure, which has no addresses.
        unsafe { self.call(both_ways::<MapDumb>(0xb3), &mut map) }?;
        let mut add = AddFb {
            width: dumb.width,
            height: dumb.height,
            pitch: dumb.pitch,
            bits: 32,
            depth: 24,
            handle: dumb.handle,
            ..AddFb::default()
        };
        // SAFETY: the request takes this structure, which has no addresses.
        unsafe { self.call(both_ways::<AddFb>(0xae), &mut add) }?;
        let offset = i64::try_from(map.offset).map_err(io::Error::other)?;
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping at a place that the kernel chooses. Offsets of cards lie beyond 32 bits: hence mmap64.
        let memory =
            unsafe { libc::mmap64(null_mut(), bytes, access, libc::MAP_SHARED, self.file.as_raw_fd(), offset) };
        if memory == libc::MAP_FAILED {
            let error = io::Error::last_os_error();
            self.remove_fb(add.fb);
            return Err(error);
        }
        (buffer.fb, buffer.memory, buffer.bytes) = (add.fb, memory, bytes);
        Ok(())
    }

    /// Tells a driver that sends its pixels on that there are new ones; others have no such call, and need none.
    pub(super) fn tell_of_change(&self, buffer: &Buffer) -> io::Result<()> {
        let mut dirty = DirtyFb { fb: buffer.fb, ..DirtyFb::default() };
        // SAFETY: the request takes this structure; with no clips it follows no address.
        match unsafe { self.call(both_ways::<DirtyFb>(0xb1), &mut dirty) } {
            Err(error) if error.raw_os_error() == Some(libc::ENOSYS) => Ok(()),
            told => told,
        }
    }

    /// Gives a buffer back.
    pub(super) fn destroy(&self, buffer: Buffer) {
        self.remove_fb(buffer.fb);
        self.destroy_handle(buffer.handle);
        drop(buffer);
    }

    fn remove_fb(&self, mut fb: u32) {
        // SAFETY: the request takes a number.
        if let Err(error) = unsafe { self.call(both_ways::<u32>(0xaf), &mut fb) } {
            log::debug!("RMFB: {error}");
        }
    }

    fn destroy_handle(&self, mut handle: u32) {
        // SAFETY: the request takes a number.
        if let Err(error) = unsafe { self.call(both_ways::<u32>(0xb4), &mut handle) } {
            log::debug!("DESTROY_DUMB: {error}");
        }
    }
}

fn address<T>(list: &mut [T]) -> u64 {
    list.as_mut_ptr().expose_provenance() as u64
}

fn length<T>(list: &[T]) -> u32 {
    u32::try_from(list.len()).unwrap_or(0)
}

/// Memory that a card scans out.
pub(super) struct Buffer {
    handle: u32,
    /// What CRTCs know it by.
    pub fb: u32,
    /// Bytes from the start of a row to the start of the next.
    pub pitch: usize,
    memory: *mut libc::c_void,
    bytes: usize,
}

// SAFETY: nobody else in this program has the mapping's address, and mappings belong to no thread.
unsafe impl Send for Buffer {}

impl Buffer {
    /// Its pixels: blue, green, red and nothing, row after row.
    pub(super) fn pixels(&mut self) -> &mut [u8] {
        // SAFETY: mapped for reading and writing, so many bytes long, until `self` is dropped; the card only reads them.
        unsafe { std::slice::from_raw_parts_mut(self.memory.cast(), self.bytes) }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if self.memory.is_null() {
            return;
        }
        // SAFETY: our own mapping of that length, which nobody borrows any more.
        if unsafe { libc::munmap(self.memory, self.bytes) } == -1 {
            log::debug!("munmap: {}", io::Error::last_os_error());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structures_have_the_kernels_sizes() {
        assert_eq!((size_of::<Capability>(), size_of::<CardResources>(), size_of::<Mode>()), (16, 64, 68));
        assert_eq!((size_of::<Crtc>(), size_of::<RawEncoder>(), size_of::<RawConnector>()), (104, 20, 80));
        assert_eq!((size_of::<CreateDumb>(), size_of::<MapDumb>()), (32, 16));
        assert_eq!((size_of::<AddFb>(), size_of::<DirtyFb>()), (28, 24));
        // DRM_IOCTL_MODE_GETRESOURCES and DRM_IOCTL_MODE_SETCRTC of drm.h.
        assert_eq!((both_ways::<CardResources>(0xa0), both_ways::<Crtc>(0xa2)), (0xc040_64a0, 0xc068_64a2));
    }

    #[test]
    fn what_is_no_card_says_so() {
        let card = Card::new(File::open("/dev/null").unwrap());
        assert_eq!(card.resources().unwrap_err().raw_os_error(), Some(libc::ENOTTY));
        assert!(card.create_buffer(4, 4).is_err() && card.become_master().is_err());
    }
}
