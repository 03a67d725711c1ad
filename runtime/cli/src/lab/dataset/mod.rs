//! Labelled pictures in the forms in which data sets are published.

mod cifar;
mod idx;
mod lists;

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use tinysaver_board::{DecodeLimits, Picture, decode};

use crate::lab::records::{Sample, content_of};

/// The forms that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Format {
    /// A folder with a subfolder of pictures for each class
    Folder,
    /// A CSV file with the columns file,class
    Csv,
    /// IDX files of the MNIST family, also .gz: the pictures' file; the labels' lies beside it or is named with --truth
    Idx,
    /// A binary file of CIFAR-10
    Cifar10,
    /// A binary file of CIFAR-100 (fine labels)
    Cifar100,
    /// ImageNet's validation folder; --truth names the list of right classes, one a line
    Imagenet,
}

/// Where a picture comes from.
enum Source {
    /// Coded, in a file of its own.
    File(std::path::PathBuf),
    /// Pixels in the data set's bytes.
    Pixels(usize),
}

/// How pixels lie in a data set's bytes.
#[derive(Debug, Clone, Copy)]
enum Layout {
    /// One byte a pixel.
    Grey,
    /// All red, then all green, then all blue.
    Planes,
}

/// Which samples of a data set, counted from 0 in its own order: `50000..60000`, `50000..` or `..1000`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SampleRange {
    from: usize,
    to: Option<usize>,
}

impl FromStr for SampleRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wanted = || format!("`{text}` is no range; FROM..TO is wanted, such as 50000..60000, 50000.. or ..1000");
        let (from, to) = text.split_once("..").ok_or_else(wanted)?;
        let number = |digits: &str| digits.parse::<usize>().map_err(|_| wanted());
        let from = if from.is_empty() { 0 } else { number(from)? };
        let to = if to.is_empty() { None } else { Some(number(to)?) };
        Ok(Self { from, to })
    }
}

impl fmt::Display for SampleRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let to = self.to.map_or_else(String::new, |to| to.to_string());
        write!(f, "{}..{to}", self.from)
    }
}

/// Pictures and their right classes.
pub struct Dataset {
    entries: Vec<(Source, String, Option<u32>)>,
    bytes: Vec<u8>,
    width: u32,
    height: u32,
    layout: Layout,
}

impl Dataset {
    /// Opens a data set; `labels` are the pair's class names.
    ///
    /// # Errors
    /// It is not there, is not of this form, is cut off, holds nothing or a label out of range.
    pub fn open(format: Format, path: &Path, truth: Option<&Path>, labels: &[String]) -> Result<Self> {
        let dataset = match format {
            Format::Folder => lists::folder(path, labels),
            Format::Csv => lists::csv(path),
            Format::Imagenet => lists::imagenet(path, truth),
            Format::Idx => idx::open(path, truth),
            Format::Cifar10 => cifar::open(path, 1),
            Format::Cifar100 => cifar::open(path, 2),
        }?;
        if dataset.entries.is_empty() {
            bail!("{}: it is empty: there are no samples", path.display());
        }
        for (_, name, label) in &dataset.entries {
            if let Some(label) = label.filter(|label| *label as usize >= labels.len()) {
                bail!("{name}: label {label} is no class: there are {}, from 0", labels.len());
            }
        }
        Ok(dataset)
    }

    fn of_files(entries: Vec<(std::path::PathBuf, Option<u32>)>) -> Self {
        let entry = |(path, label): (std::path::PathBuf, Option<u32>)| {
            let name = path.display().to_string();
            (Source::File(path), name, label)
        };
        let entries = entries.into_iter().map(entry).collect();
        Self { entries, bytes: Vec::new(), width: 0, height: 0, layout: Layout::Grey }
    }

    /// How many samples there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// What a sample is called.
    pub fn name(&self, index: usize) -> &str {
        self.entries.get(index).map_or("", |(_, name, _)| name)
    }

    /// Keeps the samples from `range.from` on, up to but without `range.to`.
    ///
    /// # Errors
    /// The data set ends before the range does: a split that silently became smaller would be another split.
    pub fn narrow(&mut self, range: SampleRange) -> Result<()> {
        let all = self.entries.len();
        let to = range.to.unwrap_or(all);
        if to > all || range.from >= to {
            bail!("--range {range}: the data set has {all} samples, from 0 to {}", all.saturating_sub(1));
        }
        self.entries.truncate(to);
        self.entries.drain(..range.from);
        Ok(())
    }

    /// The right class of a sample, where it is known.
    pub fn label(&self, index: usize) -> Option<u32> {
        self.entries.get(index).and_then(|(_, _, label)| *label)
    }

    /// A sample and its picture.
    ///
    /// # Errors
    /// A picture that cannot be read or decoded.
    pub fn sample(&self, index: usize, limits: DecodeLimits) -> Result<(Sample, Picture)> {
        let (source, name, label) = self.entries.get(index).context("no such sample")?;
        let (content, picture) = match source {
            Source::File(path) => {
                let bytes = std::fs::read(path).with_context(|| name.clone())?;
                let picture = decode(&bytes, limits).with_context(|| name.clone())?;
                (content_of(&bytes), picture)
            }
            Source::Pixels(at) => {
                let pixels = self.pixels(*at).with_context(|| name.clone())?;
                (content_of(pixels), self.picture(pixels))
            }
        };
        Ok((Sample { name: name.clone(), content, label: *label }, picture))
    }

    fn pixels(&self, at: usize) -> Result<&[u8]> {
        let planes = match self.layout {
            Layout::Grey => 1,
            Layout::Planes => 3,
        };
        let bytes = self.width as usize * self.height as usize * planes;
        self.bytes.get(at..at.saturating_add(bytes)).context("cut off")
    }

    fn picture(&self, pixels: &[u8]) -> Picture {
        let rgb = match self.layout {
            Layout::Grey => pixels.iter().flat_map(|grey| [*grey; 3]).collect(),
            Layout::Planes => {
                let (red, rest) = pixels.split_at(pixels.len() / 3);
                let (green, blue) = rest.split_at(red.len());
                red.iter().zip(green).zip(blue).flat_map(|((red, green), blue)| [*red, *green, *blue]).collect()
            }
        };
        Picture { width: self.width, height: self.height, rgb }
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
