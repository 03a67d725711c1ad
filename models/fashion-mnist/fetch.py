#!/usr/bin/env python3
"""Fetches Fashion-MNIST: python3 models/fashion-mnist/fetch.py

Takes the Debian (and Ubuntu) package dataset-fashion-mnist apart with apt-get and dpkg-deb, installs nothing and needs no
root; checks every file's SHA-256. Where there is no apt, put the four files of the data set into data/ by hand: they are
checked the same way. Standard library only.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

DATA = Path(__file__).resolve().parent / "data"
PACKAGE = "dataset-fashion-mnist"
FILES = {
    "train-images-idx3-ubyte.gz": "b0564c3eedabfbf835052cff8503ea422014ce006caf5b757f851416ee8300c7",
    "train-labels-idx1-ubyte.gz": "0ae29f65d86684f32d1b9c85147786c547b9c6aebcaf235f0400a0cce308b056",
    "t10k-images-idx3-ubyte.gz": "cc1d090a38ace84dfa1aa66e3ada7c336ef481a96936906477e6dd344da56eaa",
    "t10k-labels-idx1-ubyte.gz": "8d3605d196f4be44669e46906da9733c8131fef761fdbfec72c424d5222f1a05",
}


def fail(message: str) -> None:
    """End with a message and exit status 1."""
    print(f"error: {message}", file=sys.stderr)
    sys.exit(1)


def differing() -> list[str]:
    """Files that are missing or not what they should be."""
    right = lambda path, digest: path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == digest
    return [name for name, digest in FILES.items() if not right(DATA / name, digest)]


def fetch(folder: Path) -> None:
    """Unpacks the package and moves its files into data/."""
    by_hand = f"{PACKAGE} could not be fetched with apt-get; put {', '.join(FILES)} into {DATA} by hand"
    if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
        fail(by_hand)
    done = subprocess.run(["apt-get", "download", "-q", PACKAGE], cwd=folder, capture_output=True, text=True, check=False)
    packages = list(folder.glob("*.deb"))
    if done.returncode or not packages:
        reason = (done.stderr.strip().splitlines() or ["no package came"])[-1]
        fail(f"{reason}\n  {by_hand}, or run `apt-get update` as root first")
    subprocess.run(["dpkg-deb", "-x", packages[0], folder / "unpacked"], check=True)
    for path in (folder / "unpacked").rglob("*-ubyte.gz"):
        shutil.copyfile(path, DATA / path.name)


def main() -> None:
    """Fetches what is missing."""
    if not differing():
        print("fashion-mnist: the data set is there")
        return
    DATA.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        fetch(Path(folder))
    if wrong := differing():
        fail(f"{', '.join(wrong)} in {DATA}: not the published files (SHA-256 differs)")
    print("fashion-mnist: 60,000 training and 10,000 test pictures are in models/fashion-mnist/data")


if __name__ == "__main__":
    main()
