//! The system calls behind a camera, each with its structures filled in and checked. The only `unsafe` of this crate
//! that talks to the kernel.

use std::io;
use std::os::fd::{BorrowedFd, RawFd};
use std::path::Path;
use std::ptr::{null_mut, slice_from_raw_parts};
use std::time::Duration;

use v4l::v4l_sys::{
    V4L2_CAP_DEVICE_CAPS, V4L2_EVENT_SOURCE_CHANGE, timeval, v4l2_buf_type_V4L2_BUF_TYPE_VIDEO_CAPTURE,
    v4l2_buf_type_V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE, v4l2_buffer, v4l2_capability, v4l2_event,
    v4l2_event_subscription, v4l2_fmtdesc, v4l2_format, v4l2_memory_V4L2_MEMORY_MMAP, v4l2_plane, v4l2_requestbuffers,
};
use v4l::v4l2::vidioc;

use crate::system::{Ready, poll};

/// Planes of a buffer; the kernel allows eight, no format that we serve has more than three.
pub(super) const MAX_PLANES: usize = 3;

/// `_IOR('V', 89, struct v4l2_event)`, which the crate `v4l` leaves out.
const VIDIOC_DQEVENT: u32 = (2 << 30) | ((size_of::<v4l2_event>() as u32) << 16) | (0x56 << 8) | 89;
/// `_IOW('V', 90, struct v4l2_event_subscription)`.
const VIDIOC_SUBSCRIBE_EVENT: u32 =
    (1 << 30) | ((size_of::<v4l2_event_subscription>() as u32) << 16) | (0x56 << 8) | 90;

/// An open device node.
pub(super) struct Node {
    device: v4l::Device,
}

/// What a node says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Capability {
    pub driver: String,
    pub card: String,
    pub bus: String,
    /// `V4L2_CAP_*` of this node, not of its whole device.
    pub flags: u32,
}

/// Format, size and layout, as set by the driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    pub fourcc: [u8; 4],
    pub width: u32,
    pub height: u32,
    pub colorspace: u32,
    pub ycbcr_enc: u32,
    pub quantization: u32,
    /// Buffers of a frame; 1 in the single-planar interface.
    pub planes: usize,
    /// Bytes of a row of each plane.
    pub strides: [u32; MAX_PLANES],
}

/// Which of the two interfaces a node has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Interface {
    /// One buffer holds all planes.
    Single,
    /// A buffer for each plane.
    Multi,
}

impl Interface {
    fn buffer_type(self) -> u32 {
        match self {
            Self::Single => v4l2_buf_type_V4L2_BUF_TYPE_VIDEO_CAPTURE,
            Self::Multi => v4l2_buf_type_V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE,
        }
    }
}

/// Part of a mapped buffer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct PlaneUse {
    /// First byte of the picture.
    pub start: usize,
    /// Bytes of the picture.
    pub bytes: usize,
}

/// A buffer that came back from the driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Filled {
    pub index: u32,
    pub sequence: u32,
    pub flags: u32,
    pub timestamp: Duration,
    pub planes: [PlaneUse; MAX_PLANES],
}

/// The kernel's zero-terminated text; drivers do not always write UTF-8.
pub(super) fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(bytes.get(..end).unwrap_or_default()).trim().to_owned()
}

impl Node {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { device: v4l::Device::with_path(path)? })
    }

    /// For the listings of the crate `v4l`.
    pub(super) fn device(&self) -> &v4l::Device {
        &self.device
    }

    fn fd(&self) -> RawFd {
        self.device.handle().fd()
    }

    /// One system call, again after a signal.
    ///
    /// # Safety
    /// `request` must be one whose argument is a `T`, and every pointer in it must be good for what the request does.
    unsafe fn call<T>(&self, request: vidioc::_IOC_TYPE, argument: &mut T) -> io::Result<()> {
        loop {
            // SAFETY: the descriptor is open as long as `self.device` lives; the rest is the caller's promise. libc's
            // function is used, not the bare system call, so that libcamera's compatibility layer can step in.
            let result = unsafe { libc::ioctl(self.fd(), request, std::ptr::from_mut(argument)) };
            if result != -1 {
                return Ok(());
            }
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
    }

    pub(super) fn capability(&self) -> io::Result<Capability> {
        let mut raw = zeroed::<v4l2_capability>();
        // SAFETY: the request's argument is a v4l2_capability, without pointers.
        unsafe { self.call(vidioc::VIDIOC_QUERYCAP, &mut raw)? };
        let flags = if raw.capabilities & V4L2_CAP_DEVICE_CAPS == 0 { raw.capabilities } else { raw.device_caps };
        Ok(Capability { driver: text(&raw.driver), card: text(&raw.card), bus: text(&raw.bus_info), flags })
    }

    /// Code and name of format `index`; `None` behind the last one.
    pub(super) fn format(&self, interface: Interface, index: u32) -> Option<([u8; 4], String)> {
        let mut raw = v4l2_fmtdesc { index, type_: interface.buffer_type(), ..zeroed() };
        // SAFETY: the request's argument is a v4l2_fmtdesc, without pointers.
        unsafe { self.call(vidioc::VIDIOC_ENUM_FMT, &mut raw) }.ok()?;
        Some((raw.pixelformat.to_le_bytes(), text(&raw.description)))
    }

    /// Asks for a format; the driver answers with what it makes of that.
    pub(super) fn set_format(&self, interface: Interface, fourcc: [u8; 4], size: (u32, u32)) -> io::Result<Layout> {
        let mut raw = v4l2_format { type_: interface.buffer_type(), ..zeroed() };
        let fourcc = u32::from_le_bytes(fourcc);
        // Strides and sizes stay 0: a driver may honour what is left there from another format.
        match interface {
            Interface::Single => {
                raw.fmt.pix = zeroed();
                // SAFETY: `pix` was written as a whole in the line before.
                let pix = unsafe { &mut raw.fmt.pix };
                (pix.width, pix.height, pix.pixelformat) = (size.0, size.1, fourcc);
            }
            Interface::Multi => {
                raw.fmt.pix_mp = zeroed();
                // SAFETY: `pix_mp` was written as a whole in the line before.
                let pix = unsafe { &mut raw.fmt.pix_mp };
                (pix.width, pix.height, pix.pixelformat) = (size.0, size.1, fourcc);
            }
        }
        // SAFETY: the request's argument is a v4l2_format; the only pointer in it belongs to overlays.
        unsafe { self.call(vidioc::VIDIOC_S_FMT, &mut raw)? };
        Ok(layout(interface, &raw))
    }

    /// Asks for buffers that can be mapped; 0 gives all back. The driver says how many there are.
    pub(super) fn request_buffers(&self, interface: Interface, count: u32) -> io::Result<u32> {
        let mut raw = v4l2_requestbuffers {
            count,
            type_: interface.buffer_type(),
            memory: v4l2_memory_V4L2_MEMORY_MMAP,
            ..zeroed()
        };
        // SAFETY: the request's argument is a v4l2_requestbuffers, without pointers.
        unsafe { self.call(vidioc::VIDIOC_REQBUFS, &mut raw)? };
        Ok(raw.count)
    }

    /// Offset and length of each plane of buffer `index`.
    pub(super) fn query_buffer(&self, interface: Interface, index: u32) -> io::Result<Vec<(u32, u32)>> {
        let mut exchange = Exchange::new(interface, index);
        exchange.call(self, vidioc::VIDIOC_QUERYBUF)?;
        Ok(exchange.places())
    }

    /// Gives a buffer to the driver.
    pub(super) fn queue(&self, interface: Interface, index: u32) -> io::Result<()> {
        Exchange::new(interface, index).call(self, vidioc::VIDIOC_QBUF)
    }

    /// Takes the oldest filled buffer from the driver; `None` if there is none.
    pub(super) fn dequeue(&self, interface: Interface) -> io::Result<Option<Filled>> {
        let mut exchange = Exchange::new(interface, 0);
        match exchange.call(self, vidioc::VIDIOC_DQBUF) {
            Ok(()) => Ok(Some(exchange.filled())),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) fn stream(&self, interface: Interface, on: bool) -> io::Result<()> {
        let request = if on { vidioc::VIDIOC_STREAMON } else { vidioc::VIDIOC_STREAMOFF };
        let mut buffer_type = interface.buffer_type();
        // SAFETY: the requests' argument is an int.
        unsafe { self.call(request, &mut buffer_type) }
    }

    /// Asks to be told when the incoming picture changes its size. Few drivers can.
    pub(super) fn watch_source(&self) -> io::Result<()> {
        let mut raw = v4l2_event_subscription { type_: V4L2_EVENT_SOURCE_CHANGE, ..zeroed() };
        // SAFETY: the request's argument is a v4l2_event_subscription, without pointers.
        unsafe { self.call(VIDIOC_SUBSCRIBE_EVENT as vidioc::_IOC_TYPE, &mut raw) }
    }

    /// Takes one event; true if the incoming picture changed.
    pub(super) fn take_event(&self) -> io::Result<bool> {
        let mut raw = zeroed::<v4l2_event>();
        // SAFETY: the request's argument is a v4l2_event, without pointers.
        unsafe { self.call(VIDIOC_DQEVENT as vidioc::_IOC_TYPE, &mut raw)? };
        Ok(raw.type_ == V4L2_EVENT_SOURCE_CHANGE)
    }

    pub(super) fn wait(&self, timeout: Duration) -> io::Result<Ready> {
        // SAFETY: the descriptor is open as long as `self.device` lives, which is longer than the borrow.
        let fd = unsafe { BorrowedFd::borrow_raw(self.fd()) };
        poll(fd, timeout)
    }
}

/// A structure of the kernel's, all zeros.
fn zeroed<T: Plain>() -> T {
    // SAFETY: see `Plain`.
    unsafe { std::mem::zeroed() }
}

/// C structures of integers, arrays, unions and raw pointers.
///
/// # Safety
/// All zeros must be a value of the type.
unsafe trait Plain {}
macro_rules! plain {
    ($($name:ty),*) => { $(
        // SAFETY: a C structure of integers, arrays of them, unions of those, and raw pointers.
        unsafe impl Plain for $name {}
    )* };
}
plain!(v4l2_capability, v4l2_fmtdesc, v4l2_format, v4l2_requestbuffers, v4l2_buffer, v4l2_plane, v4l2_event);
plain!(v4l2_event_subscription, v4l::v4l_sys::v4l2_pix_format, v4l::v4l_sys::v4l2_pix_format_mplane);

fn layout(interface: Interface, raw: &v4l2_format) -> Layout {
    let mut layout = Layout {
        fourcc: [0; 4],
        width: 0,
        height: 0,
        colorspace: 0,
        ycbcr_enc: 0,
        quantization: 0,
        planes: 1,
        strides: [0; MAX_PLANES],
    };
    match interface {
        Interface::Single => {
            // SAFETY: the driver fills `pix` for this type; all of its bit patterns are valid.
            let pix = unsafe { raw.fmt.pix };
            layout.fourcc = pix.pixelformat.to_le_bytes();
            (layout.width, layout.height) = (pix.width, pix.height);
            (layout.colorspace, layout.quantization) = (pix.colorspace, pix.quantization);
            // SAFETY: both variants of this union are the same integer.
            layout.ycbcr_enc = unsafe { pix.__bindgen_anon_1.ycbcr_enc };
            layout.strides = [pix.bytesperline, 0, 0];
        }
        Interface::Multi => {
            // SAFETY: the driver fills `pix_mp` for this type; all of its bit patterns are valid.
            let pix = unsafe { raw.fmt.pix_mp };
            // The structure is packed: copy before use.
            let (fourcc, width, height, colorspace, planes) =
                (pix.pixelformat, pix.width, pix.height, pix.colorspace, pix.plane_fmt);
            layout.fourcc = fourcc.to_le_bytes();
            (layout.width, layout.height, layout.colorspace) = (width, height, colorspace);
            layout.quantization = pix.quantization.into();
            // SAFETY: both variants of this union are the same integer.
            layout.ycbcr_enc = unsafe { pix.__bindgen_anon_1.ycbcr_enc }.into();
            layout.planes = usize::from(pix.num_planes).clamp(1, MAX_PLANES);
            for (stride, plane) in layout.strides.iter_mut().zip(planes) {
                *stride = plane.bytesperline;
            }
        }
    }
    layout
}

/// A buffer on its way to or from the driver, with room for what its planes say.
struct Exchange {
    raw: v4l2_buffer,
    planes: [v4l2_plane; 8],
    is_multi: bool,
}

impl Exchange {
    fn new(interface: Interface, index: u32) -> Self {
        let raw =
            v4l2_buffer { index, type_: interface.buffer_type(), memory: v4l2_memory_V4L2_MEMORY_MMAP, ..zeroed() };
        Self { raw, planes: std::array::from_fn(|_| zeroed()), is_multi: interface == Interface::Multi }
    }

    /// `request` must be one of `VIDIOC_QUERYBUF`, `VIDIOC_QBUF` and `VIDIOC_DQBUF`.
    fn call(&mut self, node: &Node, request: vidioc::_IOC_TYPE) -> io::Result<()> {
        if self.is_multi {
            self.raw.length = 8;
            self.raw.m.planes = self.planes.as_mut_ptr();
        }
        // SAFETY: the requests' argument is a v4l2_buffer. In the multi-planar interface the kernel also reads and
        // writes `length` planes at `m.planes`: all of our array, which outlives the call.
        unsafe { node.call(request, &mut self.raw) }
    }

    fn used_planes(&self) -> &[v4l2_plane] {
        self.planes.get(..(self.raw.length as usize).min(MAX_PLANES)).unwrap_or_default()
    }

    fn places(&self) -> Vec<(u32, u32)> {
        if self.is_multi {
            // SAFETY: for mapped memory the kernel fills `mem_offset`.
            return self.used_planes().iter().map(|plane| (unsafe { plane.m.mem_offset }, plane.length)).collect();
        }
        // SAFETY: for mapped memory in the single-planar interface the kernel fills `offset`.
        vec![(unsafe { self.raw.m.offset }, self.raw.length)]
    }

    fn filled(&self) -> Filled {
        let mut planes = [PlaneUse::default(); MAX_PLANES];
        if self.is_multi {
            for (plane, raw) in planes.iter_mut().zip(self.used_planes()) {
                let start = raw.data_offset as usize;
                *plane = PlaneUse { start, bytes: (raw.bytesused as usize).saturating_sub(start) };
            }
        } else if let Some(first) = planes.first_mut() {
            *first = PlaneUse { start: 0, bytes: self.raw.bytesused as usize };
        }
        let timestamp = duration(&self.raw.timestamp);
        Filled { index: self.raw.index, sequence: self.raw.sequence, flags: self.raw.flags, timestamp, planes }
    }
}

fn duration(time: &timeval) -> Duration {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::from_secs(seconds).saturating_add(Duration::from_micros(u64::try_from(time.tv_usec).unwrap_or(0)))
}

/// A buffer of the driver's, seen from here.
pub(super) struct Mapping {
    start: *mut libc::c_void,
    length: usize,
}

// SAFETY: a mapping belongs to the process, not to a thread, and is only ever read.
unsafe impl Send for Mapping {}

impl Mapping {
    pub(super) fn new(node: &Node, offset: u32, length: u32) -> io::Result<Self> {
        let length = length as usize;
        // As bits: the kernel reads the number as unsigned again.
        let offset = offset as libc::off_t;
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory of ours.
        let start = unsafe { libc::mmap(null_mut(), length, libc::PROT_READ, libc::MAP_SHARED, node.fd(), offset) };
        if start == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(Self { start, length }) }
    }

    /// The buffer's bytes. Call it only while the buffer is ours, that is between dequeuing and queuing: a driver that
    /// broke that rule could give a wrong picture, but never another program's memory.
    pub(super) fn bytes(&self) -> &[u8] {
        // SAFETY: `start` and `length` are those of a readable mapping that lives as long as `self`.
        unsafe { &*slice_from_raw_parts(self.start.cast::<u8>(), self.length) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: start and length are those of our own mapping, and no slice of it outlives `self`.
        let result = unsafe { libc::munmap(self.start, self.length) };
        if result == -1 {
            log::debug!("munmap: {}", io::Error::last_os_error());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_requests_have_the_kernels_numbers() {
        // linux/videodev2.h on 64-bit systems; 32-bit ones have a smaller struct timespec.
        if cfg!(target_pointer_width = "64") {
            assert_eq!((VIDIOC_DQEVENT, VIDIOC_SUBSCRIBE_EVENT), (0x8088_5659, 0x4020_565a));
        }
    }

    #[test]
    fn drivers_texts_end_at_the_first_zero_and_may_be_no_utf8() {
        assert_eq!(text(b"vivid\0\0x"), "vivid");
        assert_eq!(text(b"C\xe9l\xe8bre "), "C\u{fffd}l\u{fffd}bre");
    }

    #[test]
    fn what_is_no_camera_says_so() {
        let node = Node::open(Path::new("/dev/null")).unwrap();
        assert_eq!(node.capability().unwrap_err().raw_os_error(), Some(libc::ENOTTY));
        assert_eq!(Node::open(Path::new("/no/such/node")).map(|_| ()).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
