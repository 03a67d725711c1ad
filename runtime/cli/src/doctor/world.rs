//! What the doctor looks at: a tree of files, who asks, the date, and what cameras say of themselves.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use jiff::Zoned;
use tinysaver_board::{Throttle, list_cameras};

/// The board as it is, or as it was recorded.
#[derive(Debug, Clone)]
pub struct World {
    pub(super) root: PathBuf,
    user: Option<u32>,
    groups: Vec<u32>,
    pub(super) year: i16,
    /// Path and problem of each camera that answers but cannot be used; its path alone for one that can.
    pub(super) cameras: Vec<(PathBuf, Option<String>)>,
    pub(super) throttle: Throttle,
}

impl World {
    /// Looks below `root`; cameras are asked only where that is `/`.
    pub fn look(root: &Path) -> Self {
        let status = fs::read_to_string(root.join("proc/self/status")).unwrap_or_default();
        let numbers = |key: &str| -> Vec<u32> {
            let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
            line.split_whitespace().filter_map(|number| number.parse().ok()).collect()
        };
        // Real, effective, saved, file system.
        let (users, own_groups) = (numbers("Uid:"), numbers("Gid:"));
        let is_this_board = root == Path::new("/");
        let throttle = match Throttle::read(root) {
            Throttle::Unknown if is_this_board => ask_firmware().unwrap_or_default(),
            known => known,
        };
        Self {
            root: root.into(),
            user: users.get(1).copied(),
            groups: own_groups.get(1).copied().into_iter().chain(numbers("Groups:")).collect(),
            year: Zoned::now().year(),
            cameras: if is_this_board { ask_cameras() } else { Vec::new() },
            throttle,
        }
    }

    /// A path as the board names it, below the root.
    pub(super) fn at(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    pub(super) fn read(&self, path: impl AsRef<Path>) -> Option<String> {
        let text = fs::read(self.at(path)).ok()?;
        // The device tree ends its texts with a zero.
        Some(String::from_utf8_lossy(&text).trim_end_matches(['\0', '\n']).to_owned())
    }

    /// Paths below the root that match, as the board names them, in order.
    pub(super) fn find(&self, pattern: &str) -> Vec<PathBuf> {
        let pattern = self.at(pattern);
        let found = pattern.to_str().and_then(|pattern| glob::glob(pattern).ok());
        let mut found: Vec<PathBuf> = found.into_iter().flatten().flatten().collect();
        // By number where there is one: video10 comes after video2.
        found.sort_by_key(|path| (path.as_os_str().len(), path.clone()));
        found.iter().filter_map(|path| Some(Path::new("/").join(path.strip_prefix(&self.root).ok()?))).collect()
    }

    /// Whether the file's mode lets this user read and write it.
    pub(super) fn may_use(&self, file: &Metadata) -> bool {
        let Some(user) = self.user else { return true };
        let shift = match file {
            _ if user == 0 => return true,
            file if file.uid() == user => 6,
            file if self.groups.contains(&file.gid()) => 3,
            _ => 0,
        };
        file.mode() >> shift & 0o6 == 0o6
    }

    /// The group that would give access, by name.
    pub(super) fn group_of(&self, file: &Metadata) -> String {
        let groups = self.read("/etc/group").unwrap_or_default();
        let mut lines = groups.lines().map(|line| line.split(':').collect::<Vec<_>>());
        let id = file.gid().to_string();
        let found = lines.find_map(|line| match line.as_slice() {
            [name, _, number, ..] if *number == id => Some((*name).to_owned()),
            _ => None,
        });
        found.unwrap_or(id)
    }

    /// Programs that hold a node open: name and process.
    pub(super) fn users_of(&self, node: &Path) -> Vec<(String, u32)> {
        let mut users = Vec::new();
        for link in self.find("/proc/[0-9]*/fd/*") {
            if fs::read_link(self.at(&link)).ok().as_deref() != Some(node) {
                continue;
            }
            let Some(process) = link.components().nth(2).and_then(|part| part.as_os_str().to_str()?.parse().ok())
            else {
                continue;
            };
            let name = self.read(format!("/proc/{process}/comm")).unwrap_or_else(|| "a program".into());
            if process != std::process::id() && !users.contains(&(name.clone(), process)) {
                users.push((name, process));
            }
        }
        users
    }

    /// Whether a program is installed.
    pub(super) fn has_program(&self, name: &str) -> bool {
        ["/usr/local/bin", "/usr/bin", "/bin"].iter().any(|folder| self.at(Path::new(folder).join(name)).exists())
    }
}

fn ask_cameras() -> Vec<(PathBuf, Option<String>)> {
    let listed = list_cameras().map(|(cameras, _)| cameras).unwrap_or_default();
    listed.into_iter().map(|camera| (camera.path, camera.problem.map(|problem| problem.to_string()))).collect()
}

/// Older kernels have no file for it, but a program that asks: `throttled=0x50005`.
fn ask_firmware() -> Option<Throttle> {
    let output = std::process::Command::new("vcgencmd").arg("get_throttled").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let digits = text.trim().strip_prefix("throttled=0x")?;
    u32::from_str_radix(digits, 16).ok().map(Throttle::Bits)
}
