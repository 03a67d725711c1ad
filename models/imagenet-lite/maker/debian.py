"""Calibration photos out of Debian packages (maintainers only)."""

from __future__ import annotations

import os
import random
import struct
import subprocess
import zlib
from pathlib import Path

import numpy
from PIL import Image

from .files import MakerError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".webp", ".png")
SHORTEST_SIDE = 160
# the activities of GCompris whose pictures are photos, apart from icons (small or with transparency)
GCOMPRIS_PHOTO_ACTIVITIES = (
    "categorization",
    "details",
    "erase",
    "explore_farm_animals",
    "explore_monuments",
    "explore_world_animals",
    "explore_world_music",
)
THUMBNAIL_SIDE = 16
SAME_PICTURE_DIFFERENCE = 6.0
FLAG_COMPRESSED, FLAG_DIRECTORY = 1, 2


class ResourceFile:
    """A Qt binary resource file (.rcc): a tree of names over zlib-compressed data, all big-endian."""

    def __init__(self, content: bytes) -> None:
        if content[:4] != b"qres":
            raise MakerError("not a Qt resource file")
        version, self.tree, self.data, self.names = struct.unpack(">4i", content[4:20])
        self.entry_bytes = 22 if version >= 2 else 14
        self.content = content

    def _name(self, offset: int) -> str:
        start = self.names + offset
        (length,) = struct.unpack_from(">H", self.content, start)
        return self.content[start + 6 : start + 6 + 2 * length].decode("utf-16-be")

    def files(self, entry: int = 0, folder: str = "") -> list[tuple[str, bytes]]:
        """Every file under one entry: (path, content)."""
        start = self.tree + entry * self.entry_bytes
        name_offset, flags = struct.unpack_from(">IH", self.content, start)
        path = f"{folder}/{self._name(name_offset)}" if entry else ""
        if flags & FLAG_DIRECTORY:
            count, first = struct.unpack_from(">II", self.content, start + 6)
            return [file for child in range(first, first + count) for file in self.files(child, path)]
        (offset,) = struct.unpack_from(">I", self.content, start + 10)
        (length,) = struct.unpack_from(">I", self.content, self.data + offset)
        begin = self.data + offset + 4
        content = self.content[begin : begin + length]
        return [(path, zlib.decompress(content[4:]) if flags & FLAG_COMPRESSED else content)]


def unpack_package(package: Path, directory: Path) -> None:
    """Unpack a .deb and the photos inside its .rcc files; nothing is installed."""
    subprocess.run(["dpkg-deb", "-x", str(package), str(directory)], check=True)
    for resource in sorted(directory.rglob("*.rcc")):
        if resource.stem not in GCOMPRIS_PHOTO_ACTIVITIES:
            continue
        for path, content in ResourceFile(resource.read_bytes()).files():
            if path.lower().endswith(IMAGE_SUFFIXES):
                target = directory / "rcc" / path.lstrip("/")
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content)


def _thumbnail(path: Path) -> numpy.ndarray | None:
    """u8 [16, 16, 3] as int16 for comparing; None for what is no photo of a useful size."""
    try:
        with Image.open(path) as image:
            if min(image.size) < SHORTEST_SIDE or image.mode not in ("RGB", "L"):
                return None
            image.draft("RGB", (256, 256))
            small = image.convert("RGB").resize((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.BOX)
    except (OSError, ValueError):
        return None
    return numpy.asarray(small).astype(numpy.int16)


def distinct_photos(root: Path) -> list[Path]:
    """Photos under `root`, each picture once, in a fixed shuffled order."""
    found = sorted(
        Path(folder) / name
        for folder, _, names in os.walk(root)
        for name in names
        if name.lower().endswith(IMAGE_SUFFIXES) and "screenshot" not in name
    )
    kept: list[Path] = []
    thumbnails: list[numpy.ndarray] = []
    for path in found:
        thumbnail = None if path.is_symlink() else _thumbnail(path)
        if thumbnail is None:
            continue
        if any(numpy.abs(thumbnail - other).mean() < SAME_PICTURE_DIFFERENCE for other in thumbnails):
            continue
        kept.append(path)
        thumbnails.append(thumbnail)
    random.Random(0).shuffle(kept)
    return kept
