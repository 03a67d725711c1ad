//! The framebuffer's system calls (linux/fb.h).
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

const FBIOGET_VSCREENINFO: u32 = 0x4600;
const FBIOGET_FSCREENINFO: u32 = 0x4602;
const FB_VISUAL_TRUECOLOR: u32 = 2;
const FB_VISUAL_DIRECTCOLOR: u32 = 4;

/// `struct fb_var_screeninfo` is 40 words; these are the ones that are read.
const WORDS: usize = 40;

/// `struct fb_fix_screeninfo`.
#[repr(C)]
#[derive(Default)]
struct Fixed {
    id: [u8; 16],
    smem_start: libc::c_ulong,
    smem_len: u32,
    kind: u32,
    kind_aux: u32,
    visual: u32,
    steps: [u16; 3],
    line_length: u32,
    mmio_start: libc::c_ulong,
    mmio_len: u32,
    accel: u32,
    capabilities: u16,
    reserved: [u16; 2],
}

/// Where one colour lies in a pixel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Channel {
    pub shift: u32,
    pub bits: u32,
}

/// What a screen's memory looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Geometry {
    pub width: u32,
    pub height: u32,
    /// Where the visible part begins.
    pub left: u32,
    pub top: u32,
    pub bytes_per_pixel: u32,
    /// Bytes from the start of a row to the start of the next.
    pub stride: u32,
    pub red: Channel,
    pub green: Channel,
    pub blue: Channel,
    pub alpha: Option<Channel>,
    pub is_true_colour: bool,
}

/// Asks the driver.
pub(super) fn query(file: &File) -> io::Result<Geometry> {
    let mut variable = [0u32; WORDS];
    let mut fixed = Fixed::default();
    // SAFETY: the descriptor is open as long as `file` lives; the kernel writes one fb_var_screeninfo, 40 words without
    // pointers.
    check(unsafe { libc::ioctl(file.as_raw_fd(), FBIOGET_VSCREENINFO as _, variable.as_mut_ptr()) })?;
    // SAFETY: the same; the kernel writes one fb_fix_screeninfo, whose pointers are numbers to us.
    check(unsafe { libc::ioctl(file.as_raw_fd(), FBIOGET_FSCREENINFO as _, &raw mut fixed) })?;
    let [width, height, _, _, left, top, bits, _, rest @ ..] = variable;
    let [rs, rb, _, gs, gb, _, bs, bb, _, ts, tb, ..] = rest;
    Ok(Geometry {
        width,
        height,
        left,
        top,
        bytes_per_pixel: bits.div_ceil(8),
        stride: fixed.line_length,
        red: Channel { shift: rs, bits: rb },
        green: Channel { shift: gs, bits: gb },
        blue: Channel { shift: bs, bits: bb },
        alpha: (tb > 0).then_some(Channel { shift: ts, bits: tb }),
        is_true_colour: [FB_VISUAL_TRUECOLOR, FB_VISUAL_DIRECTCOLOR].contains(&fixed.visual),
    })
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structures_have_the_kernels_sizes() {
        assert_eq!(size_of::<[u32; WORDS]>(), 160);
        assert_eq!(size_of::<Fixed>(), if cfg!(target_pointer_width = "64") { 80 } else { 68 });
    }
}
