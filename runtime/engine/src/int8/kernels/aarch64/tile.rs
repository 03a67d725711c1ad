//! What the matrix products share: an output image is cut into tiles of a few pixels by a panel of channels.

use std::arch::aarch64::*;

use super::finish::Finish;
use crate::int8::kernels::DotGemm;
use crate::int8::weights::{DotPacking, Epilogue, PANEL};

/// Pixels of a register tile: 16 vectors of sums, of 32 registers.
pub const TILE: usize = 4;

/// One register tile: where its numbers come from and go to.
#[derive(Clone, Copy)]
pub struct Tile {
    /// Where each pixel's first run begins; those after the last pixel repeat it.
    pub inputs: [*const u8; TILE],
    /// Bytes from one run to the next.
    pub run_pitch: usize,
    /// Runs.
    pub runs: usize,
    /// Bytes of a run: whole groups.
    pub length: usize,
    /// Weights of the panel.
    pub panel: *const i8,
    /// A bias for each channel of the panel.
    pub bias: *const i32,
    /// A scale for each channel of the panel.
    pub scale: *const f32,
    /// The panel's first channel of the first pixel.
    pub output: *mut u8,
    /// Bytes from one output pixel to the next.
    pub stride: usize,
    /// Channels of the panel that exist.
    pub channels: usize,
}

/// A matrix product whose slices were found to be long enough.
pub struct Product<'a, P: Fn(usize) -> *const u8> {
    /// Where each pixel's first run begins.
    pub place: P,
    /// Pixels.
    pub pixels: usize,
    /// Bytes from one run to the next.
    pub run_pitch: usize,
    /// Runs.
    pub runs: usize,
    /// Bytes of a run.
    pub run: usize,
    /// Weights of all panels.
    pub panels: *const i8,
    /// Output channels of a panel.
    pub panel: usize,
    /// Bytes of a panel.
    pub panel_bytes: usize,
    /// Output channels.
    pub channels: usize,
    /// What follows the sums; padded to whole panels.
    pub epilogue: &'a Epilogue,
    /// Bytes from one output pixel to the next.
    pub output_stride: usize,
}

impl<P: Fn(usize) -> *const u8> Product<'_, P> {
    /// Runs `work` on all tiles, of which it gets the number of pixels, 1 to [`TILE`].
    ///
    /// # Safety
    /// Input, panels, epilogue and output cover all of the product; the processor has what `work` needs, and `work`
    /// stays within what its tile describes.
    pub unsafe fn for_tiles(&self, output: *mut u8, work: unsafe fn(&Tile, usize, Finish)) {
        // SAFETY: NEON is a part of every aarch64 processor for which this is compiled.
        let finish = unsafe { Finish::new(self.epilogue.bounds) };
        let constants = self.epilogue.bias.chunks_exact(self.panel).zip(self.epilogue.scale.chunks_exact(self.panel));
        for (index, (bias, scale)) in constants.enumerate() {
            let tiles = self.pixels.div_ceil(TILE);
            let mut start = 0;
            for tile in 0..tiles {
                // Tiles of equal size rather than one short tile at the end.
                let pixels = (self.pixels - start).div_ceil(tiles - tile);
                let tile = Tile {
                    inputs: std::array::from_fn(|pixel| (self.place)(start + pixel.min(pixels - 1))),
                    run_pitch: self.run_pitch,
                    runs: self.runs,
                    length: self.run,
                    panel: self.panels.wrapping_add(index * self.panel_bytes),
                    bias: bias.as_ptr(),
                    scale: scale.as_ptr(),
                    output: output.wrapping_add(start * self.output_stride + index * self.panel),
                    stride: self.output_stride,
                    channels: self.channels.saturating_sub(index * self.panel).min(self.panel),
                };
                // SAFETY: passed on from the caller.
                unsafe { work(&tile, pixels, finish) }
                start += pixels;
            }
        }
    }
}

/// A product of bytes in tiles; does nothing unless `call` fits.
///
/// # Safety
/// The processor has what `work` needs, and `work` stays within what its tile describes.
pub unsafe fn multiply_bytes(
    call: &DotGemm<'_>,
    packing: DotPacking,
    output: &mut [u8],
    work: unsafe fn(&Tile, usize, Finish),
) {
    if !call.fits(packing, output) {
        return;
    }
    let weights = call.weights;
    let product = Product {
        place: |pixel| call.input.as_ptr().wrapping_add(call.place(pixel)),
        pixels: call.pixels,
        run_pitch: call.run_pitch,
        runs: weights.runs,
        run: weights.run,
        panels: weights.panels.as_ptr(),
        panel: packing.panel,
        panel_bytes: packing.panel * weights.runs * weights.run,
        channels: weights.channels,
        epilogue: &weights.epilogue,
        output_stride: call.output_stride,
    };
    // SAFETY: `fits` has shown that input, panels, biases, scales and output cover all of the product.
    unsafe { product.for_tiles(output.as_mut_ptr(), work) }
}

/// Makes `multiply_tile`, which calls the module's `multiply` with the number of pixels as a constant.
macro_rules! by_pixels {
    ($features:literal) => {
        /// # Safety
        /// All that `tile` describes is there for `pixels` pixels.
        #[target_feature(enable = $features)]
        unsafe fn multiply_tile(tile: &Tile, pixels: usize, finish: Finish) {
            // SAFETY: passed on from the caller; the constant equals `pixels`.
            unsafe {
                match pixels {
                    1 => multiply::<1>(tile, finish),
                    2 => multiply::<2>(tile, finish),
                    3 => multiply::<3>(tile, finish),
                    _ => multiply::<4>(tile, finish),
                }
            }
        }
    };
}
pub(super) use by_pixels;

impl Tile {
    /// Where a run of the first `PIXELS` pixels begins.
    #[inline]
    pub fn run<const PIXELS: usize>(&self, run: usize) -> [*const u8; PIXELS] {
        let mut inputs = self.inputs.iter();
        let no_pixel = self.output.cast_const();
        std::array::from_fn(|_| inputs.next().map_or(no_pixel, |input| input.wrapping_add(run * self.run_pitch)))
    }

    /// The sums to begin with, of panels of 16 channels.
    ///
    /// # Safety
    /// 16 biases are there.
    #[inline]
    #[target_feature(enable = "neon")]
    pub unsafe fn biases(&self) -> [int32x4_t; 4] {
        // SAFETY: as the caller promises.
        std::array::from_fn(|vector| unsafe { vld1q_s32(self.bias.add(4 * vector)) })
    }

    /// Scales, rounds and stores the sums of each pixel, of panels of 16 channels.
    ///
    /// # Safety
    /// 16 scales, and room for `channels` bytes of as many pixels as there are sums.
    #[inline]
    #[target_feature(enable = "neon")]
    pub unsafe fn store<const PIXELS: usize>(&self, sums: [[int32x4_t; 4]; PIXELS], finish: Finish) {
        // SAFETY: as the caller promises.
        unsafe {
            let scale: [float32x4_t; 4] = std::array::from_fn(|vector| vld1q_f32(self.scale.add(4 * vector)));
            for (pixel, sums) in sums.into_iter().enumerate() {
                let [a, b, c, d] = sums;
                let [scale_a, scale_b, scale_c, scale_d] = scale;
                let bytes = finish.narrow([
                    finish.scale(a, scale_a),
                    finish.scale(b, scale_b),
                    finish.scale(c, scale_c),
                    finish.scale(d, scale_d),
                ]);
                self.store_bytes(bytes, self.output.add(pixel * self.stride));
            }
        }
    }

    /// # Safety
    /// `channels` bytes of room at `output`.
    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn store_bytes(&self, bytes: uint8x16_t, output: *mut u8) {
        // SAFETY: whole vectors only where that many channels are there; else exactly `channels` bytes.
        unsafe {
            match self.channels {
                PANEL => vst1q_u8(output, bytes),
                8 => vst1_u8(output, vget_low_u8(bytes)),
                channels => {
                    let mut buffer = [0u8; PANEL];
                    vst1q_u8(buffer.as_mut_ptr(), bytes);
                    std::ptr::copy_nonoverlapping(buffer.as_ptr(), output, channels.min(PANEL));
                }
            }
        }
    }
}
