//! Streaming with buffers that driver and program share.

use std::io;
use std::time::Duration;

use super::driver::Driver;
use super::sys::{Filled, Interface, Layout, MAX_PLANES, Mapping, Node};
use crate::frame::{Colour, PixelFormat};
use crate::source::FrameBuffer;
use crate::system::Ready;

/// One being filled, one full, and room for a scheduling delay.
const BUFFERS: u32 = 4;

/// A node that streams.
pub(super) struct MmapDriver {
    node: Node,
    interface: Interface,
    layout: Layout,
    format: PixelFormat,
    colour: Colour,
    /// Of each buffer, its planes.
    buffers: Vec<Vec<Mapping>>,
}

impl MmapDriver {
    /// Maps buffers, hands them over and starts the stream.
    pub(super) fn start(node: Node, interface: Interface, layout: Layout, format: PixelFormat) -> io::Result<Self> {
        let colour = Colour::from_v4l2(format, layout.colorspace, layout.ycbcr_enc, layout.quantization);
        let mut driver = Self { node, interface, layout, format, colour, buffers: Vec::new() };
        // From here on, dropping the driver gives back whatever was taken.
        let count = driver.node.request_buffers(interface, BUFFERS)?;
        if count == 0 {
            return Err(io::Error::other("the driver has no buffers"));
        }
        for index in 0..count {
            let places = driver.node.query_buffer(interface, index)?;
            let map = |(offset, length)| Mapping::new(&driver.node, offset, length);
            let planes = places.into_iter().map(map).collect::<io::Result<_>>()?;
            driver.buffers.push(planes);
            driver.node.queue(interface, index)?;
        }
        if let Err(error) = driver.node.watch_source() {
            log::debug!("this driver does not tell of changes at its input: {error}");
        }
        driver.node.stream(interface, true)?;
        Ok(driver)
    }

    /// Several buffers, each a plane, become one.
    fn copy_planes(&self, filled: &Filled, frame: &mut FrameBuffer) -> Result<(), String> {
        let Layout { width, height, strides, .. } = self.layout;
        let mut planes = [(0, 0); MAX_PLANES];
        for (plane, (place, stride)) in planes.iter_mut().zip(strides).enumerate().take(self.format.planes()) {
            *place = (frame.bytes.len(), stride as usize);
            self.append(filled, plane, frame)?;
        }
        frame.set_planes(self.format, (width, height), self.colour, planes).map_err(|error| error.to_string())
    }

    fn append(&self, filled: &Filled, plane: usize, frame: &mut FrameBuffer) -> Result<(), String> {
        let mapping = self.buffers.get(filled.index as usize).and_then(|planes| planes.get(plane));
        let usage = filled.planes.get(plane).copied().unwrap_or_default();
        let bytes = mapping.and_then(|mapping| mapping.bytes().get(usage.start..usage.start.checked_add(usage.bytes)?));
        frame.bytes.extend_from_slice(bytes.ok_or("the driver names bytes that are not in its buffer")?);
        Ok(())
    }
}

impl Driver for MmapDriver {
    fn wait(&mut self, timeout: Duration) -> io::Result<Ready> {
        self.node.wait(timeout)
    }

    fn dequeue(&mut self) -> io::Result<Option<Filled>> {
        self.node.dequeue(self.interface)
    }

    fn take_event(&mut self) -> io::Result<bool> {
        self.node.take_event()
    }

    fn copy(&mut self, filled: &Filled, frame: &mut FrameBuffer) -> Result<(), String> {
        frame.bytes.clear();
        if self.layout.planes > 1 {
            return self.copy_planes(filled, frame);
        }
        self.append(filled, 0, frame)?;
        if self.format.is_compressed() {
            frame.set_jpeg();
            return Ok(());
        }
        let Layout { width, height, strides: [stride, ..], .. } = self.layout;
        let set = frame.set_pixels(self.format, (width, height), self.colour, stride as usize);
        set.map_err(|error| error.to_string())
    }

    fn queue(&mut self, index: u32) -> io::Result<()> {
        self.node.queue(self.interface, index)
    }
}

impl Drop for MmapDriver {
    fn drop(&mut self) {
        // A camera that was unplugged refuses all of this, and closing its node is enough.
        if let Err(error) = self.node.stream(self.interface, false) {
            log::debug!("STREAMOFF: {error}");
        }
        self.buffers.clear();
        if let Err(error) = self.node.request_buffers(self.interface, 0) {
            log::debug!("REQBUFS 0: {error}");
        }
    }
}
