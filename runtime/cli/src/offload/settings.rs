//! Where bases are, how long a frame may wait for one, what it may cost.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use tinysaver_core::route::{RoutePolicy, RoutePrices, Router, TokenBucket};
use tinysaver_offload::client::EndpointUrl;
use tinysaver_offload::tls::TlsFiles;

/// A budget that refills holds so many seconds of it.
const BUCKET_SECONDS: u64 = 60;

/// Section `[offload]` of the configuration file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OffloadFile {
    urls: Option<Vec<String>>,
    deadline_ms: Option<u64>,
    exact: Option<bool>,
    jpeg_quality: Option<u8>,
    photo_scale: Option<f64>,
    local_base: Option<bool>,
    ca: Option<PathBuf>,
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
    token_file: Option<PathBuf>,
    max_bytes_per_minute: Option<u64>,
    max_requests_per_minute: Option<u64>,
}

/// What environment and flags may set.
#[derive(Debug, Default, Clone, clap::Args)]
pub struct OffloadArgs {
    /// Ask this server for what the saver is not sure of: grpc://HOST:PORT[/MODEL], http://..., grpcs:// or https://; may be
    /// repeated, the first one that answers is asked
    #[arg(long = "offload", value_name = "URL", env = "TINYSAVER_OFFLOAD", value_delimiter = ',')]
    urls: Vec<String>,
    /// How old a frame may be when a base's answer comes; later the saver's answer stands [default: 1000]
    #[arg(long, value_name = "MS", env = "TINYSAVER_DEADLINE_MS")]
    deadline_ms: Option<u64>,
    /// Send exact pixels, not photos: more bytes, the same numbers as on this board
    #[arg(long)]
    offload_exact: bool,
    /// Quality of the JPEG photos that are sent, 1 to 100 [default: 90]
    #[arg(long, value_name = "Q", value_parser = clap::value_parser!(u8).range(1..=100))]
    offload_jpeg_quality: Option<u8>,
    /// Sides of the photos that are sent, as a multiple of what the base sees of them, 1 to 4 [default: 1]
    #[arg(long, value_name = "SCALE")]
    offload_photo_scale: Option<f64>,
    /// Do not load the base on this board: a small board has no room for it, or no time
    #[arg(long)]
    no_local_base: bool,
    /// Whom to believe (PEM), for grpcs and https [default: whom the system believes]
    #[arg(long, value_name = "FILE")]
    offload_ca: Option<PathBuf>,
    /// This board's certificate (PEM), for servers that want one
    #[arg(long, value_name = "FILE", requires = "offload_key")]
    offload_cert: Option<PathBuf>,
    /// Its key (PEM)
    #[arg(long, value_name = "FILE", requires = "offload_cert")]
    offload_key: Option<PathBuf>,
    /// Send this file's first line as the bearer token
    #[arg(long, value_name = "FILE")]
    offload_token_file: Option<PathBuf>,
}

/// Offloading, wanted and consistent.
#[derive(Debug, Clone)]
pub struct OffloadSettings {
    /// The servers, the most wanted first.
    pub urls: Vec<EndpointUrl>,
    /// How old a frame may get.
    pub deadline: Duration,
    /// Whether photos may be sent.
    pub photos: bool,
    /// Of photos.
    pub jpeg_quality: u8,
    /// Of photos: sides, as a multiple of what the base sees.
    pub photo_scale: f64,
    /// Whether this board has a base of its own.
    pub local_base: bool,
    /// Certificates.
    pub tls: TlsFiles,
    /// Bearer token.
    pub token: Option<String>,
    max_bytes_per_minute: Option<u64>,
    max_requests_per_minute: Option<u64>,
}

impl OffloadSettings {
    /// Merges file and flags; `None` where no server is named.
    ///
    /// # Errors
    /// A URL that is none, a number out of range, half a certificate, a token file that holds none.
    pub fn gather(args: &OffloadArgs, file: OffloadFile) -> Result<Option<Self>> {
        let urls = if args.urls.is_empty() { file.urls.unwrap_or_default() } else { args.urls.clone() };
        if urls.is_empty() {
            return Ok(None);
        }
        let urls: Result<Vec<EndpointUrl>, _> = urls.iter().map(|url| url.parse()).collect();
        let deadline_ms = args.deadline_ms.or(file.deadline_ms).unwrap_or(1000);
        let jpeg_quality = args.offload_jpeg_quality.or(file.jpeg_quality).unwrap_or(90);
        if deadline_ms == 0 || !(1..=100).contains(&jpeg_quality) {
            bail!("[offload]: deadline_ms is at least 1, jpeg_quality is from 1 to 100");
        }
        let photo_scale = args.offload_photo_scale.or(file.photo_scale).unwrap_or(1.0);
        if !(1.0..=4.0).contains(&photo_scale) {
            bail!("[offload]: photo_scale is from 1 to 4");
        }
        let tls = TlsFiles {
            certificate: args.offload_cert.clone().or(file.cert),
            key: args.offload_key.clone().or(file.key),
            authority: args.offload_ca.clone().or(file.ca),
        };
        if tls.certificate.is_some() != tls.key.is_some() {
            bail!("[offload]: cert and key are wanted, both or neither");
        }
        let token_file = args.offload_token_file.clone().or(file.token_file);
        Ok(Some(Self {
            urls: urls?,
            deadline: Duration::from_millis(deadline_ms),
            photos: !(args.offload_exact || file.exact.unwrap_or(false)),
            jpeg_quality,
            photo_scale,
            local_base: !args.no_local_base && file.local_base.unwrap_or(true),
            tls,
            token: token_file.as_deref().map(read_token).transpose()?,
            max_bytes_per_minute: file.max_bytes_per_minute,
            max_requests_per_minute: file.max_requests_per_minute,
        }))
    }

    /// A router for these servers; `prices` choose between them and the local base.
    #[must_use]
    pub fn router(&self, policy: RoutePolicy, prices: Option<RoutePrices>) -> Router {
        let priorities: Vec<u32> = (0..).take(self.urls.len()).collect();
        Router::new(policy, &priorities, self.local_base)
            .with_unproven_servers()
            .with_prices(prices)
            .with_budget(bucket(self.max_bytes_per_minute), bucket(self.max_requests_per_minute))
    }
}

#[expect(clippy::cast_precision_loss, reason = "a budget need not be exact beyond 2^53")]
fn bucket(per_minute: Option<u64>) -> Option<TokenBucket> {
    per_minute.map(|amount| TokenBucket::new(amount as f64 / BUCKET_SECONDS as f64, amount))
}

/// The first line of a file.
///
/// # Errors
/// It cannot be read, or the line is no token.
pub fn read_token(path: &Path) -> Result<String> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let token = text.lines().next().unwrap_or_default().trim().to_owned();
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        bail!("{}: its first line is no token: visible ASCII letters are wanted", path.display());
    }
    Ok(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> Result<Option<OffloadSettings>> {
        OffloadSettings::gather(&OffloadArgs::default(), toml::from_str(text).unwrap())
    }

    #[test]
    fn nothing_is_offloaded_unless_a_server_is_named() {
        assert!(file("").unwrap().is_none());
        assert!(file("deadline_ms = 5").unwrap().is_none());
        let settings = file("urls = [\"grpc://a:1\", \"http://b:2/m\"]\nlocal_base = false").unwrap().unwrap();
        assert_eq!((settings.urls.len(), settings.deadline), (2, Duration::from_secs(1)));
        assert!(settings.photos && !settings.local_base);
    }

    #[test]
    fn what_is_impossible_is_refused() {
        for (text, part) in [
            ("urls = [\"a:1\"]", "no server"),
            ("urls = [\"grpc://a:1\"]\ndeadline_ms = 0", "deadline_ms"),
            ("urls = [\"grpc://a:1\"]\njpeg_quality = 0", "jpeg_quality"),
            ("urls = [\"grpc://a:1\"]\nphoto_scale = 0.5", "photo_scale"),
            ("urls = [\"grpc://a:1\"]\ncert = \"x\"", "both or neither"),
            ("urls = [\"grpc://a:1\"]\ntoken_file = \"/no/token\"", "/no/token"),
        ] {
            let error = format!("{:#}", file(text).unwrap_err());
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
