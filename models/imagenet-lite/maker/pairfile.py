"""pair.toml: reading it, and writing built values back into it without touching the comments."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

from .files import MakerError


@dataclass(frozen=True)
class Source:
    """A pinned package: a wheel of PyPI, or a Debian package where kind is "calibration"."""

    id: str
    kind: str
    package: str
    version: str
    file: str
    sha256: str
    licence: str


@dataclass(frozen=True)
class Model:
    """One built ONNX file. `input` is the side of the square input in pixels."""

    id: str
    file: str
    sha256: str
    bytes: int
    precision: str
    input: int
    crop_fraction: float
    macs: int
    parameters: int
    source: str

    @property
    def stem(self) -> str:
        """The name that the f32 and int8 forms share, e.g. efficientnet_lite0_160."""
        return Path(self.file).name.split(".")[0]


class Pair:
    """The parsed pair.toml of one folder."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.directory = path.parent
        document = tomllib.loads(path.read_text(encoding="utf-8"))
        if document.get("schema") != 1:
            raise MakerError(f"{path}: schema {document.get('schema')!r}, this maker knows schema 1")
        self.name: str = document["name"]
        self.default: dict = document["default"]
        self.labels: dict = document["labels"]
        self.preprocess: dict = document["preprocess"]
        self.policy: dict = document["policy"]
        self.models = [Model(**entry) for entry in document["model"]]
        self.sources = [Source(**entry) for entry in document["source"]]

    def model(self, model_id: str) -> Model:
        """The model of this id."""
        return next(model for model in self.models if model.id == model_id)

    def source(self, source_id: str) -> Source:
        """The source of this id."""
        for source in self.sources:
            if source.id == source_id:
                return source
        raise MakerError(f"{self.path}: no [[source]] with id {source_id!r}")

    def of_precision(self, precision: str) -> list[Model]:
        """The models of one precision, in the order of the file."""
        return [model for model in self.models if model.precision == precision]

    def float_form(self, model: Model) -> Model:
        """The f32 model that an int8 model was made of."""
        return next(other for other in self.of_precision("f32") if other.stem == model.stem)


def _toml_value(value: str | int) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)


def _block_spans(text: str, header: str) -> list[tuple[int, int]]:
    """Start and end offsets of the bodies under each line that is exactly `header`."""
    spans = []
    for match in re.finditer(rf"^{re.escape(header)}[ \t]*(#.*)?$", text, re.MULTILINE):
        following = re.compile(r"^\[", re.MULTILINE).search(text, match.end())
        spans.append((match.end(), following.start() if following else len(text)))
    return spans


def replace_values(text: str, header: str, identity: str | None, values: dict[str, str | int]) -> str:
    """Replace values in one table of a TOML text, line by line; comments and layout stay.

    header: "[labels]" or "[[model]]"; identity: the table's `id`, None for a single table.
    """
    for start, end in _block_spans(text, header):
        body = text[start:end]
        if identity is not None and not re.search(rf'^id\s*=\s*"{re.escape(identity)}"', body, re.MULTILINE):
            continue
        for key, value in values.items():
            line = re.compile(rf'^({re.escape(key)}[ \t]*=[ \t]*)("[^"\n]*"|[^\s#]+)', re.MULTILINE)
            body, count = line.subn(lambda found: found.group(1) + _toml_value(value), body)
            if count != 1:
                raise MakerError(f"{header} {identity or ''}: {count} lines set {key!r}, expected 1")
        return text[:start] + body + text[end:]
    raise MakerError(f"no table {header} {identity or ''}")
