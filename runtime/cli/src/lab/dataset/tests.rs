use std::fs;
use std::io::Write;
use std::path::PathBuf;

use super::*;
use flate2::Compression;
use flate2::write::GzEncoder;

fn labels(count: usize) -> Vec<String> {
    (0..count).map(|class| format!("class {class}")).collect()
}

fn idx_pictures(count: u32) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, 3];
    [count, 2, 3].iter().for_each(|size| bytes.extend(size.to_be_bytes()));
    bytes.extend((0..count * 6).map(|pixel| pixel as u8));
    bytes
}

fn idx_labels(labels: &[u8]) -> Vec<u8> {
    [&[0, 0, 8, 1], (labels.len() as u32).to_be_bytes().as_slice(), labels].concat()
}

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn error(format: Format, path: &Path, truth: Option<&Path>, classes: usize) -> String {
    format!("{:#}", Dataset::open(format, path, truth, &labels(classes)).err().unwrap())
}

#[test]
fn idx_with_and_without_gzip() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t-images-idx3-ubyte.gz");
    fs::write(&path, gzipped(&idx_pictures(3))).unwrap();
    fs::write(folder.path().join("t-labels-idx1-ubyte.gz"), gzipped(&idx_labels(&[2, 0, 1]))).unwrap();
    let mut dataset = Dataset::open(Format::Idx, &path, None, &labels(3)).unwrap();
    assert_eq!(dataset.len(), 3);
    let (sample, picture) = dataset.sample(1, DecodeLimits::default()).unwrap();
    assert_eq!((sample.label, picture.width, picture.height), (Some(0), 3, 2));
    assert_eq!(&picture.rgb[..6], [6, 6, 6, 7, 7, 7]);
    dataset.narrow("2..".parse().unwrap()).unwrap();
    assert_eq!(dataset.sample(0, DecodeLimits::default()).unwrap().0.label, Some(1));
    assert!(dataset.narrow("5..".parse().unwrap()).is_err());
    assert!(error(Format::Idx, &path, None, 2).contains("#0: label 2 is no class"));
    fs::write(&path, &idx_pictures(3)[..20]).unwrap();
    assert!(error(Format::Idx, &path, None, 3).contains("3 pictures are announced, 0 are there"));
    fs::write(&path, &gzipped(&idx_pictures(300))[..40]).unwrap();
    assert!(error(Format::Idx, &path, None, 3).contains("cut off"));
    fs::write(&path, idx_pictures(2)).unwrap();
    assert!(error(Format::Idx, &path, None, 3).contains("3 labels for 2 pictures"));
    fs::write(&path, b"hello there, pictures").unwrap();
    assert!(error(Format::Idx, &path, None, 3).contains("no IDX file of pictures"));
    fs::write(&path, b"").unwrap();
    assert!(error(Format::Idx, &path, None, 3).contains("it is empty"));
}

#[test]
fn a_range_is_exactly_what_was_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t-images-idx3-ubyte");
    fs::write(&path, idx_pictures(6)).unwrap();
    let names = |range: &str| -> Result<Vec<String>> {
        let mut dataset = Dataset::open(Format::Idx, &path, None, &labels(3))?;
        dataset.narrow(range.parse().map_err(anyhow::Error::msg)?)?;
        Ok((0..dataset.len()).map(|index| dataset.name(index).rsplit('#').next().unwrap().to_owned()).collect())
    };
    assert_eq!(names("2..4").unwrap(), ["2", "3"]);
    assert_eq!(names("4..").unwrap(), ["4", "5"]);
    assert_eq!(names("..1").unwrap(), ["0"]);
    for bad in ["4..7", "6..", "3..3", "4..2"] {
        assert!(names(bad).unwrap_err().to_string().contains("has 6 samples, from 0 to 5"), "{bad}");
    }
    for bad in ["", "3", "a..b", "-1..2", "1..2..3"] {
        assert!(names(bad).unwrap_err().to_string().contains("is no range"), "{bad}");
    }
}

#[test]
fn cifar_of_both_kinds() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data.bin");
    let mut record = vec![7u8];
    record.extend([10u8; 1024].iter().chain(&[20; 1024]).chain(&[30; 1024]));
    fs::write(&path, record.repeat(2)).unwrap();
    let dataset = Dataset::open(Format::Cifar10, &path, None, &labels(10)).unwrap();
    let (sample, picture) = dataset.sample(1, DecodeLimits::default()).unwrap();
    assert_eq!((dataset.len(), sample.label, picture.width), (2, Some(7), 32));
    assert!(picture.rgb.as_chunks::<3>().0.iter().all(|pixel| *pixel == [10, 20, 30]));
    assert!(error(Format::Cifar100, &path, None, 100).contains("no whole number of records"));
    record.insert(0, 3);
    fs::write(&path, &record).unwrap();
    let dataset = Dataset::open(Format::Cifar100, &path, None, &labels(100)).unwrap();
    assert_eq!(dataset.sample(0, DecodeLimits::default()).unwrap().0.label, Some(7), "the fine label is the second");
    fs::write(&path, b"").unwrap();
    assert!(error(Format::Cifar10, &path, None, 10).contains("there are no samples"));
}

fn touch(path: &PathBuf) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, b"not decoded here").unwrap();
}

#[test]
fn folders_lists_and_imagenet() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    touch(&at("f/class 1/a.jpg"));
    touch(&at("f/0/b.png"));
    let dataset = Dataset::open(Format::Folder, &at("f"), None, &labels(3)).unwrap();
    assert_eq!(dataset.entries.iter().map(|entry| entry.2).collect::<Vec<_>>(), [Some(0), Some(1)]);
    touch(&at("f/zebra/c.png"));
    assert!(error(Format::Folder, &at("f"), None, 5).contains("zebra: no class of this name"));
    touch(&at("g/zebra/c.png"));
    touch(&at("g/ape/c.png"));
    let dataset = Dataset::open(Format::Folder, &at("g"), None, &labels(2)).unwrap();
    assert!(dataset.entries[1].1.contains("zebra") && dataset.entries[1].2 == Some(1));
    fs::write(at("list.csv"), "file,class\nf/0/b.png,1\n").unwrap();
    let dataset = Dataset::open(Format::Csv, &at("list.csv"), None, &labels(2)).unwrap();
    assert_eq!(dataset.entries[0].2, Some(1));
    assert!(format!("{:#}", dataset.sample(0, DecodeLimits::default()).unwrap_err()).contains("b.png"));
    fs::write(at("list.csv"), "file,class\nf/0/b.png,x\n").unwrap();
    assert!(error(Format::Csv, &at("list.csv"), None, 2).contains("list.csv:2:"));
    fs::write(at("truth.txt"), "ILSVRC2012_val_00000001.JPEG 1\n0\n").unwrap();
    touch(&at("v/1.JPEG"));
    assert!(error(Format::Imagenet, &at("v"), Some(&at("truth.txt")), 2).contains("2 classes for 1 pictures"));
    touch(&at("v/2.JPEG"));
    let dataset = Dataset::open(Format::Imagenet, &at("v"), Some(&at("truth.txt")), &labels(2)).unwrap();
    assert_eq!(dataset.entries[0].2, Some(1));
    assert!(error(Format::Imagenet, &at("v"), None, 2).contains("--truth"));
}
