//! Files of `/sys` and `/proc` below a root.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Longest content that is read: these files hold a word or a number.
const MAX_BYTES: u64 = 4096;

/// A tree of small text files. Paths are relative to its root.
pub trait SysTree: Send + Sync {
    /// A file's content without the white space and zeros around it.
    ///
    /// # Errors
    /// Those of the file: missing, not permitted, or a driver that has no value now.
    fn read(&self, path: &str) -> io::Result<String>;

    /// Names in a folder, sorted; none where there is no folder.
    fn list(&self, folder: &str) -> Vec<String>;

    /// The path as it would be opened.
    fn real_path(&self, path: &str) -> PathBuf;
}

/// The files of this machine, or of a tree that was copied from another one.
#[derive(Debug, Clone)]
pub struct RealTree {
    root: PathBuf,
}

impl RealTree {
    /// Below `root`, which is `/` on a board.
    #[must_use]
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }
}

impl SysTree for RealTree {
    fn read(&self, path: &str) -> io::Result<String> {
        let mut text = String::new();
        fs::File::open(self.real_path(path))?.take(MAX_BYTES).read_to_string(&mut text)?;
        Ok(trimmed(&text).to_owned())
    }

    fn list(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.real_path(folder)).into_iter().flatten().flatten();
        let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        names
    }

    fn real_path(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }
}

fn trimmed(text: &str) -> &str {
    text.trim_matches(|letter: char| letter.is_whitespace() || letter == '\0')
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;
    use std::sync::{Arc, Mutex};

    use super::*;

    /// A board's files as text: `path = content`, or `path ! error number`. It can be changed while it is used.
    #[derive(Clone, Default)]
    pub(crate) struct RecordedTree(Arc<Mutex<BTreeMap<String, Result<String, i32>>>>);

    impl RecordedTree {
        pub(crate) fn parse(text: &str) -> Self {
            let tree = Self::default();
            for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
                match line.split_once(" ! ") {
                    Some((path, error)) => tree.fail(path, error.parse().unwrap()),
                    None => {
                        let (path, content) = line.split_once(" = ").unwrap_or_else(|| panic!("{line}"));
                        tree.set(path, content);
                    }
                }
            }
            tree
        }

        pub(crate) fn set(&self, path: &str, content: &str) {
            self.0.lock().unwrap().insert(path.to_owned(), Ok(content.to_owned()));
        }

        pub(crate) fn fail(&self, path: &str, error: i32) {
            self.0.lock().unwrap().insert(path.to_owned(), Err(error));
        }

        pub(crate) fn remove(&self, path: &str) {
            self.0.lock().unwrap().remove(path);
        }
    }

    impl SysTree for RecordedTree {
        fn read(&self, path: &str) -> io::Result<String> {
            match self.0.lock().unwrap().get(path) {
                Some(Ok(content)) => Ok(trimmed(content).to_owned()),
                Some(Err(error)) => Err(io::Error::from_raw_os_error(*error)),
                None => Err(io::ErrorKind::NotFound.into()),
            }
        }

        fn list(&self, folder: &str) -> Vec<String> {
            let tree = self.0.lock().unwrap();
            let below = tree.keys().filter_map(|path| path.strip_prefix(folder)?.strip_prefix('/'));
            let mut names: Vec<String> = below.filter_map(|path| path.split('/').next().map(str::to_owned)).collect();
            names.dedup();
            names
        }

        fn real_path(&self, path: &str) -> PathBuf {
            Path::new("/no/such/tree").join(path)
        }
    }

    #[test]
    fn real_files_are_read_without_what_is_around_them() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("proc/device-tree")).unwrap();
        fs::write(root.path().join("proc/device-tree/model"), "Raspberry Pi 5\0\n").unwrap();
        fs::write(root.path().join("proc/device-tree/big"), "1".repeat(10_000)).unwrap();
        let tree = RealTree::new(root.path());
        assert_eq!(tree.read("proc/device-tree/model").unwrap(), "Raspberry Pi 5");
        assert_eq!(tree.read("proc/device-tree/big").unwrap().len(), 4096);
        assert_eq!(tree.list("proc/device-tree"), ["big", "model"]);
        assert_eq!(tree.list("sys"), Vec::<String>::new());
        assert!(tree.read("sys").is_err());
    }
}
