//! CIFAR's binary form: one or two label bytes, then 32 x 32 red, green and blue bytes.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::{Dataset, Layout, Source};

const SIDE: u32 = 32;
const PIXELS: usize = 3 * 32 * 32;

/// The last of the label bytes is the fine one.
pub(super) fn open(path: &Path, label_bytes: usize) -> Result<Dataset> {
    let name = path.display();
    let bytes = fs::read(path).with_context(|| name.to_string())?;
    let record = label_bytes + PIXELS;
    ensure!(
        bytes.len() % record == 0,
        "{name}: {} bytes are no whole number of records of {record}: it was cut off or is another form",
        bytes.len()
    );
    let entry = |(index, bytes): (usize, &[u8])| {
        let label = bytes.get(label_bytes - 1).map(|label| u32::from(*label));
        (Source::Pixels(index * record + label_bytes), format!("{name}#{index}"), label)
    };
    let entries = bytes.chunks_exact(record).enumerate().map(entry).collect();
    Ok(Dataset { entries, bytes, width: SIDE, height: SIDE, layout: Layout::Planes })
}
