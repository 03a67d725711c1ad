//! Panels at SPI and I2C buses, on any bus that speaks `embedded-hal`.
#![cfg_attr(not(any(feature = "panels", test)), allow(dead_code))]

use std::fmt::Debug;

use embedded_graphics::draw_target::DrawTarget;
use embedded_graphics::geometry::{OriginDimensions, Point, Size};
use embedded_graphics::pixelcolor::{BinaryColor, Rgb565, Rgb888};
use embedded_graphics::prelude::Dimensions;
use embedded_graphics::primitives::Rectangle;
use embedded_hal::delay::DelayNs;
use embedded_hal::digital::OutputPin;
use embedded_hal::i2c::I2c;
use embedded_hal::spi::SpiDevice;
use mipidsi::Builder;
use mipidsi::interface::{Interface, InterfacePixelFormat, SpiInterface};
use mipidsi::models::{ILI9341Rgb565, Model, ST7789};
use mipidsi::options::{ColorInversion, ColorOrder, Orientation, Rotation};
use ssd1306::mode::{BufferedGraphicsMode, DisplayConfig};
use ssd1306::prelude::{DisplayRotation, DisplaySize128x32, DisplaySize128x64, I2CInterface};
use ssd1306::size::DisplaySize;
use ssd1306::{I2CDisplayInterface, Ssd1306};

use super::address::{Controller, SpiPanel};
use super::canvas::Canvas;
use super::facts::Facts;
use super::overlay::draw_overlay;
use super::{Display, DisplayError};
use crate::decode::Picture;

/// What Linux' spidev takes in one transfer.
const TRANSFER_BYTES: usize = 4096;

/// Where a panel's driver writes; the reset pin may be missing.
pub(super) struct Wires<SPI, PIN> {
    pub spi: SPI,
    pub dc: PIN,
    pub rst: Option<PIN>,
}

/// Starts a colour panel.
pub(super) fn spi_panel<SPI, PIN>(
    panel: &SpiPanel,
    wires: Wires<SPI, PIN>,
    delay: &mut impl DelayNs,
) -> Result<Box<dyn Display>, DisplayError>
where
    SPI: SpiDevice + Send + 'static,
    SPI::Error: Debug,
    PIN: OutputPin + Send + 'static,
    PIN::Error: Debug,
{
    match panel.controller {
        Controller::St7789 => start(ST7789, ColorOrder::Rgb, panel, wires, delay),
        Controller::Ili9341 => start(ILI9341Rgb565, ColorOrder::Bgr, panel, wires, delay),
    }
}

fn start<M, SPI, PIN>(
    model: M,
    order: ColorOrder,
    panel: &SpiPanel,
    wires: Wires<SPI, PIN>,
    delay: &mut impl DelayNs,
) -> Result<Box<dyn Display>, DisplayError>
where
    M: Model<ColorFormat = Rgb565> + Send + 'static,
    Rgb565: InterfacePixelFormat<u8>,
    SPI: SpiDevice + Send + 'static,
    SPI::Error: Debug,
    PIN: OutputPin + Send + 'static,
    PIN::Error: Debug,
{
    let name = panel.bus.display().to_string();
    let failed = |error: &dyn Debug| DisplayError::new(&name, format!("the panel does not start: {error:?}"));
    // The driver borrows its buffer for as long as it lives: as long as the program.
    let buffer = Box::leak(vec![0; TRANSFER_BYTES].into_boxed_slice());
    let rotation = Rotation::try_from_degree(panel.rotate_degrees).map_err(|error| failed(&error))?;
    let builder = Builder::new(model, SpiInterface::new(wires.spi, wires.dc, buffer))
        .display_size(panel.size.0, panel.size.1)
        .display_offset(panel.offset.0, panel.offset.1)
        .orientation(Orientation::new().rotate(rotation))
        .color_order(order)
        .invert_colors(if panel.is_inverted { ColorInversion::Inverted } else { ColorInversion::Normal });
    Ok(match wires.rst {
        Some(rst) => {
            Box::new(ColourPanel::new(name.clone(), builder.reset_pin(rst).init(delay).map_err(|e| failed(&e))?))
        }
        None => Box::new(ColourPanel::new(name.clone(), builder.init(delay).map_err(|e| failed(&e))?)),
    })
}

/// A panel of 65,536 colours.
struct ColourPanel<DI: Interface, M: Model, RST: OutputPin>
where
    M::ColorFormat: InterfacePixelFormat<DI::Word>,
{
    name: String,
    driver: mipidsi::Display<DI, M, RST>,
    canvas: Canvas,
}

impl<DI: Interface, M: Model, RST: OutputPin> ColourPanel<DI, M, RST>
where
    M::ColorFormat: InterfacePixelFormat<DI::Word>,
{
    fn new(name: String, driver: mipidsi::Display<DI, M, RST>) -> Self {
        let Size { width, height } = driver.size();
        Self { name, driver, canvas: Canvas::new(width, height) }
    }
}

impl<DI, M, RST> Display for ColourPanel<DI, M, RST>
where
    DI: Interface + Send,
    DI::Error: Debug,
    M: Model<ColorFormat = Rgb565> + Send,
    M::ColorFormat: InterfacePixelFormat<DI::Word>,
    RST: OutputPin + Send,
{
    fn size(&self) -> (u32, u32) {
        (self.canvas.width(), self.canvas.height())
    }

    fn show(&mut self, facts: &Facts, picture: Option<&Picture>) -> Result<(), DisplayError> {
        self.canvas.show(facts, picture);
        let colours = self.canvas.rgb().as_chunks::<3>().0.iter().map(|&[r, g, b]| Rgb565::from(Rgb888::new(r, g, b)));
        let screen = Rectangle::new(Point::zero(), Size::new(self.canvas.width(), self.canvas.height()));
        let sent = self.driver.fill_contiguous(&screen, colours);
        sent.map_err(|error| DisplayError::new(&self.name, format!("{error:?}")))
    }
}

/// Starts a panel in one colour.
pub(super) fn i2c_panel<I2C: I2c + Send + 'static>(
    name: &str,
    bus: I2C,
    address: u8,
    size: (u32, u32),
    is_turned: bool,
) -> Result<Box<dyn Display>, DisplayError> {
    let interface = I2CDisplayInterface::new_custom_address(bus, address);
    let rotation = if is_turned { DisplayRotation::Rotate180 } else { DisplayRotation::Rotate0 };
    Ok(match size {
        (_, 32) => Box::new(MonoPanel::start(name, Ssd1306::new(interface, DisplaySize128x32, rotation))?),
        _ => Box::new(MonoPanel::start(name, Ssd1306::new(interface, DisplaySize128x64, rotation))?),
    })
}

/// An SSD1306.
struct MonoPanel<I2C, S: DisplaySize> {
    name: String,
    driver: Ssd1306<I2CInterface<I2C>, S, BufferedGraphicsMode<S>>,
}

impl<I2C: I2c, S: DisplaySize> MonoPanel<I2C, S> {
    fn start(
        name: &str,
        driver: Ssd1306<I2CInterface<I2C>, S, ssd1306::mode::BasicMode>,
    ) -> Result<Self, DisplayError> {
        let mut driver = driver.into_buffered_graphics_mode();
        driver.init().map_err(|error| {
            let hint = "is it connected, and is its address right? `i2cdetect -y 1` lists what answers";
            DisplayError::new(name, format!("the panel does not start ({error:?}): {hint}"))
        })?;
        Ok(Self { name: name.into(), driver })
    }
}

impl<I2C: I2c + Send, S: DisplaySize + Send> Display for MonoPanel<I2C, S>
where
    S::Buffer: Send,
{
    fn size(&self) -> (u32, u32) {
        let Size { width, height } = self.driver.bounding_box().size;
        (width, height)
    }

    fn shows_pictures(&self) -> bool {
        false
    }

    fn show(&mut self, facts: &Facts, _: Option<&Picture>) -> Result<(), DisplayError> {
        let failed = |error: &dyn Debug| format!("{error:?}");
        let drawn = self.driver.clear(BinaryColor::Off).and_then(|()| draw_overlay(&mut self.driver, facts));
        let sent = drawn.and_then(|()| self.driver.flush());
        sent.map_err(|error| DisplayError::new(&self.name, failed(&error)))
    }
}
