//! Pixels in memory to draw on.

use std::convert::Infallible;

use embedded_graphics::Pixel;
use embedded_graphics::draw_target::DrawTarget;
use embedded_graphics::geometry::{OriginDimensions, Point, Size};
use embedded_graphics::pixelcolor::{Rgb888, RgbColor};
use embedded_graphics::primitives::Rectangle;
use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::U8x3;
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};

use super::facts::Facts;
use super::overlay::{Layout, draw_overlay};
use crate::decode::Picture;

/// A third of the picture's light is left behind the overlay's words.
const SHADE: (u16, u16) = (1, 3);

/// R G B, 8 bits each, rows from the top.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Canvas {
    width: u32,
    height: u32,
    rgb: Vec<u8>,
}

impl Canvas {
    /// Black.
    #[must_use]
    pub fn new(width: u32, height: u32) -> Self {
        Self { width, height, rgb: vec![0; width as usize * height as usize * 3] }
    }

    /// Columns.
    #[must_use]
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Rows.
    #[must_use]
    pub fn height(&self) -> u32 {
        self.height
    }

    /// `width * height * 3` bytes.
    #[must_use]
    pub fn rgb(&self) -> &[u8] {
        &self.rgb
    }

    /// Row `y`; empty where there is none.
    pub(super) fn row(&self, y: u32) -> &[u8] {
        let row_bytes = self.width as usize * 3;
        self.rgb.get(y as usize * row_bytes..).and_then(|rest| rest.get(..row_bytes)).unwrap_or_default()
    }

    /// A whole view: the picture at the top, as large as it fits, and the overlay over the lower edge.
    pub fn show(&mut self, facts: &Facts, picture: Option<&Picture>) {
        self.rgb.fill(0);
        if let Some(picture) = picture {
            self.place(picture);
        }
        self.shade(Layout::of(self.size()).panel());
        match draw_overlay(self, facts) {
            Ok(()) => {}
            Err(never) => match never {},
        }
    }

    /// Scales the picture until it fits, and centres it between left and right.
    fn place(&mut self, picture: &Picture) {
        let (width, height) = fit((picture.width, picture.height), (self.width, self.height));
        let scaled = scale(picture, width, height);
        let scaled = scaled.as_deref().unwrap_or(&picture.rgb);
        let left = (self.width.saturating_sub(width) / 2) as usize * 3;
        let rows = self.rgb.chunks_exact_mut((self.width as usize * 3).max(1));
        for (row, pixels) in rows.zip(scaled.chunks_exact((width as usize * 3).max(1))) {
            if let Some(place) = row.get_mut(left..left + pixels.len()) {
                place.copy_from_slice(pixels);
            }
        }
    }

    fn shade(&mut self, area: Rectangle) {
        let area = area.intersection(&self.bounding());
        let row_bytes = (self.width as usize * 3).max(1);
        let (top, rows) = (area.top_left.y.max(0).unsigned_abs() as usize, area.size.height as usize);
        let (part, whole) = SHADE;
        for row in self.rgb.chunks_exact_mut(row_bytes).skip(top).take(rows) {
            for level in row {
                *level = u8::try_from(u16::from(*level) * part / whole).unwrap_or(u8::MAX);
            }
        }
    }

    fn bounding(&self) -> Rectangle {
        Rectangle::new(Point::zero(), self.size())
    }
}

/// The largest size of the same shape that fits, at least one pixel.
fn fit((width, height): (u32, u32), (into_width, into_height): (u32, u32)) -> (u32, u32) {
    let (w, h, iw, ih) = (u64::from(width), u64::from(height), u64::from(into_width), u64::from(into_height));
    let fitted = if w * ih >= h * iw { (iw, h * iw / w.max(1)) } else { (w * ih / h.max(1), ih) };
    let side = |side: u64, limit: u32| u32::try_from(side).unwrap_or(limit).clamp(1, limit.max(1));
    (side(fitted.0, into_width), side(fitted.1, into_height))
}

/// `None`: it has that size already.
fn scale(picture: &Picture, width: u32, height: u32) -> Option<Vec<u8>> {
    if (picture.width, picture.height) == (width, height) {
        return None;
    }
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
    let mut scaled = TypedImage::<U8x3>::new(width, height);
    let from = TypedImageRef::<U8x3>::from_buffer(picture.width, picture.height, &picture.rgb).ok()?;
    Resizer::new().resize_typed(&from, &mut scaled, &options).ok()?;
    Some(scaled.pixels().iter().flat_map(|pixel| pixel.0).collect())
}

impl OriginDimensions for Canvas {
    fn size(&self) -> Size {
        Size::new(self.width, self.height)
    }
}

impl DrawTarget for Canvas {
    type Color = Rgb888;
    type Error = Infallible;

    fn draw_iter<I: IntoIterator<Item = Pixel<Rgb888>>>(&mut self, pixels: I) -> Result<(), Infallible> {
        for Pixel(at, colour) in pixels {
            let (Ok(x), Ok(y)) = (usize::try_from(at.x), usize::try_from(at.y)) else { continue };
            if x >= self.width as usize {
                continue;
            }
            let start = (y * self.width as usize + x) * 3;
            if let Some(place) = self.rgb.get_mut(start..start + 3) {
                place.copy_from_slice(&[colour.r(), colour.g(), colour.b()]);
            }
        }
        Ok(())
    }

    fn fill_solid(&mut self, area: &Rectangle, colour: Rgb888) -> Result<(), Infallible> {
        let area = area.intersection(&self.bounding());
        let left = area.top_left.x.max(0).unsigned_abs() as usize * 3;
        let (top, bytes) = (area.top_left.y.max(0).unsigned_abs() as usize, area.size.width as usize * 3);
        let row_bytes = (self.width as usize * 3).max(1);
        for row in self.rgb.chunks_exact_mut(row_bytes).skip(top).take(area.size.height as usize) {
            for pixel in row.get_mut(left..left + bytes).unwrap_or_default().chunks_exact_mut(3) {
                pixel.copy_from_slice(&[colour.r(), colour.g(), colour.b()]);
            }
        }
        Ok(())
    }
}
