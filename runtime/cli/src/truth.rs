//! Right classes, where somebody knows them: CSV files with the columns `file,class`, paths relative to the CSV file.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// The name under which a folder's right classes are found without being asked for.
const FILE_NAME: &str = "truth.csv";

/// Right class by path of the picture.
#[derive(Debug, Default)]
pub struct Truth(HashMap<PathBuf, usize>);

impl Truth {
    /// Reads the named file, or the `truth.csv` of every folder that holds one of the pictures.
    ///
    /// # Errors
    /// A file that cannot be read, or a line that is no `file,class` with a class below `classes`.
    pub fn find(named: Option<&Path>, pictures: &[PathBuf], classes: usize) -> Result<Self> {
        let mut truth = Self::default();
        if let Some(path) = named {
            truth.read(path, classes)?;
            return Ok(truth);
        }
        let mut folders: Vec<&Path> = pictures.iter().filter_map(|picture| picture.parent()).collect();
        folders.dedup();
        for path in folders.into_iter().map(|folder| folder.join(FILE_NAME)).filter(|path| path.is_file()) {
            truth.read(&path, classes)?;
        }
        Ok(truth)
    }

    /// The right class of a picture, if it is known.
    pub fn class(&self, picture: &Path) -> Option<usize> {
        self.0.get(picture).copied()
    }

    fn read(&mut self, path: &Path, classes: usize) -> Result<()> {
        let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        self.parse(path, &text, classes)
    }

    fn parse(&mut self, path: &Path, text: &str, classes: usize) -> Result<()> {
        let folder = path.parent().unwrap_or(Path::new(""));
        let mut lines = text.lines().enumerate();
        match lines.next() {
            Some((_, header)) if header.trim() == "file,class" => {}
            _ => bail!("{}:1: the first line must be `file,class`", path.display()),
        }
        for (index, line) in lines.filter(|(_, line)| !line.trim().is_empty()) {
            let entry = line.rsplit_once(',').and_then(|(file, class)| Some((file, class.trim().parse().ok()?)));
            match entry {
                Some((file, class)) if class < classes => self.0.insert(folder.join(file.trim_matches('"')), class),
                _ => bail!(
                    "{}:{}: `{line}` is no file name, comma and class from 0 to {}",
                    path.display(),
                    index + 1,
                    classes.saturating_sub(1)
                ),
            };
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_refuses() {
        let parse = |text: &str| {
            let mut truth = Truth::default();
            truth.parse(Path::new("p/truth.csv"), text, 10).map(|()| truth)
        };
        let truth = parse("file,class\na.jpg,3\n\n\"b, c.jpg\",9\n").unwrap();
        assert_eq!(truth.class(Path::new("p/a.jpg")), Some(3));
        assert_eq!(truth.class(Path::new("p/b, c.jpg")), Some(9));
        assert_eq!(truth.class(Path::new("p/d.jpg")), None);
        for (text, line) in
            [("a.jpg,3", ":1:"), ("file,class\na.jpg,10", ":2:"), ("file,class\na.jpg", ":2:"), ("", ":1:")]
        {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(line), "{text}: {error}");
        }
    }
}
