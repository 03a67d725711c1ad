//! Pictures in files of their own, and where their right classes stand.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail, ensure};

use super::Dataset;

fn entries_of(path: &Path) -> Result<Vec<PathBuf>> {
    let read = || -> std::io::Result<Vec<PathBuf>> { fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect() };
    let mut entries = read().with_context(|| path.display().to_string())?;
    entries.sort();
    Ok(entries)
}

fn is_picture(path: &Path) -> bool {
    let extension = path.extension().map(|extension| extension.to_string_lossy().to_lowercase()).unwrap_or_default();
    path.is_file() && ["jpg", "jpeg", "png", "webp"].contains(&extension.as_str())
}

fn name_of(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// A subfolder a class: named as a class is or by its number, or else the classes in alphabetical order.
pub(super) fn folder(path: &Path, labels: &[String]) -> Result<Dataset> {
    let folders: Vec<PathBuf> = entries_of(path)?.into_iter().filter(|entry| entry.is_dir()).collect();
    ensure!(!folders.is_empty(), "{}: no subfolders; one for each class is wanted", path.display());
    let named = |folder: &PathBuf| {
        let name = name_of(folder);
        labels.iter().position(|label| *label == name).or_else(|| name.parse().ok())
    };
    let classes: Vec<Option<usize>> = folders.iter().map(named).collect();
    let known = classes.iter().flatten().count();
    let in_order = known == 0 && folders.len() == labels.len();
    if !in_order && let Some((folder, _)) = folders.iter().zip(&classes).find(|(_, class)| class.is_none()) {
        bail!(
            "{}: no class of this name or number, and {} folders are not {} classes in order",
            folder.display(),
            folders.len(),
            labels.len()
        );
    }
    let mut entries = Vec::new();
    for (index, (folder, class)) in folders.iter().zip(classes).enumerate() {
        let class = u32::try_from(class.unwrap_or(index))?;
        entries.extend(entries_of(folder)?.into_iter().filter(|file| is_picture(file)).map(|file| (file, Some(class))));
    }
    Ok(Dataset::of_files(entries))
}

/// Lines of `file,class`, paths relative to the list.
pub(super) fn csv(path: &Path) -> Result<Dataset> {
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut lines = text.lines().enumerate();
    match lines.next() {
        Some((_, header)) if header.trim() == "file,class" => {}
        _ => bail!("{}:1: the first line must be `file,class`", path.display()),
    }
    let entry = |(index, line): (usize, &str)| {
        let parsed = line.rsplit_once(',').and_then(|(file, class)| Some((file, class.trim().parse().ok()?)));
        let (file, class) = parsed
            .ok_or_else(|| anyhow!("{}:{}: `{line}` is no file name, comma and class", path.display(), index + 1))?;
        Ok((folder.join(file.trim_matches('"')), Some(class)))
    };
    let entries = lines.filter(|(_, line)| !line.trim().is_empty()).map(entry).collect::<Result<_>>()?;
    Ok(Dataset::of_files(entries))
}

/// The folder's pictures in order of their names, the list's classes in the same order. The official list counts from 1
/// in an order of its own: it has to be one in the order of the pair's labels, from 0.
pub(super) fn imagenet(path: &Path, truth: Option<&Path>) -> Result<Dataset> {
    let truth = truth.context("the imagenet form needs --truth: a list of right classes from 0, one a line")?;
    let text = fs::read_to_string(truth).with_context(|| truth.display().to_string())?;
    let class = |(index, line): (usize, &str)| {
        let cell = line.rsplit([' ', ',']).next().unwrap_or_default().trim();
        cell.parse::<u32>().map_err(|_| anyhow!("{}:{}: `{line}` is no class", truth.display(), index + 1))
    };
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let classes: Vec<u32> = lines.map(class).collect::<Result<_>>()?;
    let pictures: Vec<PathBuf> = entries_of(path)?.into_iter().filter(|file| is_picture(file)).collect();
    ensure!(
        pictures.len() == classes.len(),
        "{}: {} classes for {} pictures in {}",
        truth.display(),
        classes.len(),
        pictures.len(),
        path.display()
    );
    Ok(Dataset::of_files(pictures.into_iter().zip(classes.into_iter().map(Some)).collect()))
}
