//! Settings of display and live page.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Deserialize;
use tinysaver_board::DisplayAddress;

/// What environment and flags may set.
#[derive(Debug, Default, Clone, clap::Args)]
pub struct FaceArgs {
    /// Show answers on fb:///dev/fb0, drm:///dev/dri/card0, st7789:///dev/spidev0.0?dc=25&rst=27&size=240x240,
    /// ili9341://..., ssd1306:///dev/i2c-1?size=128x64 or png:file.png; may be given more than once
    #[arg(long = "display", value_name = "DISPLAY", env = "TINYSAVER_DISPLAY", value_delimiter = ',')]
    pub displays: Vec<String>,
    /// Serve the live page, health and metrics, such as at 127.0.0.1:8080; 0.0.0.0:8080 lets everybody in reach look
    #[arg(long, value_name = "ADDRESS:PORT", env = "TINYSAVER_HTTP")]
    pub http: Option<SocketAddr>,
}

/// `display` of the configuration file.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "a display's address, or a list of addresses, was expected")]
pub enum DisplayFile {
    /// `display = "fb:///dev/fb0"`
    One(String),
    /// `display = ["fb:///dev/fb0", "png:view.png"]`
    Several(Vec<String>),
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
    /// The displays that are wanted.
    pub displays: Vec<DisplayAddress>,
    /// The live page, if it is wanted.
    pub http: Option<HttpSettings>,
}

impl FaceSettings {
    /// Merges file and flags.
    ///
    /// # Errors
    /// An address that is none.
    pub fn gather(args: &FaceArgs, file: Option<DisplayFile>, http: &HttpFile) -> Result<Self> {
        let displays = match (&args.displays[..], file) {
            ([], Some(DisplayFile::One(address))) => vec![address],
            ([], Some(DisplayFile::Several(addresses))) => addresses,
            (addresses, _) => addresses.to_vec(),
        };
        let parse = |address: String| address.parse().with_context(|| format!("display {address}"));
        let displays = displays.into_iter().map(parse).collect::<Result<_>>()?;
        let fps = http.stream_fps.unwrap_or(10).clamp(1, 60);
        let http = args.http.or(http.listen).map(|listen| HttpSettings {
            listen,
            stale: Duration::from_millis(http.stale_ms.unwrap_or(10_000)),
            max_viewers: http.max_viewers.unwrap_or(8),
            interval: Duration::from_secs(1) / fps,
        });
        Ok(Self { displays, http })
    }
}
