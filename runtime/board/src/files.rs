//! Pictures from the file system: one file, a folder with all that is below it, or a glob pattern.

use std::path::{Path, PathBuf};

/// Endings by which a folder's pictures are told from its other files; a file that is named outright needs none.
const ENDINGS: [&str; 4] = ["jpg", "jpeg", "png", "webp"];

/// The files of one source, sorted by path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PictureFiles {
    paths: Vec<PathBuf>,
    other_files: usize,
}

/// A source that holds no pictures.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// There is no such file or folder.
    #[error("{0}: no such file or folder")]
    Missing(PathBuf),
    /// The folder, or everything below it, holds no picture.
    #[error("{folder}: no pictures ({}) in this folder or below it{}", ENDINGS.join(", "), other(*.other_files))]
    Empty {
        /// The folder.
        folder: PathBuf,
        /// Files of other kinds in it.
        other_files: usize,
    },
    /// The pattern fits nothing.
    #[error("{0}: no file fits this pattern; quote it so that the shell leaves it alone")]
    NoMatch(String),
    /// The pattern is malformed.
    #[error("{pattern}: not a valid pattern: {detail}")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        detail: String,
    },
    /// A folder cannot be listed.
    #[error("{path}: {source}")]
    Read {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

fn other(files: usize) -> String {
    if files == 0 { String::new() } else { format!(", only {files} other files") }
}

impl PictureFiles {
    /// Finds the pictures of `source`: a path that exists is taken as it is, even with `*` in its name; otherwise
    /// `*`, `?` and `[` make it a pattern.
    ///
    /// # Errors
    /// Nothing there; see [`SourceError`].
    pub fn find(source: &str) -> Result<Self, SourceError> {
        let path = Path::new(source);
        if path.is_dir() {
            return Self::in_folder(path);
        }
        if path.exists() {
            return Ok(Self { paths: vec![path.into()], other_files: 0 });
        }
        if source.contains(['*', '?', '[']) {
            return Self::matching(source);
        }
        Err(SourceError::Missing(path.into()))
    }

    fn in_folder(folder: &Path) -> Result<Self, SourceError> {
        let mut found = Self { paths: Vec::new(), other_files: 0 };
        found.walk(folder)?;
        if found.paths.is_empty() {
            return Err(SourceError::Empty { folder: folder.into(), other_files: found.other_files });
        }
        found.paths.sort();
        Ok(found)
    }

    fn walk(&mut self, folder: &Path) -> Result<(), SourceError> {
        let read_error = |source| SourceError::Read { path: folder.into(), source };
        for entry in std::fs::read_dir(folder).map_err(read_error)? {
            let entry = entry.map_err(read_error)?;
            let kind = entry.file_type().map_err(read_error)?;
            let path = entry.path();
            // A link to a folder could lead back here; a link to a file is as good as the file.
            if kind.is_dir() {
                self.walk(&path)?;
            } else if has_picture_ending(&path) && path.is_file() {
                self.paths.push(path);
            } else {
                self.other_files += 1;
            }
        }
        Ok(())
    }

    fn matching(pattern: &str) -> Result<Self, SourceError> {
        let malformed =
            |error: glob::PatternError| SourceError::Pattern { pattern: pattern.into(), detail: error.to_string() };
        let found = glob::glob(pattern).map_err(malformed)?.filter_map(Result::ok).filter(|path| path.is_file());
        let mut paths: Vec<PathBuf> = found.collect();
        if paths.is_empty() {
            return Err(SourceError::NoMatch(pattern.into()));
        }
        paths.sort();
        Ok(Self { paths, other_files: 0 })
    }

    /// The files in order.
    #[must_use]
    pub fn paths(&self) -> &[PathBuf] {
        &self.paths
    }

    /// How many files of the folder were passed over because they have no picture's ending.
    #[must_use]
    pub fn other_files(&self) -> usize {
        self.other_files
    }
}

fn has_picture_ending(path: &Path) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str());
    ending.is_some_and(|ending| ENDINGS.iter().any(|known| known.eq_ignore_ascii_case(ending)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder of its own for each test, removed at its end.
    fn folder(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            let path = folder.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, b"x").unwrap();
        }
        folder
    }

    fn names(found: &PictureFiles, folder: &Path) -> Vec<String> {
        found.paths().iter().map(|path| path.strip_prefix(folder).unwrap().display().to_string()).collect()
    }

    #[test]
    fn walks_a_folder_in_order_and_counts_the_rest() {
        let folder = folder(&["b.jpg", "a.PNG", "deep/er/c.webp", "notes.txt", "truth.csv"]);
        let found = PictureFiles::find(folder.path().to_str().unwrap()).unwrap();
        assert_eq!(names(&found, folder.path()), ["a.PNG", "b.jpg", "deep/er/c.webp"]);
        assert_eq!(found.other_files(), 2);
    }

    #[test]
    fn a_file_needs_no_ending_and_a_pattern_needs_no_picture() {
        let folder = folder(&["photo", "one.jpg", "two.jpg", "odd[1].jpg"]);
        let find = |name: &str| PictureFiles::find(folder.path().join(name).to_str().unwrap());
        assert_eq!(names(&find("photo").unwrap(), folder.path()), ["photo"]);
        assert_eq!(names(&find("*o*").unwrap(), folder.path()), ["odd[1].jpg", "one.jpg", "photo", "two.jpg"]);
        assert_eq!(
            names(&find("odd[1].jpg").unwrap(), folder.path()),
            ["odd[1].jpg"],
            "a name that exists is no pattern"
        );
    }

    #[test]
    fn nothing_found_is_an_error_that_says_what_was_looked_for() {
        let folder = folder(&["notes.txt"]);
        let find = |name: &str| PictureFiles::find(folder.path().join(name).to_str().unwrap()).unwrap_err().to_string();
        assert!(find("").contains("no pictures (jpg, jpeg, png, webp)") && find("").contains("only 1 other files"));
        assert!(find("nowhere").contains("no such file or folder"));
        assert!(find("*.jpg").contains("no file fits this pattern"));
        assert!(find("[.jpg").contains("not a valid pattern"));
    }

    #[test]
    fn a_link_that_leads_back_does_not_go_round_for_ever() {
        let folder = folder(&["a.jpg"]);
        std::os::unix::fs::symlink(folder.path(), folder.path().join("again")).unwrap();
        assert_eq!(PictureFiles::find(folder.path().to_str().unwrap()).unwrap().paths().len(), 1);
    }
}
