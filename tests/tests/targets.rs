//! The board profiles in `targets/`: that each can be read, and does not contradict itself or the cross build.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::path::{Path, PathBuf};

use serde::Deserialize;
use tinysaver_tests::root;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Profile {
    name: String,
    #[serde(default)]
    device_tree: Vec<String>,
    triples: Vec<String>,
    oldest_glibc: Option<String>,
    cpu: Cpu,
    power: Power,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cpu {
    core: Option<String>,
    cores: Option<u32>,
    features: Vec<String>,
    kernels: String,
    emulated_as: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Power {
    sensor: String,
    modelled: Option<Modelled>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Modelled {
    idle_watts: f64,
    full_cpu_watts: Option<f64>,
    full_cpu_f32_watts: Option<f64>,
    camera_watts: Option<f64>,
    display_watts: Option<f64>,
    attached_source: Option<String>,
    source: String,
}

fn targets() -> PathBuf {
    root().join("targets")
}

fn profiles() -> Vec<(PathBuf, Profile)> {
    let files = std::fs::read_dir(targets()).unwrap().map(|entry| entry.unwrap().path());
    let files = files
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml") && !path.ends_with("Cross.toml"));
    files.map(|path| (path.clone(), read(&path))).collect()
}

fn read(path: &Path) -> Profile {
    let text = std::fs::read_to_string(path).unwrap();
    toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn every_board_has_a_profile_that_can_be_read() {
    let names: Vec<String> =
        profiles().iter().map(|(path, _)| path.file_stem().unwrap().to_string_lossy().into_owned()).collect();
    for board in ["pi-zero-2w", "pi4", "pi5", "jetson-nano", "jetson-orin", "generic-x86_64"] {
        assert!(names.iter().any(|name| name == board), "{board} is missing among {names:?}");
    }
}

#[test]
fn kernels_are_those_of_the_features() {
    for (path, profile) in profiles() {
        let has = |feature: &str| profile.cpu.features.iter().any(|other| other == feature);
        let expected = match (has("i8mm"), has("dotprod"), has("neon"), has("avx2")) {
            (true, ..) => "i8mm",
            (_, true, ..) => "dotprod",
            (_, _, true, _) => "neon",
            (.., true) => "avx2",
            _ => "scalar",
        };
        assert_eq!(profile.cpu.kernels, expected, "{}", path.display());
        assert!(profile.cpu.cores.is_none_or(|cores| (1..=16).contains(&cores)), "{}", path.display());
    }
}

#[test]
fn every_arm_target_has_a_recipe_and_an_emulated_core() {
    let recipes = std::fs::read_to_string(targets().join("cross.sh")).unwrap();
    for (path, profile) in profiles() {
        assert!(!profile.triples.is_empty() && !profile.name.is_empty(), "{}", path.display());
        let is_arm = !profile.triples.iter().all(|triple| triple.starts_with("x86_64"));
        assert_eq!(profile.device_tree.is_empty(), !is_arm, "{}", path.display());
        for triple in profile.triples.iter().filter(|triple| !triple.starts_with("x86_64")) {
            assert!(recipes.contains(&format!("  {triple})")), "{}: no recipe for {triple}", path.display());
            assert!(profile.cpu.core.is_some() && profile.cpu.emulated_as.is_some(), "{}", path.display());
        }
    }
}

/// What `make cross` links against has to be there on the oldest system that a profile names.
#[test]
fn binaries_ask_for_no_newer_glibc_than_a_board_has() {
    let version = |text: &str| -> Vec<u32> { text.split('.').map(|part| part.parse().unwrap()).collect() };
    let recipes = std::fs::read_to_string(targets().join("cross.sh")).unwrap();
    let linked = recipes.split("CROSS_GLIBC:-").nth(1).and_then(|rest| rest.split('}').next()).unwrap();
    for (path, profile) in profiles() {
        if let Some(oldest) = profile.oldest_glibc {
            assert!(version(linked) <= version(&oldest), "{}: {oldest} is older than {linked}", path.display());
        }
    }
}

#[test]
fn modelled_watts_say_where_they_come_from() {
    for (path, profile) in profiles() {
        let sensors = ["none", "pmic", "ina3221", "rapl"];
        assert!(sensors.contains(&profile.power.sensor.as_str()), "{}", path.display());
        if let Some(modelled) = profile.power.modelled {
            assert!(!modelled.source.is_empty(), "{}", path.display());
            assert!((0.05..20.0).contains(&modelled.idle_watts), "{}", path.display());
            let above_idle = |full: Option<f64>| full.is_none_or(|full| full > modelled.idle_watts && full < 100.0);
            assert!(above_idle(modelled.full_cpu_f32_watts), "{}", path.display());
            assert!(above_idle(modelled.full_cpu_watts), "{}", path.display());
            let attached = [modelled.camera_watts, modelled.display_watts];
            assert!(attached.iter().flatten().all(|watts| (0.01..5.0).contains(watts)), "{}", path.display());
            let has_source = modelled.attached_source.is_some_and(|source| !source.is_empty());
            assert_eq!(attached.iter().any(Option::is_some), has_source, "{}", path.display());
        }
    }
}
