"""Pinned packages into the cache: wheels by pip, Debian packages by apt-get; nothing is installed or imported."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from .files import MakerError, check_hash, has_hash, sha256_of
from .pairfile import Source

AGAIN = "if the package index is trusted, run the same command again; else report it and do not use the file"


def wheel_selectors(file_name: str) -> list[str]:
    """pip's arguments that choose exactly this wheel, whatever the host is.

    NAME-VERSION-PYTHON-ABI-PLATFORM.whl; a wheel for any platform needs none.
    """
    _, _, python, abi, platforms = file_name.removesuffix(".whl").split("-")
    if platforms == "any":
        return []
    selectors = ["--implementation", python[:2], "--python-version", python[2:], "--abi", abi]
    for platform in platforms.split("."):
        selectors += ["--platform", platform]
    return selectors


def _run(command: list[str], directory: Path, what: str, remedy: str) -> None:
    """Run a fetching program; its last lines are part of the error."""
    try:
        done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise MakerError(f"cannot fetch {what}: {command[0]} is not installed\n  what to do: {remedy}") from error
    if done.returncode != 0:
        lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
        shown = "\n".join(f"  | {line}" for line in lines[-8:])
        raise MakerError(f"cannot fetch {what}\n{shown}\n  what to do: {remedy}")


def _download_wheel(source: Source, directory: Path) -> None:
    pins = directory / "pins.txt"
    pins.write_text(f"{source.package}=={source.version} --hash=sha256:{source.sha256}\n", encoding="utf-8")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input"]
    command += ["--retries", "2", "--no-deps", "--require-hashes", "--only-binary=:all:"]
    command += [*wheel_selectors(source.file), "--dest", str(directory), "--requirement", str(pins)]
    remedy = "check the network (the package index must be reachable) and run the same command again"
    _run(command, directory, f"{source.package} {source.version}", remedy)


def _download_debian(source: Source, directory: Path) -> None:
    command = ["apt-get", "download", "--quiet", f"{source.package}={source.version}"]
    remedy = "only calibration needs this: run it on Debian 12 with a network, after apt-get update"
    _run(command, directory, f"the Debian package {source.package} {source.version}", remedy)


def cached(source: Source, cache: Path) -> Path:
    """Where a source lies once it is fetched."""
    return cache / source.file


def is_fetched(source: Source, cache: Path) -> bool:
    """Whether the cache holds the file with the pinned hash."""
    return has_hash(cached(source, cache), source.sha256)


def fetch(source: Source, cache: Path) -> Path:
    """Bring one source into the cache; a file that is there with the right hash is used as it is."""
    target = cached(source, cache)
    if is_fetched(source, cache):
        return target
    cache.mkdir(parents=True, exist_ok=True)
    directory = Path(tempfile.mkdtemp(prefix=".partial-", dir=cache))
    try:
        download = _download_debian if source.kind == "calibration" else _download_wheel
        download(source, directory)
        received = directory / source.file
        if not received.is_file():
            found = ", ".join(sorted(entry.name for entry in directory.iterdir() if entry.name != "pins.txt"))
            raise MakerError(f"{source.package} {source.version}: expected {source.file}, received {found or 'nothing'}")
        check_hash(source.file, source.sha256, sha256_of(received), AGAIN)
        os.replace(received, target)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    return target


def clear_partial(cache: Path) -> None:
    """Remove what killed downloads left behind."""
    for directory in cache.glob(".partial-*"):
        shutil.rmtree(directory, ignore_errors=True)
