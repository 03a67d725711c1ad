//! Cameras: whether there is one, whether it may be used, and whether somebody else uses it.

use std::fs;
use std::path::Path;

use super::{Check, World};
use crate::config::Settings;

const NAME: &str = "camera";
/// Drivers that give what a CSI sensor sees, before anybody has made a picture of it.
const RAW_DRIVERS: [&str; 4] = ["unicam", "rp1-cfe", "bcm2835-unicam", "rp1_cfe"];
/// Nodes of the same boards that are no cameras.
const HELPER_DRIVERS: [&str; 5] = ["bcm2835-codec", "bcm2835-isp", "rpivid", "rpi-hevc-dec", "pispbe"];

/// All of it, unless the source needs no camera.
pub fn cameras(world: &World, settings: &Settings) -> Vec<Check> {
    let source = settings.source.as_deref().unwrap_or_default();
    let wants_csi = source.starts_with("rpicam://");
    let needs_node = source.is_empty() || source.starts_with("/dev/v") || source.starts_with("v4l2://");
    if !needs_node && !wants_csi {
        return vec![Check::fine(
            NAME,
            format!("not needed: the source is {}", tinysaver_board::without_credentials(source)),
        )];
    }
    let nodes = world.find("/dev/video*");
    let names: Vec<String> = nodes.iter().map(|node| driver_name(world, node)).collect();
    let is_one_of = |name: &String, list: &[&str]| list.iter().any(|driver| name.starts_with(driver));
    let csi = wants_csi || names.iter().any(|name| is_one_of(name, &RAW_DRIVERS));
    let mut checks = Vec::new();
    for (node, name) in nodes.iter().zip(&names) {
        if !is_one_of(name, &RAW_DRIVERS) && !is_one_of(name, &HELPER_DRIVERS) {
            checks.push(usable(world, node, name));
        }
    }
    if csi {
        checks.push(csi_camera(world, wants_csi));
    }
    if checks.is_empty() {
        checks.push(missing(world));
    }
    checks
}

fn driver_name(world: &World, node: &Path) -> String {
    let number = node.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    world.read(format!("/sys/class/video4linux/{number}/name")).unwrap_or_default()
}

fn missing(world: &World) -> Check {
    let is_pi = world.read("/proc/device-tree/model").is_some_and(|model| model.contains("Raspberry Pi"));
    let why = if is_pi {
        "no USB camera answers, and the kernel sees no CSI camera: is its cable seated, its contacts towards the board?"
    } else {
        "no driver has found one: is it plugged in, and does the kernel see it?"
    };
    let command =
        if is_pi { "rpicam-hello --list-cameras; lsusb" } else { "lsusb; sudo dmesg | grep -i -e uvc -e video" };
    Check::wrong(NAME, "no video node (/dev/video*)", why, command)
}

fn csi_camera(world: &World, wanted: bool) -> Check {
    if !world.has_program("rpicam-vid") {
        let why = "a CSI camera gives raw sensor data; rpicam-vid makes pictures of it";
        return Check::wrong(NAME, "CSI camera, rpicam-vid is missing", why, "sudo apt install rpicam-apps-lite");
    }
    if wanted {
        return Check::fine(NAME, "CSI camera, by rpicam-vid");
    }
    Check::fine(NAME, "CSI camera: use it with --source rpicam://0")
}

fn usable(world: &World, node: &Path, name: &str) -> Check {
    let shown = if name.is_empty() { node.display().to_string() } else { format!("{} ({name})", node.display()) };
    let file = match fs::metadata(world.at(node)) {
        Ok(file) => file,
        Err(error) => return Check::wrong(NAME, shown, error.to_string(), format!("ls -l {}", node.display())),
    };
    if !world.may_use(&file) {
        let group = world.group_of(&file);
        let why = format!("this user may not open it: it belongs to the group {group}");
        return Check::wrong(NAME, shown, why, format!("sudo usermod -aG {group} $USER   # then log in again"));
    }
    let users = world.users_of(node);
    if let Some((program, process)) = users.first() {
        let why = format!("{program} (process {process}) has it open; a camera streams to one program at a time");
        return Check::wrong(NAME, shown, why, format!("kill {process}   # or stop the service that runs it"));
    }
    match world.cameras.iter().find(|(path, _)| path == node) {
        Some((_, Some(problem))) => {
            let why = format!("{problem}; served are MJPG, YUYV, UYVY, NV12, YU12, GREY, RGB3 and their like");
            Check::wrong(NAME, shown, why, format!("v4l2-ctl -d {} --list-formats-ext", node.display()))
        }
        _ => Check::fine(NAME, shown),
    }
}
