"""The photos that the gates and the demos use, out of wheels. They are never committed."""

from __future__ import annotations

import csv
import re
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from .files import MakerError, write_whole

LABELLED_PATTERN = re.compile(r"foolbox/data/(imagenet_\d+_(\d+)\.jpg)")
LABELLED_COUNT = 20
ESPRESSO, LION, CHEETAH = 967, 291, 293

# source id -> file in the wheel -> class, or None where no ImageNet class is beyond doubt
KNOWN: dict[str, dict[str, int | None]] = {
    "scikit-image": {
        "skimage/data/astronaut.png": None,
        "skimage/data/camera.png": None,
        "skimage/data/chelsea.png": None,
        "skimage/data/coffee.png": ESPRESSO,
        "skimage/data/coins.png": None,
        "skimage/data/motorcycle_left.png": None,
        "skimage/data/rocket.jpg": None,
    },
    "gradio": {
        "gradio/media_assets/images/cheetah.jpg": CHEETAH,
        "gradio/media_assets/images/cheetah1.jpg": CHEETAH,
        "gradio/media_assets/images/lion.jpg": LION,
        "gradio/media_assets/images/tower.jpg": None,
        "gradio/test_data/cheetah2.jpg": CHEETAH,
    },
}


@dataclass(frozen=True)
class Photo:
    """One photo inside a wheel; `label` is its class index, None where it has none."""

    source: str
    member: str
    folder: str
    label: int | None

    @property
    def name(self) -> str:
        """The file name it gets."""
        return PurePosixPath(self.member).name


def labelled_photos(names: list[str]) -> list[Photo]:
    """The ImageNet photos of foolbox; the class index is the last number of the file name."""
    matches = [match for name in names if (match := LABELLED_PATTERN.fullmatch(name))]
    photos = [Photo("foolbox", match.group(0), "labelled", int(match.group(2))) for match in matches]
    if len(photos) != LABELLED_COUNT or not all(0 <= photo.label < 1000 for photo in photos):
        raise MakerError(f"foolbox: {len(photos)} labelled photos, {LABELLED_COUNT} expected")
    return sorted(photos, key=lambda photo: photo.name)


def known_photos() -> list[Photo]:
    """The photos of known content."""
    listed = ((source, *item) for source, members in KNOWN.items() for item in members.items())
    return sorted((Photo(source, member, "known", label) for source, member, label in listed), key=lambda photo: photo.name)


def truth_text(photos: list[Photo]) -> bytes:
    """truth.csv: a row for each photo that has a class."""
    rows = [f"{photo.name},{photo.label}" for photo in photos if photo.label is not None]
    return ("\n".join(["file,class", *rows]) + "\n").encode()


def _same(path: Path, member: zipfile.ZipInfo) -> bool:
    """Whether a file is what the archive holds under this name (size and CRC-32)."""
    return path.is_file() and path.stat().st_size == member.file_size and zlib.crc32(path.read_bytes()) == member.CRC


def unpack(root: Path, wheel_of: Callable[[str], Path]) -> int:
    """Write all photos and both truth.csv files under `root`; returns the number of photos."""
    with zipfile.ZipFile(wheel_of("foolbox")) as archive:
        labelled = labelled_photos(archive.namelist())
    for photos in (labelled, known_photos()):
        for source in sorted({photo.source for photo in photos}):
            with zipfile.ZipFile(wheel_of(source)) as archive:
                for photo in (photo for photo in photos if photo.source == source):
                    target = root / photo.folder / photo.name
                    if not _same(target, archive.getinfo(photo.member)):
                        write_whole(target, archive.read(photo.member))
        write_whole(root / photos[0].folder / "truth.csv", truth_text(photos))
    return LABELLED_COUNT + len(known_photos())


def expected_files(root: Path) -> list[Path] | None:
    """Every file that unpack writes, or None when the labelled folder is not complete."""
    labelled = sorted((root / "labelled").glob("imagenet_*.jpg"))
    files = [*labelled, *(root / "known" / photo.name for photo in known_photos())]
    files += [root / folder / "truth.csv" for folder in ("labelled", "known")]
    return files if len(labelled) == LABELLED_COUNT and all(path.is_file() for path in files) else None


def read_photos(root: Path) -> list[tuple[Path, int | None]]:
    """(photo, class index or None) of the labelled photos, then of the known ones."""
    result: list[tuple[Path, int | None]] = []
    for folder, names in (("labelled", None), ("known", [photo.name for photo in known_photos()])):
        with open(root / folder / "truth.csv", encoding="utf-8", newline="") as stream:
            truth = {row["file"]: int(row["class"]) for row in csv.DictReader(stream)}
        result += [(root / folder / name, truth.get(name)) for name in (names or sorted(truth))]
    return result
