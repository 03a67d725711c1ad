//! What people see of a run: the overlay on a display, and the live page.
//!
//! Invariant: nobody who looks on holds up an answer. Pictures are copied only for those who want one now, drawing and
//! encoding have threads of their own, and what they have no time for is passed over.

mod answers;
mod followers;
mod latest;
mod page;
mod screen;
mod settings;

use anyhow::Result;
use tinysaver_board::DecodeLimits;

pub use followers::Followers;
pub use page::About;
pub use settings::{DisplayFile, FaceArgs, FaceSettings, HttpFile};

/// Starts whatever of it is wanted; also gives the live page's address.
///
/// # Errors
/// The live page's address is in use or not ours. A display that does not work is no error.
pub fn follow(
    settings: &FaceSettings,
    about: About,
    limits: DecodeLimits,
) -> Result<(Followers, Option<std::net::SocketAddr>)> {
    let mut followers = Followers::default();
    for display in &settings.displays {
        followers.add(screen::Screen::start(display.clone(), limits)?);
    }
    let Some(http) = &settings.http else { return Ok((followers, None)) };
    let page = page::LivePage::start(http, about, limits)?;
    let address = page.address();
    followers.add(page);
    Ok((followers, Some(address)))
}
