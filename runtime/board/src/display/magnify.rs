//! A drawing whose every pixel becomes a square: fonts for screens that are larger than fonts are drawn for.

use embedded_graphics::Pixel;
use embedded_graphics::draw_target::DrawTarget;
use embedded_graphics::geometry::{OriginDimensions, Point, Size};
use embedded_graphics::primitives::Rectangle;

/// Draws on `target`, each pixel `side` pixels wide and high.
pub(super) struct Magnified<'a, D> {
    pub target: &'a mut D,
    pub side: u32,
}

impl<D: OriginDimensions> OriginDimensions for Magnified<'_, D> {
    fn size(&self) -> Size {
        self.target.size() / self.side.max(1)
    }
}

impl<D: DrawTarget + OriginDimensions> DrawTarget for Magnified<'_, D> {
    type Color = D::Color;
    type Error = D::Error;

    fn draw_iter<I: IntoIterator<Item = Pixel<Self::Color>>>(&mut self, pixels: I) -> Result<(), Self::Error> {
        if self.side <= 1 {
            return self.target.draw_iter(pixels);
        }
        let side = i32::try_from(self.side).unwrap_or(i32::MAX);
        for Pixel(at, colour) in pixels {
            let corner = Point::new(at.x.saturating_mul(side), at.y.saturating_mul(side));
            self.target.fill_solid(&Rectangle::new(corner, Size::new_equal(self.side)), colour)?;
        }
        Ok(())
    }
}
