//! Linux' framebuffer device. It is written with `write`, not through mapped memory: drivers that send their pixels over a
//! bus or to a virtual machine's host learn of it at once, and no memory is shared with anybody. Rows that touch
//! go in one call: the kernel's emulation on DRM shows nothing of a call that ends at the end of the row that it began in.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::canvas::Canvas;
use super::facts::Facts;
use super::framebuffer_sys::{Channel, Geometry, query};
use super::{Display, DisplayError, explain};
use crate::decode::Picture;

/// The screen behind a node.
pub(super) struct Framebuffer {
    path: PathBuf,
    file: File,
    geometry: Geometry,
    canvas: Canvas,
    /// What one call writes.
    rows: Vec<u8>,
}

impl Framebuffer {
    pub(super) fn open(path: &Path) -> Result<Self, DisplayError> {
        let error = |error: std::io::Error| DisplayError::new(path.display(), explain(&error, "video"));
        let file = File::options().read(true).write(true).open(path).map_err(error)?;
        let geometry = query(&file).map_err(|failed| match failed.raw_os_error() {
            Some(libc::ENOTTY) => DisplayError::new(path.display(), "it is no framebuffer"),
            _ => error(failed),
        })?;
        Self::with_geometry(path, file, geometry)
    }

    pub(super) fn with_geometry(path: &Path, file: File, geometry: Geometry) -> Result<Self, DisplayError> {
        geometry.check().map_err(|detail| DisplayError::new(path.display(), detail))?;
        let canvas = Canvas::new(geometry.width, geometry.height);
        Ok(Self { path: path.into(), file, geometry, canvas, rows: Vec::new() })
    }

    fn write(&mut self) -> std::io::Result<()> {
        let Geometry { stride, left, top, bytes_per_pixel, width, height, .. } = self.geometry;
        let is_contiguous = stride == width * bytes_per_pixel;
        let at = |y: u32| u64::from(top + y) * u64::from(stride) + u64::from(left) * u64::from(bytes_per_pixel);
        self.rows.clear();
        for y in 0..height {
            for pixel in self.canvas.row(y).chunks_exact(3) {
                let packed = self.geometry.pack(pixel).to_le_bytes();
                self.rows.extend_from_slice(packed.get(..bytes_per_pixel as usize).unwrap_or(&packed));
            }
            if !is_contiguous {
                self.file.write_all_at(&self.rows, at(y))?;
                self.rows.clear();
            }
        }
        self.file.write_all_at(&self.rows, at(0))
    }
}

impl Display for Framebuffer {
    fn size(&self) -> (u32, u32) {
        (self.geometry.width, self.geometry.height)
    }

    fn show(&mut self, facts: &Facts, picture: Option<&Picture>) -> Result<(), DisplayError> {
        self.canvas.show(facts, picture);
        self.write().map_err(|error| DisplayError::new(self.path.display(), error))
    }
}

impl Geometry {
    /// Whether this program can draw on it.
    fn check(&self) -> Result<(), String> {
        let Self { width, height, stride, bytes_per_pixel, .. } = *self;
        if !(2..=4).contains(&bytes_per_pixel) || !self.is_true_colour {
            return Err(format!(
                "{} bits a pixel{}: 16, 24 and 32 bits of red, green and blue can be drawn; set `framebuffer_depth=32` in \
                 config.txt, or `fbset -depth 32`",
                bytes_per_pixel * 8,
                if self.is_true_colour { "" } else { " of a palette" }
            ));
        }
        let channels = [self.red, self.green, self.blue];
        if channels.iter().any(|channel| channel.bits == 0 || channel.bits > 8 || channel.shift + channel.bits > 32) {
            return Err(format!("its colours lie in a way that is not served: {channels:?}"));
        }
        let needed = (u64::from(self.left) + u64::from(width)) * u64::from(bytes_per_pixel);
        if width == 0 || height == 0 || width > 1 << 14 || height > 1 << 14 || u64::from(stride) < needed {
            return Err(format!("{width} x {height} pixels in rows of {stride} bytes cannot be right"));
        }
        Ok(())
    }

    fn pack(&self, pixel: &[u8]) -> u32 {
        let part = |level: u8, Channel { shift, bits }: Channel| (u32::from(level) >> (8 - bits)) << shift;
        let [r, g, b] = [0, 1, 2].map(|index| pixel.get(index).copied().unwrap_or(0));
        // What is neither red, green nor blue is alpha, if it is anything: opaque.
        let alpha = self.alpha.map_or(0, |Channel { shift, bits }| ((1u32 << bits.min(8)) - 1) << shift.min(31));
        part(r, self.red) | part(g, self.green) | part(b, self.blue) | alpha
    }
}
