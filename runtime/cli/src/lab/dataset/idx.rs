//! IDX, the form of MNIST, Fashion-MNIST, KMNIST and their kin: a magic number, sizes, bytes; often gzipped.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use flate2::read::MultiGzDecoder;

use super::{Dataset, Layout, Source};

/// Unsigned bytes, and so many dimensions.
const PICTURES: u32 = 0x0803;
const LABELS: u32 = 0x0801;

/// A file may become at most so many bytes: the largest of the family has 60,000 pictures of 28 x 28.
const MOST_BYTES: u64 = 2 << 30;

pub(super) fn open(path: &Path, truth: Option<&Path>) -> Result<Dataset> {
    let bytes = read(path)?;
    let name = path.display();
    let [count, height, width] =
        header(&bytes, PICTURES).with_context(|| format!("{name}: no IDX file of pictures"))?;
    ensure!(
        width > 0 && height > 0 && width <= 4096 && height <= 4096,
        "{name}: pictures of {width} x {height} pixels"
    );
    let size = width as usize * height as usize;
    let there = bytes.len().saturating_sub(16) / size;
    ensure!(
        there == count as usize && (bytes.len() - 16) % size == 0,
        "{name}: {count} pictures are announced, {there} are there: it was cut off or is damaged"
    );
    let labels = match truth.map(Path::to_owned).or_else(|| beside(path)) {
        Some(path) => Some(labels(&path, count)?),
        None => None,
    };
    let entry = |index: usize| {
        let label = labels.as_ref().and_then(|labels| labels.get(index)).map(|label| u32::from(*label));
        (Source::Pixels(16 + index * size), format!("{name}#{index}"), label)
    };
    let entries = (0..count as usize).map(entry).collect();
    Ok(Dataset { entries, bytes, width, height, layout: Layout::Grey })
}

/// `t10k-images-idx3-ubyte.gz` has `t10k-labels-idx1-ubyte.gz` beside it.
fn beside(path: &Path) -> Option<PathBuf> {
    let name = path.file_name()?.to_str()?;
    let other = path.with_file_name(name.replace("images", "labels").replace("idx3", "idx1"));
    (other != path && other.is_file()).then_some(other)
}

fn labels(path: &Path, count: u32) -> Result<Vec<u8>> {
    let name = path.display();
    let mut bytes = read(path)?;
    let [announced] = header(&bytes, LABELS).with_context(|| format!("{name}: no IDX file of labels"))?;
    ensure!(
        announced as usize == bytes.len() - 8,
        "{name}: {announced} labels are announced, {} are there: it was cut off or is damaged",
        bytes.len() - 8
    );
    ensure!(announced == count, "{name}: {announced} labels for {count} pictures");
    Ok(bytes.split_off(8))
}

/// The sizes after the magic number.
fn header<const N: usize>(bytes: &[u8], magic: u32) -> Result<[u32; N]> {
    let (words, _) = bytes.as_chunks::<4>();
    let mut words = words.iter().map(|word| u32::from_be_bytes(*word));
    match words.next() {
        Some(found) if found == magic => {}
        Some(found) => bail!("it begins with {found:#010x}, not with {magic:#010x}"),
        None => bail!("it is empty"),
    }
    let mut sizes = [0; N];
    for size in &mut sizes {
        *size = words.next().context("it was cut off")?;
    }
    Ok(sizes)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let name = || path.display().to_string();
    let bytes = fs::read(path).with_context(name)?;
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return Ok(bytes);
    }
    let mut unpacked = Vec::new();
    let read = MultiGzDecoder::new(bytes.as_slice()).take(MOST_BYTES).read_to_end(&mut unpacked);
    read.with_context(|| format!("{}: damaged or cut off", name()))?;
    Ok(unpacked)
}
