//! Device nodes: opening one, telling cameras from other nodes, finding one again.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;
use v4l::v4l_sys::{V4L2_CAP_STREAMING, V4L2_CAP_VIDEO_CAPTURE, V4L2_CAP_VIDEO_CAPTURE_MPLANE};
use v4l::video::Capture;

use super::address::V4l2Address;
use super::mmap_driver::MmapDriver;
use super::negotiate::{Choice, Wish, choose, show_rate};
use super::offers::{FormatOffer, offers, per_second, show};
use super::sys::{Capability, Interface, Layout, Node};
use crate::frame::PixelFormat;
use crate::source::{Fault, FaultKind, StreamOptions};

/// By what a camera is known again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CameraIdentity {
    driver: String,
    card: String,
    bus: String,
}

impl CameraIdentity {
    fn of(capability: &Capability) -> Self {
        let Capability { driver, card, bus, .. } = capability.clone();
        Self { driver, card, bus }
    }
}

/// A camera that streams.
pub(super) struct Opened {
    pub driver: MmapDriver,
    pub identity: CameraIdentity,
    pub description: String,
}

/// One camera of this board.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CameraInfo {
    /// Its node.
    pub path: PathBuf,
    /// Names of the node that stay the same wherever it is plugged in, or whatever is.
    pub links: Vec<PathBuf>,
    /// The driver's name for the camera.
    pub card: String,
    /// The driver.
    pub driver: String,
    /// Where it is plugged in.
    pub bus: String,
    /// What it offers.
    pub formats: Vec<FormatOffer>,
    /// What would be taken of that by default.
    pub choice: Option<Choice>,
    /// Why nothing can be taken, or asked.
    pub problem: Option<String>,
}

/// Every node that captures video, in order of their numbers; nodes of other kinds are counted.
///
/// # Errors
/// `/dev` cannot be read.
pub fn list_cameras() -> io::Result<(Vec<CameraInfo>, usize)> {
    let (mut cameras, mut others) = (Vec::new(), 0);
    for path in nodes()? {
        match inspect(&path) {
            Ok(Some(camera)) => cameras.push(camera),
            Ok(None) => others += 1,
            Err(problem) => cameras.push(CameraInfo {
                links: links(&path),
                path,
                card: String::new(),
                driver: String::new(),
                bus: String::new(),
                formats: Vec::new(),
                choice: None,
                problem: Some(problem.detail),
            }),
        }
    }
    Ok((cameras, others))
}

fn inspect(path: &Path) -> Result<Option<CameraInfo>, Fault> {
    let (node, capability) = open_node(path)?;
    let Some(interface) = interface(&capability) else { return Ok(None) };
    let StreamOptions { size, rate, .. } = StreamOptions::default();
    let formats = offers(&node, interface, size);
    let choice = choose(&formats, &Wish { size, rate, format: None });
    let Capability { driver, card, bus, .. } = capability;
    let (choice, problem) = match choice {
        Ok(choice) => (Some(choice), None),
        Err(problem) => (None, Some(problem)),
    };
    Ok(Some(CameraInfo { path: path.into(), links: links(path), card, driver, bus, formats, choice, problem }))
}

/// `/dev/video*` by number.
fn nodes() -> io::Result<Vec<PathBuf>> {
    let mut nodes = Vec::new();
    for entry in fs::read_dir("/dev")? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let number = name.strip_prefix("video").and_then(|number| number.parse::<u32>().ok());
        nodes.extend(number.map(|number| (number, path)));
    }
    nodes.sort();
    Ok(nodes.into_iter().map(|(_, path)| path).collect())
}

fn links(path: &Path) -> Vec<PathBuf> {
    let mut links = Vec::new();
    for folder in ["/dev/v4l/by-id", "/dev/v4l/by-path"] {
        // Without udev there are none.
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            if fs::canonicalize(entry.path()).is_ok_and(|target| target == path) {
                links.push(entry.path());
            }
        }
    }
    links.sort();
    links
}

fn interface(capability: &Capability) -> Option<Interface> {
    if capability.flags & V4L2_CAP_VIDEO_CAPTURE != 0 {
        Some(Interface::Single)
    } else if capability.flags & V4L2_CAP_VIDEO_CAPTURE_MPLANE != 0 {
        Some(Interface::Multi)
    } else {
        None
    }
}

fn open_node(path: &Path) -> Result<(Node, Capability), Fault> {
    let node = Node::open(path).map_err(|error| open_fault(path, &error))?;
    let capability = node.capability().map_err(|error| match error.raw_os_error() {
        Some(libc::ENOTTY | libc::EINVAL) => {
            refused(path, "this is no video device; `tinysaver cameras` lists those that are")
        }
        _ => open_fault(path, &error),
    })?;
    Ok((node, capability))
}

fn refused(path: &Path, what: &str) -> Fault {
    Fault::new(FaultKind::Refused, format!("{}: {what}", path.display()))
}

fn open_fault(path: &Path, error: &io::Error) -> Fault {
    let fault = |kind, what: &str| Fault::new(kind, format!("{}: {what}", path.display()));
    match error.raw_os_error() {
        Some(libc::ENOENT) => fault(
            FaultKind::Gone,
            "there is no such device; `tinysaver cameras` lists those that are (a CSI camera needs rpicam://0)",
        ),
        Some(libc::ENODEV | libc::ENXIO) => fault(FaultKind::Gone, "the camera was unplugged"),
        Some(libc::EACCES | libc::EPERM) => {
            refused(path, "no permission; type `sudo usermod -aG video $USER` and log in again")
        }
        Some(libc::EBUSY) => {
            fault(FaultKind::Busy, "another program uses this camera; `fuser -v` on the node tells which")
        }
        _ => fault(FaultKind::Io, &error.to_string()),
    }
}

/// Opens a camera, agrees on a format and starts the stream.
pub(super) fn open(path: &Path, address: &V4l2Address) -> Result<Opened, Fault> {
    let (node, capability) = open_node(path)?;
    let Some(interface) = interface(&capability) else {
        return Err(refused(
            path,
            "this node gives no video; a camera has several, `tinysaver cameras` lists the right ones",
        ));
    };
    if capability.flags & V4L2_CAP_STREAMING == 0 {
        return Err(refused(path, "its driver cannot stream"));
    }
    let StreamOptions { size, rate, .. } = address.options;
    let choice = choose(&offers(&node, interface, size), &Wish { size, rate, format: address.format });
    let choice = choice.map_err(|what| refused(path, &what))?;
    let set = node.set_format(interface, choice.fourcc, choice.size).map_err(|error| open_fault(path, &error))?;
    let format = PixelFormat::from_fourcc(set.fourcc).filter(|_| set.width > 0 && set.height > 0);
    let format = format.ok_or_else(|| {
        refused(
            path,
            &format!("asked for {}, its driver set {}, which is not served", show(choice.fourcc), show(set.fourcc)),
        )
    })?;
    let rate = set_rate(&node, choice.rate.unwrap_or(rate));
    let description = describe(path, &capability, &choice, (&set, rate));
    let driver = MmapDriver::start(node, interface, set, format).map_err(|error| open_fault(path, &error))?;
    Ok(Opened { driver, identity: CameraIdentity::of(&capability), description })
}

/// What came of it, and whether that is what was asked for.
fn describe(path: &Path, capability: &Capability, choice: &Choice, (set, rate): (&Layout, Option<f64>)) -> String {
    let mut text = format!("{} ({}): {}", path.display(), capability.card, choice.reason);
    if (set.fourcc, (set.width, set.height)) != (choice.fourcc, choice.size) {
        text.push_str(&format!("; the driver set {} {}x{}", show(set.fourcc), set.width, set.height));
    }
    match rate {
        Some(rate) if choice.rate.is_none_or(|asked| (asked - rate).abs() > 0.01 * asked) => {
            text.push_str(&format!("; the driver set {}", show_rate(rate)));
        }
        _ => {}
    }
    text
}

/// Many drivers have one rate only, and some refuse to speak of it: the frames' time stamps tell in the end.
fn set_rate(node: &Node, rate: f64) -> Option<f64> {
    // Exact for whole rates, and to a thousandth of a frame for others.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the address allows 0.01 to 1000")]
    let interval = v4l::Fraction::new(1000, (rate * 1000.0).round().max(1.0) as u32);
    let parameters = v4l::video::capture::Parameters::new(interval);
    match node.device().set_params(&parameters) {
        Ok(set) => per_second(set.interval.numerator, set.interval.denominator),
        Err(error) => {
            log::debug!("the frame rate cannot be set: {error}");
            None
        }
    }
}

/// The node at which a camera is now.
pub(super) fn find_again(path: &Path, identity: &CameraIdentity) -> Result<PathBuf, Fault> {
    let seen: Vec<(PathBuf, CameraIdentity)> = nodes()
        .map_err(|error| open_fault(path, &error))?
        .into_iter()
        // A node that cannot be asked is not the one, or will be at the next try.
        .filter_map(|node| Some((node.clone(), open_node(&node).ok()?.1)))
        .filter(|(_, capability)| interface(capability).is_some())
        .map(|(node, capability)| (node, CameraIdentity::of(&capability)))
        .collect();
    // A link such as those in by-id leads to one of the nodes.
    let target = fs::canonicalize(path).ok();
    pick(target.as_deref(), identity, &seen).ok_or_else(|| {
        Fault::new(FaultKind::Gone, format!("{}: the camera '{}' is not there", path.display(), identity.card))
    })
}

/// The camera in its old place, else the same one elsewhere; a camera of another kind in the old place is none.
fn pick(path: Option<&Path>, identity: &CameraIdentity, seen: &[(PathBuf, CameraIdentity)]) -> Option<PathBuf> {
    let same_kind = |other: &CameraIdentity| (&other.driver, &other.card) == (&identity.driver, &identity.card);
    let ranked = seen.iter().filter(|(_, other)| same_kind(other));
    let best = ranked.min_by_key(|(node, other)| (other.bus != identity.bus, Some(node.as_path()) != path));
    best.map(|(node, _)| node.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_camera_is_found_in_its_place_or_elsewhere() {
        let camera =
            |card: &str, bus: &str| CameraIdentity { driver: "uvc".into(), card: card.into(), bus: bus.into() };
        let seen = |list: &[(&str, &str, &str)]| -> Vec<(PathBuf, CameraIdentity)> {
            list.iter().map(|(node, card, bus)| (PathBuf::from(node), camera(card, bus))).collect()
        };
        let wanted = camera("C270", "usb-1");
        let check = |list: &[(&str, &str, &str)], expected: Option<&str>| {
            let found = pick(Some(Path::new("/dev/video0")), &wanted, &seen(list));
            assert_eq!(found, expected.map(PathBuf::from), "{list:?}");
        };
        check(&[], None);
        check(&[("/dev/video0", "C270", "usb-1"), ("/dev/video2", "C270", "usb-2")], Some("/dev/video0"));
        check(&[("/dev/video3", "C270", "usb-1")], Some("/dev/video3"));
        check(&[("/dev/video0", "C270", "usb-2"), ("/dev/video2", "C270", "usb-1")], Some("/dev/video2"));
        check(&[("/dev/video1", "C270", "usb-2"), ("/dev/video0", "C270", "usb-2")], Some("/dev/video0"));
        check(&[("/dev/video0", "another", "usb-1")], None);
    }

    #[test]
    fn nodes_that_are_no_cameras_say_so() {
        let open = |path: &str| {
            let address = V4l2Address { path: path.into(), options: StreamOptions::default(), format: None };
            open(Path::new(path), &address).map(|_| ()).unwrap_err()
        };
        let fault = open("/dev/null");
        assert!(fault.kind == FaultKind::Refused && fault.detail.contains("no video device"), "{fault}");
        let fault = open("/dev/video-none");
        assert!(fault.kind == FaultKind::Gone && fault.detail.contains("tinysaver cameras"), "{fault}");
    }
}
