//! Labelled pictures in the forms in which data sets are published.

mod cifar;
mod idx;
mod lists;

use std::path::Path;

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

    /// Keeps samples from `skip` on, at most `limit`.
    ///
    /// # Errors
    /// Nothing is left.
    pub fn narrow(&mut self, skip: usize, limit: Option<usize>) -> Result<()> {
        let all = self.entries.len();
        self.entries.drain(..skip.min(all));
        self.entries.truncate(limit.unwrap_or(usize::MAX));
        if self.entries.is_empty() {
            bail!("no sample is left of {all} after --skip {skip} and --limit");
        }
        Ok(())
    }

    /// A sample and its picture.
    ///
    /// # Errors
    /// A picture that cannot be read or decoded.
    pub fn sample(&self, index: usize) -> Result<(Sample, Picture)> {
        let (source, name, label) = self.entries.get(index).context("no such sample")?;
        let (content, picture) = match source {
            Source::File(path) => {
                let bytes = std::fs::read(path).with_context(|| name.clone())?;
                let picture = decode(&bytes, DecodeLimits::default()).with_context(|| name.clone())?;
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
