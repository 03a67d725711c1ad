//! The board itself: display, clock, power.

use std::fs;
use std::path::Path;

use tinysaver_board::{DisplayAddress, SpiPanel, Throttle};

use super::{Check, World};
use crate::config::Settings;

/// The year in which this program was compiled: no clock can be right that is before it.
const BUILD_YEAR: &str = env!("TINYSAVER_BUILD_YEAR");

/// Whether the nodes of the wanted displays are there and may be used.
pub fn displays(world: &World, settings: &Settings) -> Vec<Check> {
    settings.face.displays.iter().flat_map(|display| display_nodes(world, display)).collect()
}

fn display_nodes(world: &World, display: &DisplayAddress) -> Vec<Check> {
    let nodes: Vec<(&Path, &str)> = match display {
        DisplayAddress::Png { .. } => Vec::new(),
        DisplayAddress::Framebuffer(node) => {
            vec![(
                node,
                "ls /dev/fb*   # there is none without a screen at the start, or without vc4-kms-v3d in config.txt",
            )]
        }
        DisplayAddress::Drm { card, .. } => return drm(world, card.as_deref()),
        DisplayAddress::SpiPanel(SpiPanel { bus, gpio, .. }) => {
            vec![
                (bus, "sudo raspi-config nonint do_spi 0"),
                (gpio, "ls /dev/gpiochip*   # name the right one with gpio="),
            ]
        }
        DisplayAddress::Ssd1306 { bus, .. } => vec![(bus, "sudo raspi-config nonint do_i2c 0")],
    };
    nodes.into_iter().map(|(node, command)| display_node(world, node, command)).collect()
}

/// A card's node, and whether any of its connectors has a screen.
fn drm(world: &World, card: Option<&Path>) -> Vec<Check> {
    let command = "ls /dev/dri   # on a Pi, config.txt needs dtoverlay=vc4-kms-v3d";
    let mut checks = vec![display_node(world, card.unwrap_or(Path::new("/dev/dri")), command)];
    let prefix = card.and_then(Path::file_name).map_or("card".into(), |name| format!("{}-", name.to_string_lossy()));
    let connectors = fs::read_dir(world.at(Path::new("/sys/class/drm"))).into_iter().flatten().flatten();
    let status = |entry: fs::DirEntry| {
        let state = fs::read_to_string(entry.path().join("status")).ok()?;
        Some((entry.file_name().to_string_lossy().into_owned(), state.trim() == "connected"))
    };
    let mut found: Vec<_> = connectors.filter_map(status).filter(|(name, _)| name.starts_with(&prefix)).collect();
    found.sort();
    if let Some((name, _)) = found.iter().find(|(_, is_connected)| *is_connected) {
        checks.push(Check::fine("display", format!("{name} has a screen")));
    } else if !found.is_empty() {
        let names: Vec<_> = found.iter().map(|(name, _)| name.as_str()).collect();
        let command =
            "cat /sys/class/drm/card*/status   # or add video=HDMI-A-1:1280x720@60D to the kernel's command line";
        checks.push(Check::wrong("display", names.join(", "), "no screen is connected", command));
    }
    checks
}

fn display_node(world: &World, node: &Path, command: &str) -> Check {
    let shown = node.display().to_string();
    match fs::metadata(world.at(node)) {
        Err(error) => Check::wrong("display", shown, error.to_string(), command),
        Ok(file) if !world.may_use(&file) => {
            let group = world.group_of(&file);
            let why = format!("this user may not open it: it belongs to the group {group}");
            Check::wrong("display", shown, why, format!("sudo usermod -aG {group} $USER   # then log in again"))
        }
        Ok(_) => Check::fine("display", shown),
    }
}

/// Whether the clock can be right.
pub fn clock(world: &World) -> Check {
    let built = BUILD_YEAR.parse().unwrap_or(i16::MIN);
    if world.year >= built {
        return Check::fine("clock", format!("it is {}", world.year));
    }
    let why =
        format!("this program was made in {built}: records would carry wrong times, and certificates look invalid");
    Check::wrong("clock", format!("it says {}", world.year), why, "sudo timedatectl set-ntp true; timedatectl")
}

/// Whether heat or a weak supply holds the board back.
pub fn power(world: &World) -> Check {
    if world.throttle == Throttle::Unknown {
        return Check::fine("power", "this board does not tell");
    }
    let now = world.throttle.now();
    let (words, when) =
        if now.is_empty() { (world.throttle.since_boot(), " since it was started") } else { (now, " now") };
    if words.is_empty() {
        return Check::fine("power", "no under-voltage, not throttled");
    }
    let what = format!("{}{when}", words.join(", "));
    if words.contains(&"under-voltage") {
        let why = "the supply or its cable gives less than 4.63 V: frames take longer, and cards get damaged";
        return Check::wrong(
            "power",
            what,
            why,
            "vcgencmd get_throttled   # with the board's own supply and a short cable",
        );
    }
    Check::wrong(
        "power",
        what,
        "the processor is slowed down: it is too hot",
        "vcgencmd measure_temp   # a heat sink or a fan helps",
    )
}
