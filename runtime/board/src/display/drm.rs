//! A screen by kernel mode setting: the card scans out memory of ours, without the framebuffer's emulation between. What
//! the screen showed before comes back when the display is closed; after a kill the kernel brings back its console.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::canvas::Canvas;
use super::drm_choice::{DrmWish, Route, choose};
use super::drm_sys::{Buffer, Card, Crtc};
use super::facts::Facts;
use super::{Display, DisplayError, explain};
use crate::decode::Picture;

/// A connector that shows our buffer.
pub(super) struct DrmDisplay {
    path: PathBuf,
    card: Card,
    route: Route,
    before: Crtc,
    buffer: Option<Buffer>,
    canvas: Canvas,
}

impl DrmDisplay {
    /// Opens the card, or the first one that has a screen.
    pub(super) fn open(card: Option<&Path>, wish: &DrmWish) -> Result<Self, DisplayError> {
        match card {
            Some(path) => Self::open_card(path, wish),
            None => Self::open_any(wish),
        }
    }

    /// A Pi has its screens at card0 or card1, and a card that only renders at the other.
    fn open_any(wish: &DrmWish) -> Result<Self, DisplayError> {
        let nodes = glob::glob("/dev/dri/card*").map_err(|error| DisplayError::new("drm", error))?;
        let mut failed = Vec::new();
        for path in nodes.flatten() {
            match Self::open_card(&path, wish) {
                Ok(display) => return Ok(display),
                Err(error) => failed.push(format!("{}: {}", error.name, error.detail)),
            }
        }
        let why = "no card: `ls /dev/dri`; on a Pi, config.txt needs dtoverlay=vc4-kms-v3d";
        Err(DisplayError::new("drm", if failed.is_empty() { why.into() } else { failed.join("; ") }))
    }

    fn open_card(path: &Path, wish: &DrmWish) -> Result<Self, DisplayError> {
        let wrong = |detail: String| DisplayError::new(path.display(), detail);
        let failed = |error: io::Error| wrong(explain(&error, "video"));
        let file = File::options().read(true).write(true).open(path).map_err(failed)?;
        let card = Card::new(file);
        let (crtcs, connectors) = card.resources().map_err(|error| wrong(no_screens(&error)))?;
        if !card.has_dumb_buffers().map_err(failed)? {
            return Err(wrong("its driver has no buffers in plain memory; try fb:///dev/fb0".into()));
        }
        let connectors = connectors.into_iter().map(|id| card.connector(id)).collect::<io::Result<Vec<_>>>();
        let route = choose(&connectors.map_err(failed)?, &crtcs, wish).map_err(wrong)?;
        card.become_master().map_err(|error| wrong(held(&error)))?;
        let before = card.crtc(route.crtc).map_err(failed)?;
        let (width, height) = (route.mode.width.into(), route.mode.height.into());
        let buffer = card.create_buffer(width, height).map_err(failed)?;
        let fb = buffer.fb;
        let display =
            Self { path: path.into(), card, route, before, buffer: Some(buffer), canvas: Canvas::new(width, height) };
        // From here on, dropping the display puts things back.
        display.card.show(route.crtc, fb, route.mode, route.connector).map_err(|error| wrong(held(&error)))?;
        Ok(display)
    }

    fn draw(&mut self) -> io::Result<()> {
        let Some(buffer) = &mut self.buffer else { return Ok(()) };
        let pitch = buffer.pitch.max(1);
        let rows = buffer.pixels().chunks_exact_mut(pitch);
        for (y, row) in (0..self.canvas.height()).zip(rows) {
            for (place, pixel) in row.chunks_exact_mut(4).zip(self.canvas.row(y).chunks_exact(3)) {
                if let (&[red, green, blue], [b, g, r, _]) = (pixel, place) {
                    (*r, *g, *b) = (red, green, blue);
                }
            }
        }
        self.card.tell_of_change(buffer)
    }
}

impl Display for DrmDisplay {
    fn size(&self) -> (u32, u32) {
        (self.canvas.width(), self.canvas.height())
    }

    fn show(&mut self, facts: &Facts, picture: Option<&Picture>) -> Result<(), DisplayError> {
        self.canvas.show(facts, picture);
        self.draw().map_err(|error| DisplayError::new(self.path.display(), held(&error)))
    }
}

impl Drop for DrmDisplay {
    fn drop(&mut self) {
        if let Err(error) = self.card.restore(self.before, self.route.connector) {
            log::debug!("{}: what was shown before does not come back: {error}", self.path.display());
        }
        if let Some(buffer) = self.buffer.take() {
            self.card.destroy(buffer);
        }
    }
}

/// Why a card has no list of screens.
fn no_screens(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::ENOTTY) => "it is no graphics card".into(),
        Some(libc::EOPNOTSUPP) => "this card only renders, it has no screens: try the next one of `ls /dev/dri`".into(),
        _ => error.to_string(),
    }
}

/// Why the screen is not ours to set.
fn held(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::EACCES | libc::EPERM | libc::EBUSY) => {
            "another program holds the screen, such as a desktop: `sudo systemctl isolate multi-user.target` ends it, \
             `sudo fuser -v /dev/dri/card*` names it"
                .into()
        }
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_used_says_what_to_type() {
        let words = |path: &str| match DrmDisplay::open(Some(Path::new(path)), &DrmWish::default()) {
            Ok(_) => panic!("{path}"),
            Err(error) => error.to_string(),
        };
        assert!(words("/no/card0").contains("tinysaver doctor"), "{}", words("/no/card0"));
        assert_eq!(words("/dev/null"), "display /dev/null: it is no graphics card");
        assert!(no_screens(&io::Error::from_raw_os_error(libc::EOPNOTSUPP)).contains("only renders"));
        assert!(held(&io::Error::from_raw_os_error(libc::EBUSY)).contains("systemctl isolate"));
        assert!(!held(&io::Error::from_raw_os_error(libc::EIO)).contains("systemctl"));
    }
}
