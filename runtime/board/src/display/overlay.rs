//! The overlay: label, confidence bar, who answered, milliseconds, joules, frames per second, throttle flag. Drawn on
//! anything that `embedded-graphics` can draw on, from 128x32 in one colour to full HD.

use embedded_graphics::draw_target::DrawTarget;
use embedded_graphics::geometry::{OriginDimensions, Point, Size};
use embedded_graphics::mono_font::iso_8859_1::{FONT_6X10, FONT_7X13_BOLD, FONT_10X20};
use embedded_graphics::mono_font::{MonoFont, MonoTextStyle};
use embedded_graphics::pixelcolor::{BinaryColor, PixelColor, Rgb565, Rgb888, RgbColor, WebColors};
use embedded_graphics::primitives::{PrimitiveStyle, Rectangle, StyledDrawable};
use embedded_graphics::text::{Alignment, Baseline, Text, TextStyleBuilder};
use tinysaver_core::Exit;

use super::facts::Facts;
use super::magnify::Magnified;

/// Colours of the overlay on one kind of screen.
pub trait Ink: PixelColor {
    /// Behind everything.
    const PAPER: Self;
    /// Words and numbers.
    const TEXT: Self;
    /// The empty part of the bar, and lesser words.
    const SOFT: Self;
    /// What needs looking after.
    const ALARM: Self;
    /// The colour of an exit, the same as in reports.
    fn of_exit(exit: Exit) -> Self;
}

impl Ink for BinaryColor {
    const PAPER: Self = Self::Off;
    const TEXT: Self = Self::On;
    const SOFT: Self = Self::Off;
    const ALARM: Self = Self::On;

    fn of_exit(_: Exit) -> Self {
        Self::On
    }
}

impl Ink for Rgb888 {
    const PAPER: Self = Self::BLACK;
    const TEXT: Self = Self::WHITE;
    const SOFT: Self = Self::new(0x58, 0x60, 0x6c);
    const ALARM: Self = Self::CSS_TOMATO;

    fn of_exit(exit: Exit) -> Self {
        match exit {
            Exit::Reused => Self::new(0x7c, 0xc4, 0xc9),
            Exit::Saver => Self::new(0x35, 0xb4, 0x89),
            Exit::BaseLocal => Self::new(0x6f, 0x9c, 0xf5),
            Exit::BaseRemote => Self::new(0xa2, 0x83, 0xe0),
            Exit::Fallback => Self::new(0xe9, 0xa2, 0x3b),
        }
    }
}

impl Ink for Rgb565 {
    const PAPER: Self = Self::BLACK;
    const TEXT: Self = Self::WHITE;
    const SOFT: Self = Self::new(0x0b, 0x18, 0x0d);
    const ALARM: Self = Self::CSS_TOMATO;

    fn of_exit(exit: Exit) -> Self {
        Rgb888::of_exit(exit).into()
    }
}

/// Where things go on a screen of one size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    screen: Size,
    /// Pixels of the screen to a pixel of the font.
    side: u32,
    is_small: bool,
    rows: u32,
}

impl Layout {
    /// For a screen, or for a picture that the overlay is laid over.
    #[must_use]
    pub fn of(screen: Size) -> Self {
        let is_small = screen.width < 200 || screen.height < 100;
        let side = (screen.width / 640).min(screen.height / 360).max(1);
        let columns = screen.width / side / if is_small { 6 } else { 10 };
        // Wide screens have all numbers in one row; small ones show what fits, the most important first.
        let wanted = if columns >= 48 { 3 } else { 4 };
        let fitting = screen.height / side / if is_small { 10 } else { 22 };
        Self { screen, side, is_small, rows: wanted.min(fitting).max(1) }
    }

    /// The part of the screen that the overlay fills: all of a small one, the lower edge of others.
    #[must_use]
    pub fn panel(&self) -> Rectangle {
        let height = if self.is_small { self.screen.height } else { (self.rows * 22 + 8) * self.side };
        let height = height.min(self.screen.height);
        let top = i32::try_from(self.screen.height - height).unwrap_or(0);
        Rectangle::new(Point::new(0, top), Size::new(self.screen.width, height))
    }

    /// Letters in a row, margins aside.
    fn columns(&self, font: &MonoFont) -> usize {
        let width = (self.screen.width / self.side).saturating_sub(2 * self.margin().unsigned_abs());
        (width / font.character_size.width) as usize
    }

    fn margin(&self) -> i32 {
        if self.is_small { 0 } else { 6 }
    }
}

/// Draws the overlay over whatever is there; the panel's background is the caller's.
///
/// # Errors
/// The target's own.
pub fn draw_overlay<D>(target: &mut D, facts: &Facts) -> Result<(), D::Error>
where
    D: DrawTarget + OriginDimensions,
    D::Color: Ink,
{
    let layout = Layout::of(target.size());
    let mut target = Magnified { target, side: layout.side };
    let mut painter = Painter { target: &mut target, layout };
    let rows = painter.row_tops();
    let rows = rows.get(..layout.rows as usize).unwrap_or(&rows);
    for (index, &top) in rows.iter().enumerate() {
        match index {
            0 => painter.label(facts, top)?,
            1 => painter.bar(facts, top)?,
            2 => painter.answer(facts, top)?,
            _ => painter.board(facts, top)?,
        }
    }
    Ok(())
}

struct Painter<'a, 'b, D> {
    target: &'a mut Magnified<'b, D>,
    layout: Layout,
}

impl<D> Painter<'_, '_, D>
where
    D: DrawTarget + OriginDimensions,
    D::Color: Ink,
{
    /// In the font's pixels.
    fn width(&self) -> i32 {
        i32::try_from(self.target.size().width).unwrap_or(i32::MAX)
    }

    fn row_tops(&self) -> [i32; 4] {
        let side = i32::try_from(self.layout.side).unwrap_or(1);
        let panel = self.layout.panel();
        let (top, height) = (panel.top_left.y / side, i32::try_from(panel.size.height).unwrap_or(0) / side);
        let rows = i32::try_from(self.layout.rows).unwrap_or(1);
        let (first, pitch) = if self.layout.is_small { (0, height / rows) } else { (top + 4, 22) };
        std::array::from_fn(|index| first + pitch * i32::try_from(index).unwrap_or(0))
    }

    fn small_font(&self) -> &'static MonoFont<'static> {
        if self.layout.is_small { &FONT_6X10 } else { &FONT_10X20 }
    }

    fn text(&mut self, text: &str, at: (i32, i32), colour: D::Color, alignment: Alignment) -> Result<(), D::Error> {
        self.text_in(self.small_font(), text, at, colour, alignment)
    }

    fn text_in(
        &mut self,
        font: &MonoFont,
        text: &str,
        (x, y): (i32, i32),
        colour: D::Color,
        alignment: Alignment,
    ) -> Result<(), D::Error> {
        let style = TextStyleBuilder::new().alignment(alignment).baseline(Baseline::Top).build();
        let text = Text::with_text_style(text, Point::new(x, y), MonoTextStyle::new(font, colour), style);
        embedded_graphics::Drawable::draw(&text, self.target).map(|_| ())
    }

    fn label(&mut self, facts: &Facts, top: i32) -> Result<(), D::Error> {
        let font =
            if self.layout.is_small && self.layout.screen.height >= 64 { &FONT_7X13_BOLD } else { self.small_font() };
        let (columns, margin) = (self.layout.columns(font), self.layout.margin());
        let label = shorten(&facts.label, if self.layout.is_small { columns } else { columns.saturating_sub(5) });
        self.text_in(font, &label, (margin, top), D::Color::TEXT, Alignment::Left)?;
        if self.layout.is_small {
            return Ok(());
        }
        self.text(&facts.percent(), (self.width() - margin - 1, top), D::Color::TEXT, Alignment::Right)
    }

    fn bar(&mut self, facts: &Facts, top: i32) -> Result<(), D::Error> {
        let margin = self.layout.margin();
        let (mut width, height) = (self.width() - 2 * margin, if self.layout.is_small { 10 } else { 12 });
        if self.layout.is_small {
            self.text(&facts.percent(), (self.width() - 1, top), D::Color::TEXT, Alignment::Right)?;
            width -= 26;
        }
        let width = width.max(4).unsigned_abs();
        let frame =
            Rectangle::new(Point::new(margin, top + i32::from(!self.layout.is_small) * 5), Size::new(width, height));
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a part of the bar")]
        let filled = (f64::from(facts.part()) * f64::from(width)).round() as u32;
        let colour = D::Color::of_exit(facts.exit);
        frame.draw_styled(&PrimitiveStyle::with_fill(D::Color::SOFT), self.target)?;
        if self.layout.is_small {
            frame.draw_styled(&PrimitiveStyle::with_stroke(D::Color::TEXT, 1), self.target)?;
        }
        let filled = Rectangle::new(frame.top_left, Size::new(filled.min(width), height));
        filled.draw_styled(&PrimitiveStyle::with_fill(colour), self.target)
    }

    fn answer(&mut self, facts: &Facts, top: i32) -> Result<(), D::Error> {
        let margin = self.layout.margin();
        let right = self.width() - margin - 1;
        self.text(facts.exit.name(), (margin, top), D::Color::of_exit(facts.exit), Alignment::Left)?;
        if self.layout.rows != 3 || self.layout.is_small {
            return self.text(&facts.latency(), (right, top), D::Color::TEXT, Alignment::Right);
        }
        // Columns of their own, so that numbers do not jump while their digits change.
        for (share, text) in [(38, facts.latency()), (56, facts.energy()), (76, facts.rate())] {
            self.text(&text, (self.width() * share / 100, top), D::Color::TEXT, Alignment::Right)?;
        }
        self.flag(facts, (right, top))
    }

    fn board(&mut self, facts: &Facts, top: i32) -> Result<(), D::Error> {
        let margin = self.layout.margin();
        let right = self.width() - margin - 1;
        if facts.throttle.now().is_empty() {
            self.text(&facts.rate(), (right, top), D::Color::TEXT, Alignment::Right)?;
        } else {
            self.flag(facts, (right, top))?;
        }
        self.text(&facts.energy(), (margin, top), D::Color::TEXT, Alignment::Left)
    }

    /// Nothing is said of a board that is well, nor of one that cannot tell.
    fn flag(&mut self, facts: &Facts, at: (i32, i32)) -> Result<(), D::Error> {
        match facts.throttle.now().first() {
            Some(worst) => self.text(worst, at, D::Color::ALARM, Alignment::Right),
            None => Ok(()),
        }
    }
}

/// At most so many letters; two dots stand for what was cut, since the fonts have no ellipsis.
fn shorten(text: &str, longest: usize) -> String {
    if text.chars().count() <= longest {
        return text.to_owned();
    }
    text.chars().take(longest.saturating_sub(2)).chain("..".chars()).take(longest).collect()
}
