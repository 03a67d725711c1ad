//! Where the overlay is shown, as users write it.

use std::path::PathBuf;
use std::str::FromStr;

use crate::source::AddressError;
use crate::source::options::{Options, SIZE, size};

/// A display's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DisplayAddress {
    /// A PNG file, written anew for each picture.
    Png {
        /// The file.
        path: PathBuf,
        /// Columns and rows.
        size: (u32, u32),
    },
    /// Linux' framebuffer device.
    Framebuffer(PathBuf),
    /// A screen by kernel mode setting.
    Drm {
        /// The card's node; `None` for the first that has a screen.
        card: Option<PathBuf>,
        /// The connector, such as `HDMI-A-1`; `None` for the first with a screen.
        connector: Option<String>,
        /// Columns and rows; `None` for the screen's own.
        size: Option<(u32, u32)>,
    },
    /// A colour panel at an SPI bus.
    SpiPanel(SpiPanel),
    /// A panel in one colour at an I2C bus.
    Ssd1306 {
        /// The bus, such as `/dev/i2c-1`.
        bus: PathBuf,
        /// Columns and rows: 128x64 or 128x32.
        size: (u32, u32),
        /// Its address at the bus.
        address: u8,
        /// Upside down.
        is_turned: bool,
    },
}

/// The controller of a colour panel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Controller {
    /// Sitronix ST7789.
    St7789,
    /// Ilitek ILI9341.
    Ili9341,
}

/// A colour panel and its wires.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpiPanel {
    /// What kind.
    pub controller: Controller,
    /// The bus and its chip select, such as `/dev/spidev0.0`.
    pub bus: PathBuf,
    /// The pins' chip.
    pub gpio: PathBuf,
    /// Data or command: the pin's number.
    pub dc: u32,
    /// Reset, if it is connected.
    pub rst: Option<u32>,
    /// Backlight, if it is connected.
    pub backlight: Option<u32>,
    /// Columns and rows of the glass, before it is turned.
    pub size: (u16, u16),
    /// Where the glass begins in the controller's memory.
    pub offset: (u16, u16),
    /// 0, 90, 180 or 270.
    pub rotate_degrees: i32,
    /// Whether the glass wants inverted colours.
    pub is_inverted: bool,
    /// The bus's clock.
    pub clock_hz: u32,
}

const SCHEMES: &str = "displays are fb:///dev/fb0, drm:///dev/dri/card0, st7789:///dev/spidev0.0?dc=25&rst=27&size=240x240, \
                       ili9341:///dev/spidev0.0?dc=25&rst=27, ssd1306:///dev/i2c-1?size=128x64 and png:file.png";
const PIN: &str = "the number of a line of the GPIO chip, from 0 to 1023";

impl FromStr for DisplayAddress {
    type Err = AddressError;

    fn from_str(address: &str) -> Result<Self, AddressError> {
        let target = |expected| AddressError::Target { address: address.into(), expected };
        let (scheme, rest) = address.split_once(':').ok_or(target(SCHEMES))?;
        let (path, text) = rest.split_once('?').unwrap_or((rest, ""));
        if scheme == "png" {
            let mut options = Options::parse("png", "size, as in png:view.png?size=640x480", text);
            let size = options.take("size", SIZE, size)?.unwrap_or((640, 480));
            options.finish()?;
            let path = path.strip_prefix("//").unwrap_or(path);
            return if path.is_empty() { Err(target(SCHEMES)) } else { Ok(Self::Png { path: path.into(), size }) };
        }
        let path = path.strip_prefix("//");
        if scheme == "drm" && path.is_some_and(|path| path.is_empty() || path.starts_with('/')) {
            return drm(path.filter(|path| !path.is_empty()), text);
        }
        let path = path.filter(|path| path.starts_with('/')).ok_or(target(SCHEMES))?;
        match scheme {
            "fb" => Options::parse("fb", "none", text).finish().map(|()| Self::Framebuffer(path.into())),
            "st7789" => spi_panel(Controller::St7789, path, text).map(Self::SpiPanel),
            "ili9341" => spi_panel(Controller::Ili9341, path, text).map(Self::SpiPanel),
            "ssd1306" => ssd1306(path, text),
            _ => Err(target(SCHEMES)),
        }
    }
}

fn drm(card: Option<&str>, text: &str) -> Result<DisplayAddress, AddressError> {
    let mut options = Options::parse("drm", "connector and size", text);
    let name = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let display = DisplayAddress::Drm {
        card: card.map(PathBuf::from),
        connector: options.take("connector", "a connector's name, such as HDMI-A-1", name)?,
        size: options.take("size", SIZE, size)?,
    };
    options.finish()?;
    Ok(display)
}

fn spi_panel(controller: Controller, bus: &str, text: &str) -> Result<SpiPanel, AddressError> {
    let known = "dc, rst, bl, gpio, size, offset, rotate, invert and hz";
    let (scheme, glass, is_inverted) = match controller {
        // Nearly every ST7789 is sold with an IPS glass, which wants inverted colours.
        Controller::St7789 => ("st7789", (240, 240), true),
        Controller::Ili9341 => ("ili9341", (240, 320), false),
    };
    let mut options = Options::parse(scheme, known, text);
    let pin = |text: &str| text.parse().ok().filter(|pin| *pin < 1024u32);
    let largest = |(w, h): (u16, u16)| (1..=240).contains(&w) && (1..=320).contains(&h);
    let dc = options.take("dc", PIN, pin)?.ok_or(AddressError::Value {
        scheme,
        option: "dc",
        value: String::new(),
        expected: "name the GPIO line of the panel's D/C pin, as in dc=25",
    })?;
    let panel = SpiPanel {
        controller,
        bus: bus.into(),
        gpio: options.take("gpio", "a GPIO chip", |text| Some(PathBuf::from(text)))?.unwrap_or("/dev/gpiochip0".into()),
        dc,
        rst: options.take("rst", PIN, pin)?,
        backlight: options.take("bl", PIN, pin)?,
        size: options
            .take("size", "width x height of the glass, at most 240x320", |text| {
                pair(text).filter(|&size| largest(size))
            })?
            .unwrap_or(glass),
        offset: options.take("offset", "columns x rows, such as 0x80", pair)?.unwrap_or((0, 0)),
        rotate_degrees: options.take("rotate", "0, 90, 180 or 270", rotation)?.unwrap_or(0),
        is_inverted: options.take("invert", "0 or 1", flag)?.unwrap_or(is_inverted),
        clock_hz: options
            .take("hz", "the bus's clock, from 100000 to 125000000", |text| {
                text.parse().ok().filter(|hz| (100_000..=125_000_000).contains(hz))
            })?
            .unwrap_or(32_000_000),
    };
    options.finish()?;
    Ok(panel)
}

fn ssd1306(bus: &str, text: &str) -> Result<DisplayAddress, AddressError> {
    let mut options = Options::parse("ssd1306", "size, address and rotate", text);
    let sizes = |text: &str| size(text).filter(|size| [(128, 64), (128, 32)].contains(size));
    let address =
        |text: &str| u8::from_str_radix(text.trim_start_matches("0x"), 16).ok().filter(|at| (8..0x78).contains(at));
    let turned = |text: &str| rotation(text).filter(|angle| angle % 180 == 0).map(|angle| angle == 180);
    let display = DisplayAddress::Ssd1306 {
        bus: bus.into(),
        size: options.take("size", "128x64 or 128x32", sizes)?.unwrap_or((128, 64)),
        address: options.take("address", "a hexadecimal I2C address, such as 0x3c", address)?.unwrap_or(0x3c),
        is_turned: options.take("rotate", "0 or 180", turned)?.unwrap_or(false),
    };
    options.finish()?;
    Ok(display)
}

fn pair(text: &str) -> Option<(u16, u16)> {
    let (a, b) = text.split_once('x')?;
    Some((a.parse().ok()?, b.parse().ok()?))
}

fn rotation(text: &str) -> Option<i32> {
    text.parse().ok().filter(|angle| [0, 90, 180, 270].contains(angle))
}

fn flag(text: &str) -> Option<bool> {
    match text {
        "0" => Some(false),
        "1" => Some(true),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        let parse = |address: &str| address.parse::<DisplayAddress>().unwrap();
        assert_eq!(parse("fb:///dev/fb0"), DisplayAddress::Framebuffer("/dev/fb0".into()));
        assert_eq!(parse("png:a.png"), DisplayAddress::Png { path: "a.png".into(), size: (640, 480) });
        assert_eq!(parse("png:///a.png?size=320x240"), DisplayAddress::Png { path: "/a.png".into(), size: (320, 240) });
        let drm = |card: Option<&str>, connector: Option<&str>, size| DisplayAddress::Drm {
            card: card.map(PathBuf::from),
            connector: connector.map(Into::into),
            size,
        };
        assert_eq!(parse("drm://"), drm(None, None, None));
        assert_eq!(parse("drm:///dev/dri/card1"), drm(Some("/dev/dri/card1"), None, None));
        assert_eq!(parse("drm://?connector=HDMI-A-2&size=800x480"), drm(None, Some("HDMI-A-2"), Some((800, 480))));
        let DisplayAddress::SpiPanel(panel) = parse("st7789:///dev/spidev0.0?dc=25&rst=27&size=240x240") else {
            panic!()
        };
        assert_eq!((panel.dc, panel.rst, panel.size, panel.is_inverted), (25, Some(27), (240, 240), true));
        let DisplayAddress::SpiPanel(panel) = parse("ili9341:///dev/spidev0.1?dc=9&rotate=90&hz=40000000") else {
            panic!()
        };
        assert_eq!((panel.size, panel.rotate_degrees, panel.clock_hz), ((240, 320), 90, 40_000_000));
        assert_eq!(
            parse("ssd1306:///dev/i2c-1?size=128x32&address=0x3d&rotate=180"),
            DisplayAddress::Ssd1306 { bus: "/dev/i2c-1".into(), size: (128, 32), address: 0x3d, is_turned: true }
        );
    }

    #[test]
    fn mistakes_say_what_there_is() {
        let check = |address: &str, words: &str| {
            let error = address.parse::<DisplayAddress>().unwrap_err().to_string();
            assert!(error.contains(words), "{address}: {error}");
        };
        check("hdmi", "displays are fb:///dev/fb0");
        check("drm:card0", "drm:///dev/dri/card0");
        check("drm:///dev/dri/card0?mode=1", "unknown option 'mode'");
        check("fb://fb0", "displays are");
        check("png:", "displays are");
        check("fb:///dev/fb0?size=1x1", "unknown option 'size'");
        check("st7789:///dev/spidev0.0", "dc=25");
        check("st7789:///dev/spidev0.0?dc=25&size=480x320", "at most 240x320");
        check("st7789:///dev/spidev0.0?dc=25&rotate=45", "0, 90, 180 or 270");
        check("ssd1306:///dev/i2c-1?size=96x16", "128x64 or 128x32");
        check("ssd1306:///dev/i2c-1?address=3x", "hexadecimal I2C address");
    }
}
