//! Settings of display and live page.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Deserialize;
use tinysaver_board::DisplayAddress;

/// What environment and flags may set.
#[derive(Debug, Default, Clone, clap::Args)]
pub struct FaceArgs {
    /// Show answers on fb:///dev/fb0, st7789:///dev/spidev0.0?dc=25&rst=27&size=240x240,
    /// ili9341://..., ssd1306:///dev/i2c-1?size=128x64 or png:file.png
    #[arg(long, value_name = "DISPLAY", env = "TINYSAVER_DISPLAY")]
    pub display: Option<String>,
    /// Serve the live page, health and metrics, such as at 127.0.0.1:8080; 0.0.0.0:8080 lets everybody in reach look
    #[arg(long, value_name = "ADDRESS:PORT", env = "TINYSAVER_HTTP")]
    pub http: Option<SocketAddr>,
}

/// `[http]` of the configuration file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpFile {
    listen: Option<SocketAddr>,
    stale_ms: Option<u64>,
    max_viewers: Option<usize>,
    stream_fps: Option<u32>,
}

/// The live page's.
#[derive(Debug, Clone, PartialEq)]
pub struct HttpSettings {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Without an answer for so long, the run is not ready.
    pub stale: Duration,
    /// Who may look at the stream at one time.
    pub max_viewers: usize,
    /// Pictures of the stream are at least so far apart.
    pub interval: Duration,
}

/// Display and live page.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct FaceSettings {
    /// A display, if one is wanted.
    pub display: Option<DisplayAddress>,
    /// The live page, if it is wanted.
    pub http: Option<HttpSettings>,
}

impl FaceSettings {
    /// Merges file and flags.
    ///
    /// # Errors
    /// An address that is none.
    pub fn gather(args: &FaceArgs, display: Option<String>, http: &HttpFile) -> Result<Self> {
        let display = args.display.clone().or(display);
        let display =
            display.map(|address| address.parse().with_context(|| format!("display {address}"))).transpose()?;
        let fps = http.stream_fps.unwrap_or(10).clamp(1, 60);
        let http = args.http.or(http.listen).map(|listen| HttpSettings {
            listen,
            stale: Duration::from_millis(http.stale_ms.unwrap_or(10_000)),
            max_viewers: http.max_viewers.unwrap_or(8),
            interval: Duration::from_secs(1) / fps,
        });
        Ok(Self { display, http })
    }
}
