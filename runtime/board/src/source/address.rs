//! A source's address, as users write it: a URI or a bare path.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use super::options::{self, Options};
use crate::frame::PixelFormat;
use crate::pattern::{TestPattern, TestPatternError};
use crate::v4l2::V4l2Address;

/// How long a live source may send nothing before it is opened again.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);

/// What is wished of a live source. It may give something else.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StreamOptions {
    /// Columns and rows.
    pub size: (u32, u32),
    /// Frames per second.
    pub rate: f64,
    /// Without a frame for this long, the source is opened again.
    pub timeout: Duration,
}

impl Default for StreamOptions {
    fn default() -> Self {
        Self { size: (640, 480), rate: 30.0, timeout: DEFAULT_TIMEOUT }
    }
}

/// Where frames come from.
#[derive(Debug, Clone, PartialEq)]
pub enum SourceAddress {
    /// Picture files: a file, a folder, a pattern with `*`.
    Pictures(String),
    /// Concatenated JPEGs in a file.
    Mjpeg(PathBuf),
    /// Uncompressed video in a file: YUV4MPEG2.
    Y4m(PathBuf),
    /// Made-up pictures.
    Pattern(TestPattern),
    /// A camera with a device node.
    V4l2(V4l2Address),
    /// A stream of JPEGs from a server.
    Http {
        /// As given, with options of the server's and with credentials.
        url: String,
        /// As above.
        timeout: Duration,
    },
    /// A CSI camera of a Raspberry Pi, through the program `rpicam-vid`.
    Rpicam {
        /// Its number in `rpicam-vid --list-cameras`.
        camera: u32,
        /// What is wished.
        options: StreamOptions,
    },
}

/// What is wrong with an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// A scheme that is not served.
    #[error(
        "{scheme}:// is not served; there are v4l2://, rpicam://, http://, test://, file:// and paths: /dev/video0, pictures, folders, .mjpeg and .y4m files{hint}"
    )]
    Scheme {
        /// The scheme.
        scheme: String,
        /// What to do instead.
        hint: &'static str,
    },
    /// An option that does not exist.
    #[error("{scheme}://: unknown option '{option}'; there are {known}")]
    Option {
        /// The scheme.
        scheme: &'static str,
        /// The option.
        option: String,
        /// Those that exist.
        known: &'static str,
    },
    /// An option whose value is impossible.
    #[error("{scheme}://: {option}={value} is impossible: {expected}")]
    Value {
        /// The scheme.
        scheme: &'static str,
        /// The option.
        option: &'static str,
        /// What was given.
        value: String,
        /// What it must be.
        expected: &'static str,
    },
    /// What stands between `://` and `?`.
    #[error("{address}: {expected}")]
    Target {
        /// As given.
        address: String,
        /// What it must be.
        expected: &'static str,
    },
    /// A test pattern's own complaint.
    #[error(transparent)]
    Pattern(#[from] TestPatternError),
}

impl FromStr for SourceAddress {
    type Err = AddressError;

    fn from_str(address: &str) -> Result<Self, AddressError> {
        // A path that exists is taken as it is, whatever it looks like.
        let Some((scheme, rest)) = address.split_once("://").filter(|_| !Path::new(address).exists()) else {
            return if address.starts_with("/dev/v") { v4l2(address, address) } else { Ok(Self::from_path(address)) };
        };
        match scheme {
            "test" => Ok(Self::Pattern(address.parse()?)),
            "file" => Ok(Self::from_path(rest)),
            "v4l2" => v4l2(address, rest),
            "http" => http(address, rest),
            "rpicam" => rpicam(address, rest),
            other => Err(AddressError::Scheme { scheme: other.into(), hint: hint(other) }),
        }
    }
}

fn hint(scheme: &str) -> &'static str {
    match scheme {
        "https" => "; encrypted streams need a proxy that serves them as http:// on this machine",
        "rtsp" => {
            "; an RTSP camera needs a proxy that serves it as MJPEG over http://, such as ustreamer, go2rtc or ffmpeg"
        }
        _ => "",
    }
}

impl SourceAddress {
    fn from_path(path: &str) -> Self {
        let ending = Path::new(path).extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        match ending.to_ascii_lowercase().as_str() {
            "mjpeg" | "mjpg" => Self::Mjpeg(path.into()),
            "y4m" => Self::Y4m(path.into()),
            _ => Self::Pictures(path.into()),
        }
    }

    /// Whether frames come by themselves, and what is not taken in time is gone.
    #[must_use]
    pub fn is_live(&self) -> bool {
        matches!(self, Self::V4l2(_) | Self::Http { .. } | Self::Rpicam { .. })
    }
}

fn split(rest: &str) -> (&str, &str) {
    rest.split_once('?').unwrap_or((rest, ""))
}

fn v4l2(address: &str, rest: &str) -> Result<SourceAddress, AddressError> {
    let (path, text) = split(rest);
    if !path.starts_with('/') {
        let expected = "the device's whole path is wanted, as in v4l2:///dev/video0";
        return Err(AddressError::Target { address: address.into(), expected });
    }
    let known = "size, fps, format and timeout_ms, as in v4l2:///dev/video0?size=640x480&fps=30&format=auto";
    let mut options = Options::parse("v4l2", known, text);
    let format = options.take("format", "auto, or a code such as MJPG, YUYV, NV12", format)?.flatten();
    let stream = stream_options(&mut options)?;
    options.finish()?;
    Ok(SourceAddress::V4l2(V4l2Address { path: path.into(), options: stream, format }))
}

/// `auto`, or a code in letters of any case.
fn format(text: &str) -> Option<Option<PixelFormat>> {
    if text.eq_ignore_ascii_case("auto") {
        return Some(None);
    }
    let name = |format: &PixelFormat| format.to_string().eq_ignore_ascii_case(text);
    PixelFormat::ALL.into_iter().find(name).map(Some)
}

/// The server's own options stay in the address; ours is behind a `#`, which no server ever sees.
fn http(address: &str, rest: &str) -> Result<SourceAddress, AddressError> {
    let expected = "an address such as http://camera.local:8080/stream.mjpg";
    let (url, fragment) = address.split_once('#').unwrap_or((address, ""));
    if rest.is_empty() || rest.starts_with(['/', '?', '#', ':']) || url.contains(char::is_whitespace) {
        return Err(AddressError::Target { address: address.into(), expected });
    }
    let mut options = Options::parse("http", "timeout_ms, behind a #", fragment);
    let timeout = options.take("timeout_ms", options::MILLISECONDS, options::milliseconds)?;
    options.finish()?;
    Ok(SourceAddress::Http { url: url.into(), timeout: timeout.unwrap_or(DEFAULT_TIMEOUT) })
}

fn rpicam(address: &str, rest: &str) -> Result<SourceAddress, AddressError> {
    let (camera, text) = split(rest);
    let expected = "the camera's number is wanted, as in rpicam://0 (`rpicam-hello --list-cameras` tells it)";
    let target = || AddressError::Target { address: address.into(), expected };
    let camera = camera.trim_end_matches('/').parse().map_err(|_| target())?;
    let mut options = Options::parse("rpicam", "size, fps and timeout_ms, as in rpicam://0?size=640x480&fps=30", text);
    let stream = stream_options(&mut options)?;
    options.finish()?;
    Ok(SourceAddress::Rpicam { camera, options: stream })
}

fn stream_options(options: &mut Options) -> Result<StreamOptions, AddressError> {
    let default = StreamOptions::default();
    Ok(StreamOptions {
        size: options.take("size", options::SIZE, options::size)?.unwrap_or(default.size),
        rate: options.take("fps", options::RATE, options::rate)?.unwrap_or(default.rate),
        timeout: options.take("timeout_ms", options::MILLISECONDS, options::milliseconds)?.unwrap_or(default.timeout),
    })
}

/// An address for logs: what stands before an `@` may be a password.
#[must_use]
pub fn without_credentials(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.into() };
    let authority_end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(authority_end);
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    format!("{scheme}://{host}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_addresses() {
        let check = |address: &str, expected: SourceAddress| {
            assert_eq!(address.parse(), Ok(expected), "{address}");
        };
        check("photos/", SourceAddress::Pictures("photos/".into()));
        check("a b/*.jpg", SourceAddress::Pictures("a b/*.jpg".into()));
        check("file:///a/b.png", SourceAddress::Pictures("/a/b.png".into()));
        check("clips/a.MJPG", SourceAddress::Mjpeg("clips/a.MJPG".into()));
        check("a.y4m", SourceAddress::Y4m("a.y4m".into()));
        let http = |url: &str, seconds| SourceAddress::Http { url: url.into(), timeout: Duration::from_secs(seconds) };
        check("http://u:p@cam:80/?action=stream&x=1", http("http://u:p@cam:80/?action=stream&x=1", 5));
        check("http://cam/s.mjpg#timeout_ms=2000", http("http://cam/s.mjpg", 2));
        let options = StreamOptions { size: (1280, 720), rate: 15.0, ..StreamOptions::default() };
        check("rpicam://1?size=1280x720&fps=15", SourceAddress::Rpicam { camera: 1, options });
        check("rpicam://0", SourceAddress::Rpicam { camera: 0, options: StreamOptions::default() });
        let camera =
            |path: &str, options, format| SourceAddress::V4l2(V4l2Address { path: path.into(), options, format });
        check("/dev/video0", camera("/dev/video0", StreamOptions::default(), None));
        check("/dev/video2?fps=15&size=1280x720", camera("/dev/video2", options, None));
        check("v4l2:///dev/video0?format=auto", camera("/dev/video0", StreamOptions::default(), None));
        let link = "/dev/v4l/by-id/usb-046d_C270-index0";
        let patient = StreamOptions { timeout: Duration::from_secs(20), ..StreamOptions::default() };
        check(&format!("v4l2://{link}?format=mjpg&timeout_ms=20000"), camera(link, patient, Some(PixelFormat::Mjpeg)));
        assert!("test://?frames=3".parse::<SourceAddress>().is_ok_and(|address| !address.is_live()));
        assert!("http://cam/".parse::<SourceAddress>().is_ok_and(|address| address.is_live()));
    }

    #[test]
    fn refuses_addresses() {
        let check = |address: &str, words: &str| {
            let error = address.parse::<SourceAddress>().unwrap_err().to_string();
            assert!(error.contains(words), "{address}: {error}");
        };
        check("ftp://x", "ftp:// is not served");
        check("rtsp://camera/1", "ustreamer");
        check("https://camera/", "proxy");
        check("http://", "http://camera.local");
        check("http:///x", "http://camera.local");
        check("http://camera/a b", "http://camera.local");
        check("http://camera/#timeout=3", "unknown option 'timeout'");
        check("http://camera/#timeout_ms=3", "from 100 to 3600000");
        check("v4l2://video0", "v4l2:///dev/video0");
        check("v4l2:///dev/video0?format=H264", "format=H264 is impossible");
        check("/dev/video0?width=3", "unknown option 'width'");
        check("rpicam://", "rpicam://0");
        check("rpicam://front", "rpicam://0");
        check("rpicam://0?size=big", "size=big is impossible");
        check("rpicam://0?fps=0", "fps=0 is impossible");
        check("rpicam://0?quality=3", "unknown option 'quality'");
        check("test://?frame=3", "unknown option 'frame'");
    }

    #[test]
    fn passwords_stay_out_of_logs() {
        assert_eq!(without_credentials("http://u:p%40@cam:80/a@b?c"), "http://cam:80/a@b?c");
        assert_eq!(without_credentials("http://cam/a"), "http://cam/a");
        assert_eq!(without_credentials("http://u@cam"), "http://cam");
    }
}
