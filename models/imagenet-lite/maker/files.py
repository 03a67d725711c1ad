"""Files: hashes, whole-or-nothing writes, and the error a person is to read."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

CHUNK_BYTES = 1 << 20


class MakerError(Exception):
    """An error told to the user as it is, without a traceback."""


def sha256_of(path: Path) -> str:
    """The sha256 of a file, as 64 hex digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while chunk := stream.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def has_hash(path: Path, expected: str) -> bool:
    """Whether the file exists and has this sha256."""
    return path.is_file() and sha256_of(path) == expected


def check_hash(name: str, expected: str, found: str, remedy: str) -> None:
    """Raise a loud error unless the two sha256 values are equal."""
    if expected != found:
        raise MakerError(
            f"sha256 mismatch: {name}\n"
            f"  expected {expected}\n"
            f"  found    {found}\n"
            f"  what to do: {remedy}"
        )


def partial_path(path: Path) -> Path:
    """The temporary name beside `path` that an unfinished write has."""
    return path.with_name(f".{path.name}.partial")


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that an interruption leaves the old one or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = partial_path(path)
    with open(temporary, "wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(temporary, path)
