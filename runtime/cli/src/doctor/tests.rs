//! Recorded trees of boards, and what is said of them.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tinysaver_board::Throttle;

use super::board::{clock, displays, power};
use super::camera::cameras;
use super::files::{judge, log, mount_of};
use super::*;
use crate::config::{RunSettingsArgs, SettingsArgs};
use crate::face::FaceArgs;

/// A board's tree; its user is neither root nor who runs the tests.
struct Board(TempDir);

impl Board {
    fn new() -> Self {
        let board = Self(tempfile::tempdir().unwrap());
        let owner = fs::metadata(board.0.path()).unwrap();
        board.file(
            "proc/self/status",
            &format!("Name:\tx\nUid:\t{0}\t{0}\t{0}\t{0}\nGid:\t7\t7\t7\t7\nGroups:\t7 8 \n", owner.uid() + 1000),
        );
        board.file("etc/group", &format!("root:x:99999:\nvideo:x:{}:pi\n", owner.gid()));
        board
    }

    fn file(&self, path: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    fn camera(&self, number: u32, name: &str, mode: u32) {
        let node = self.file(&format!("dev/video{number}"), "");
        fs::set_permissions(node, fs::Permissions::from_mode(mode)).unwrap();
        self.file(&format!("sys/class/video4linux/video{number}/name"), &format!("{name}\n"));
    }

    fn look(&self) -> World {
        World::look(self.0.path())
    }
}

fn settings(source: Option<&str>, display: Option<&str>, log: Option<&Path>) -> Settings {
    let run = RunSettingsArgs {
        source: source.map(Into::into),
        log: log.map(Into::into),
        face: FaceArgs {
            displays: display.into_iter().flat_map(|list| list.split(',')).map(Into::into).collect(),
            http: None,
        },
        ..RunSettingsArgs::default()
    };
    Settings::gather(&SettingsArgs::default(), &run).unwrap()
}

fn check(found: &[Check], expected: &[(&str, Option<(&str, &str)>)]) {
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, (what, finding)) in found.iter().zip(expected) {
        assert!(found.what.contains(what), "{what} in {found:?}");
        match (&found.finding, finding) {
            (None, None) => {}
            (Some(Finding { why, command }), Some((words, typed))) => {
                assert!(why.contains(words) && command.contains(typed), "{finding:?} in {found:?}");
            }
            _ => panic!("{finding:?} for {found:?}"),
        }
    }
}

#[test]
fn cameras_that_are_not_there_may_not_be_used_or_are_taken() {
    let any = settings(None, None, None);
    let board = Board::new();
    check(&cameras(&board.look(), &any), &[("no video node", Some(("plugged in", "lsusb")))]);
    board.file("proc/device-tree/model", "Raspberry Pi 5 Model B Rev 1.0\0");
    check(&cameras(&board.look(), &any), &[("no video node", Some(("cable", "rpicam-hello --list-cameras")))]);
    board.camera(0, "HD Webcam", 0o660);
    let denied = ("/dev/video0 (HD Webcam)", Some(("group video", "usermod -aG video $USER")));
    check(&cameras(&board.look(), &any), &[denied]);
    board.camera(0, "HD Webcam", 0o666);
    check(&cameras(&board.look(), &any), &[("/dev/video0 (HD Webcam)", None)]);
    board.file("proc/4242/comm", "motion\n");
    fs::create_dir_all(board.0.path().join("proc/4242/fd")).unwrap();
    symlink("/dev/video0", board.0.path().join("proc/4242/fd/5")).unwrap();
    check(&cameras(&board.look(), &any), &[("/dev/video0", Some(("motion (process 4242)", "kill 4242")))]);
    let file = settings(Some("photos/"), None, None);
    check(&cameras(&board.look(), &file), &[("not needed: the source is photos/", None)]);
}

#[test]
fn a_camera_without_a_usable_format_is_told() {
    let board = Board::new();
    board.camera(2, "Thermal", 0o666);
    let mut world = board.look();
    world.cameras = vec![("/dev/video2".into(), Some("no format that is served".into()))];
    let expected =
        ("/dev/video2 (Thermal)", Some(("no format that is served", "v4l2-ctl -d /dev/video2 --list-formats-ext")));
    check(&cameras(&world, &settings(None, None, None)), &[expected]);
}

#[test]
fn a_csi_camera_needs_rpicam() {
    let board = Board::new();
    board.camera(0, "unicam-image", 0o666);
    board.camera(10, "bcm2835-codec-decode", 0o666);
    let any = settings(None, None, None);
    check(
        &cameras(&board.look(), &any),
        &[("rpicam-vid is missing", Some(("raw sensor data", "apt install rpicam-apps-lite")))],
    );
    board.file("usr/bin/rpicam-vid", "");
    check(&cameras(&board.look(), &any), &[("--source rpicam://0", None)]);
    check(&cameras(&board.look(), &settings(Some("rpicam://0"), None, None)), &[("by rpicam-vid", None)]);
}

#[test]
fn displays_that_are_not_there_or_may_not_be_used() {
    let board = Board::new();
    let found = |address: &str| displays(&board.look(), &settings(None, Some(address), None));
    check(&found("fb:///dev/fb0"), &[("/dev/fb0", Some(("No such file", "without a screen")))]);
    let node = board.file("dev/fb0", "");
    fs::set_permissions(&node, fs::Permissions::from_mode(0o660)).unwrap();
    check(&found("fb:///dev/fb0"), &[("/dev/fb0", Some(("group video", "usermod -aG video")))]);
    fs::set_permissions(&node, fs::Permissions::from_mode(0o666)).unwrap();
    check(&found("fb:///dev/fb0"), &[("/dev/fb0", None)]);
    check(&found("png:a.png"), &[]);
    check(&found("drm:///dev/dri/card1"), &[("/dev/dri/card1", Some(("No such file", "vc4-kms-v3d")))]);
    fs::set_permissions(board.file("dev/dri/card1", ""), fs::Permissions::from_mode(0o666)).unwrap();
    board.file("sys/class/drm/card0-HDMI-A-1/status", "connected\n");
    let status = board.file("sys/class/drm/card1-HDMI-A-2/status", "disconnected\n");
    let free = ("HDMI-A-2", Some(("no screen is connected", "video=HDMI-A-1")));
    check(&found("drm:///dev/dri/card1"), &[("/dev/dri/card1", None), free]);
    fs::write(status, "connected\n").unwrap();
    check(&found("drm:///dev/dri/card1"), &[("/dev/dri/card1", None), ("card1-HDMI-A-2 has a screen", None)]);
    check(&found("ssd1306:///dev/i2c-1"), &[("/dev/i2c-1", Some(("No such file", "do_i2c 0")))]);
    let panel = found("st7789:///dev/spidev0.0?dc=25");
    check(&panel, &[("/dev/spidev0.0", Some(("No such", "do_spi 0"))), ("/dev/gpiochip0", Some(("No such", "gpio=")))]);
    check(&found("fb:///dev/fb0,ssd1306:///dev/i2c-1"), &[("/dev/fb0", None), ("i2c-1", Some(("No such", "do_i2c")))]);
}

#[test]
fn clocks_and_supplies() {
    let board = Board::new();
    let mut world = board.look();
    check(&[clock(&world)], &[("it is", None)]);
    world.year = 1970;
    check(&[clock(&world)], &[("it says 1970", Some(("wrong times", "timedatectl set-ntp true")))]);
    let mut said = |bits| {
        world.throttle = bits;
        [power(&world)]
    };
    check(&said(Throttle::Unknown), &[("does not tell", None)]);
    check(&said(Throttle::Bits(0)), &[("no under-voltage", None)]);
    check(&said(Throttle::Bits(0x5_0005)), &[("under-voltage, throttled now", Some(("4.63 V", "short cable")))]);
    check(&said(Throttle::Bits(0x1_0000)), &[("under-voltage since it was started", Some(("4.63 V", "vcgencmd")))]);
    check(&said(Throttle::Bits(0x8)), &[("hot now", Some(("too hot", "measure_temp")))]);
    board.file("sys/devices/platform/soc/soc:firmware/get_throttled", "50000\n");
    assert_eq!(board.look().throttle, Throttle::Bits(0x5_0000));
}

#[test]
fn logs_that_cannot_be_written() {
    let mounts =
        "/dev/root / ext4 rw,noatime 0 0\n/dev/sda1 /var/log ext4 ro,relatime 0 0\nx /my\\040disk vfat rw 0 0\n";
    let of = |path: &str| mount_of(mounts, Path::new(path));
    assert_eq!(of("/home/pi/exits"), Some(("/".into(), false)));
    assert_eq!(of("/var/log/exits"), Some(("/var/log".into(), true)));
    assert_eq!(of("/var/logs"), Some(("/".into(), false)));
    assert_eq!(of("/my disk/a"), Some(("/my disk".into(), false)));
    let folder = Path::new("/var/log/exits");
    check(
        &[judge(folder, of("/var/log/exits"), Some(1 << 30))],
        &[("exits", Some(("/var/log is mounted read-only", "remount,rw /var/log")))],
    );
    check(&[judge(folder, None, Some(3 << 20))], &[("exits", Some(("3 MiB are free", "du -xh")))]);
    check(&[judge(folder, None, Some(1 << 30))], &[("1024 MiB free", None)]);
    let board = Board::new();
    board.file("proc/mounts", "/dev/root / ext4 ro 0 0\n");
    let found: Vec<Check> = log(&board.look(), &settings(None, None, Some(folder))).into_iter().collect();
    check(&found, &[("exits", Some(("/ is mounted read-only", "remount,rw /")))]);
    assert_eq!(log(&board.look(), &settings(None, None, None)), None);
}
