"""build/.stamp.json: what was built from what, so that a finished build is recognised without rehashing.

Standard library only: the bootstrap reads it before any environment exists.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from .files import write_whole

SCHEMA = 1
GATES = ("photos", "int8", "engine")


@dataclass
class Stamp:
    """recipe: digest of everything the build depends on; outputs: path -> [bytes, mtime in ns];
    gates: gate -> digest of the models it passed for."""

    recipe: str = ""
    outputs: dict[str, list[int]] = field(default_factory=dict)
    gates: dict[str, str] = field(default_factory=dict)
    summary: str = ""
    schema: int = SCHEMA


def _digest(paths: list[Path], base: Path) -> str:
    digest = hashlib.sha256()
    for path in paths:
        content = path.read_bytes()
        digest.update(f"{path.relative_to(base).as_posix()} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()


def maker_files(pair_directory: Path) -> list[Path]:
    """The program that builds the pair."""
    return sorted((pair_directory / "maker").glob("*.py"))


def recipe_digest(pair_directory: Path) -> str:
    """A digest of pair.toml, the ranges, the maker and the pinned requirements."""
    models = pair_directory.parent
    paths = [models / "requirements.txt", pair_directory / "pair.toml", *maker_files(pair_directory)]
    paths += sorted((pair_directory / "ranges").glob("*.json"))
    return _digest(paths, models)


def gate_digest(pair_directory: Path, model_hashes: list[str]) -> str:
    """A digest of what a gate's verdict depends on: the built models and the maker."""
    own = _digest(maker_files(pair_directory), pair_directory)
    return hashlib.sha256("\n".join([own, *model_hashes]).encode()).hexdigest()


def _stamp_path(pair_directory: Path) -> Path:
    return pair_directory / "build" / ".stamp.json"


def read_stamp(pair_directory: Path) -> Stamp:
    """The stamp of the last build, an empty one when there is none that can be read."""
    try:
        stamp = Stamp(**json.loads(_stamp_path(pair_directory).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return Stamp()
    return stamp if stamp.schema == SCHEMA else Stamp()


def file_facts(path: Path) -> list[int]:
    """[bytes, mtime in ns]; empty when there is no such file."""
    try:
        facts = path.stat()
    except OSError:
        return []
    return [facts.st_size, facts.st_mtime_ns]


def write_stamp(pair_directory: Path, stamp: Stamp, outputs: list[Path]) -> None:
    """Record a finished build."""
    stamp.recipe = recipe_digest(pair_directory)
    stamp.outputs = {path.relative_to(pair_directory).as_posix(): file_facts(path) for path in outputs}
    write_whole(_stamp_path(pair_directory), json.dumps(asdict(stamp), indent=1).encode())


def is_current(pair_directory: Path, stamp: Stamp) -> bool:
    """Whether the outputs are those of this recipe and have not been touched since."""
    return (
        bool(stamp.outputs)
        and stamp.recipe == recipe_digest(pair_directory)
        and all(file_facts(pair_directory / name) == facts for name, facts in stamp.outputs.items())
    )


def default_engine(pair_directory: Path) -> Path:
    """Where `make` puts the binary that the engine gate runs."""
    return pair_directory.parent.parent / "target" / "release" / "tinysaver"


def engine_skipped(pair_directory: Path, engine: Path) -> str:
    """What to say while there is no binary for the engine gate."""
    repository = pair_directory.parent.parent
    shown = engine.relative_to(repository) if engine.is_relative_to(repository) else engine
    return f"engine gate: skipped, no binary at {shown}, run make"
