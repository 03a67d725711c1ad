//! The wires of panels on Linux: spidev, i2c-dev and the GPIO character device, through `linux-embedded-hal`.

use std::path::Path;

use linux_embedded_hal::gpio_cdev::{Chip, LineRequestFlags};
use linux_embedded_hal::spidev::{SpiModeFlags, SpidevOptions};
use linux_embedded_hal::{CdevPin, Delay, I2cdev, SpidevDevice};

use super::address::SpiPanel;
use super::panel::{Wires, i2c_panel, spi_panel};
use super::{Display, DisplayError};

/// Opens bus and pins, and starts the panel.
pub(super) fn open_spi(panel: &SpiPanel) -> Result<Box<dyn Display>, DisplayError> {
    let bus = |error: &dyn std::fmt::Display| {
        let hint = "enable SPI (`sudo raspi-config nonint do_spi 0`) and `sudo usermod -aG spi,gpio $USER`";
        DisplayError::new(panel.bus.display(), format!("{error}; {hint}"))
    };
    let mut spi = SpidevDevice::open(&panel.bus).map_err(|error| bus(&error))?;
    let options =
        SpidevOptions::new().bits_per_word(8).max_speed_hz(panel.clock_hz).mode(SpiModeFlags::SPI_MODE_0).build();
    spi.configure(&options).map_err(|error| bus(&error))?;
    let dc = output(&panel.gpio, panel.dc, 0)?;
    let rst = panel.rst.map(|line| output(&panel.gpio, line, 1)).transpose()?;
    if let Some(line) = panel.backlight {
        // The line keeps its level only while it is held: for as long as the program runs.
        std::mem::forget(output(&panel.gpio, line, 1)?);
    }
    spi_panel(panel, Wires { spi, dc, rst }, &mut Delay)
}

fn output(chip: &Path, line: u32, level: u8) -> Result<CdevPin, DisplayError> {
    let request = || {
        let line = Chip::new(chip)?.get_line(line)?;
        CdevPin::new(line.request(LineRequestFlags::OUTPUT, level, "tinysaver")?)
    };
    request().map_err(|error| {
        let hint = "`gpioinfo` tells who uses it; `sudo usermod -aG gpio $USER` gives access";
        DisplayError::new(chip.display(), format!("line {line}: {error}; {hint}"))
    })
}

/// Opens the bus and starts the panel.
pub(super) fn open_i2c(
    bus: &Path,
    size: (u32, u32),
    address: u8,
    is_turned: bool,
) -> Result<Box<dyn Display>, DisplayError> {
    let device = I2cdev::new(bus).map_err(|error| {
        let hint = "enable I2C (`sudo raspi-config nonint do_i2c 0`) and `sudo usermod -aG i2c $USER`";
        DisplayError::new(bus.display(), format!("{error}; {hint}"))
    })?;
    i2c_panel(&bus.display().to_string(), device, address, size, is_turned)
}
