//! The pair's files, and the exit log's folder.

use std::path::{Path, PathBuf};

use tinysaver_board::free_bytes;

use super::{Check, World};
use crate::config::Settings;
use crate::pair::Pair;

/// With less room the log loses records within hours.
const LEAST_FREE_BYTES: u64 = 64 << 20;

/// Whether the pair and its default models are there and whole.
pub fn pair(settings: &Settings) -> Check {
    let load = || {
        let pair = Pair::read(&settings.pair)?;
        pair.load_labels()?;
        for entry in [pair.saver(settings.saver.as_deref())?, pair.base(settings.base.as_deref())?] {
            pair.load_model(entry)?;
        }
        anyhow::Ok(pair.name().to_owned())
    };
    match load() {
        Ok(name) => Check::fine("pair", format!("{name} ({})", settings.pair.display())),
        Err(error) => {
            let command = "make models   # or name another one with --pair";
            Check::wrong("pair", settings.pair.display().to_string(), format!("{error:#}"), command)
        }
    }
}

/// Whether the log can be written, if one is wanted.
pub fn log(world: &World, settings: &Settings) -> Option<Check> {
    let folder = &settings.log.as_ref()?.folder;
    let absolute = std::path::absolute(folder).unwrap_or_else(|_| folder.clone());
    let mounts = world.read("/proc/mounts").unwrap_or_default();
    // The folder may not exist yet: then the nearest one above it decides.
    let there = absolute.ancestors().map(|part| world.at(part)).find(|part| part.exists());
    Some(judge(folder, mount_of(&mounts, &absolute), there.as_deref().and_then(|path| free_bytes(path).ok())))
}

/// Where a path is mounted, and whether that can be written to.
pub(super) fn mount_of(mounts: &str, path: &Path) -> Option<(PathBuf, bool)> {
    let parse = |line: &str| {
        let mut fields = line.split(' ').skip(1);
        let (point, options) = (fields.next()?.replace("\\040", " "), fields.nth(1)?);
        path.starts_with(&point).then(|| (PathBuf::from(point), options.split(',').any(|option| option == "ro")))
    };
    // Of two at the same place, the later one is on top.
    mounts.lines().filter_map(parse).max_by_key(|(point, _)| point.components().count())
}

pub(super) fn judge(folder: &Path, mount: Option<(PathBuf, bool)>, free_bytes: Option<u64>) -> Check {
    let shown = folder.display().to_string();
    if let Some((point, true)) = mount {
        let why = format!("{} is mounted read-only: records would be lost", point.display());
        return Check::wrong("log", shown, why, format!("sudo mount -o remount,rw {}", point.display()));
    }
    match free_bytes {
        Some(free) if free < LEAST_FREE_BYTES => {
            let why = format!("{} MiB are free: records are lost when there are none", free >> 20);
            Check::wrong(
                "log",
                shown,
                why,
                format!("du -xh {} | sort -h | tail   # or lower [log] max_bytes", folder.display()),
            )
        }
        Some(free) => Check::fine("log", format!("{shown}, {} MiB free", free >> 20)),
        None => Check::fine("log", shown),
    }
}
