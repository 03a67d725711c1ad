//! What the board shows: the overlay, and the screens it is shown on.
//!
//! Invariant: a display never stops an answer. Whoever shows something gets an error and goes on without.

mod address;
mod canvas;
mod drm;
mod drm_choice;
mod drm_sys;
mod facts;
mod framebuffer;
mod framebuffer_sys;
mod magnify;
mod overlay;
mod panel;
#[cfg(feature = "panels")]
mod panel_wires;
mod picture;
mod png;

pub use address::{Controller, DisplayAddress, SpiPanel};
pub use canvas::Canvas;
pub use facts::Facts;
pub use overlay::{Ink, Layout, draw_overlay};
pub use picture::{PictureError, picture_of};

use crate::decode::Picture;

/// A screen.
pub trait Display: Send {
    /// Columns and rows.
    fn size(&self) -> (u32, u32);

    /// Whether it can show a picture, and not only words.
    fn shows_pictures(&self) -> bool {
        true
    }

    /// Shows one answered frame.
    ///
    /// # Errors
    /// The screen is gone or refuses.
    fn show(&mut self, facts: &Facts, picture: Option<&Picture>) -> Result<(), DisplayError>;
}

/// Why a display does not work, with what to try.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("display {name}: {detail}")]
pub struct DisplayError {
    /// The device or the file.
    pub name: String,
    /// What happened.
    pub detail: String,
}

impl DisplayError {
    fn new(name: impl std::fmt::Display, detail: impl std::fmt::Display) -> Self {
        Self { name: name.to_string(), detail: detail.to_string() }
    }
}

/// Opens a display.
///
/// # Errors
/// It is not there, may not be used, or is of a kind that this program cannot serve.
pub fn open_display(address: &DisplayAddress) -> Result<Box<dyn Display>, DisplayError> {
    Ok(match address {
        DisplayAddress::Png { path, size } => Box::new(png::PngDisplay::open(path, *size)?),
        DisplayAddress::Framebuffer(path) => Box::new(framebuffer::Framebuffer::open(path)?),
        DisplayAddress::Drm { card, connector, size } => {
            let wish = drm_choice::DrmWish { connector: connector.as_deref(), size: *size };
            Box::new(drm::DrmDisplay::open(card.as_deref(), &wish)?)
        }
        #[cfg(feature = "panels")]
        DisplayAddress::SpiPanel(panel) => panel_wires::open_spi(panel)?,
        #[cfg(feature = "panels")]
        DisplayAddress::Ssd1306 { bus, size, address, is_turned } => {
            panel_wires::open_i2c(bus, *size, *address, *is_turned)?
        }
        #[cfg(not(feature = "panels"))]
        DisplayAddress::SpiPanel(SpiPanel { bus, .. }) | DisplayAddress::Ssd1306 { bus, .. } => {
            let detail =
                "this build has no SPI and I2C panels: build it with `--features panels`, as `make cross` does";
            return Err(DisplayError::new(bus.display(), detail));
        }
    })
}

/// The words behind an I/O error, with what to type where that is known.
fn explain(error: &std::io::Error, group: &str) -> String {
    match error.kind() {
        std::io::ErrorKind::PermissionDenied => {
            format!("{error}; `sudo usermod -aG {group} $USER`, then log in again")
        }
        std::io::ErrorKind::NotFound => format!("{error}; `tinysaver doctor` says what there is"),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests;
