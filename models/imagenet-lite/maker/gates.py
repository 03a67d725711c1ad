"""The gates: known photos come out right, int8 agrees with f32. A gate that fails ends the build."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy

from .files import MakerError
from .images import model_inputs
from .inference import run_model, softmax
from .pairfile import Model, Pair
from .photos import read_photos

# model stem -> fewest of the 20 labelled photos that must be right, f32 and int8 alike
LABELLED_FLOORS = {
    "efficientnet_lite0_96": 7,
    "efficientnet_lite0_128": 13,
    "efficientnet_lite0_160": 16,
    "efficientnet_lite0_224": 17,
    "efficientnet_lite1_240": 17,
    "efficientnet_lite2_260": 17,
}
KNOWN_WRONG_ALLOWED = 1
AGREEMENT_FLOOR = 0.85
LARGEST_LOGIT_DIFFERENCE = 5.0  # a sanity limit: a broken file is off by far more


@dataclass
class Gallery:
    """The photos of the build with the logits of every model on them."""

    paths: list[Path]
    truth: list[int | None]
    logits: dict[str, numpy.ndarray]  # model id -> f32 [photos, classes]

    def labelled(self, folder: str) -> list[int]:
        """Positions of the photos of one folder that have a class."""
        return [
            position
            for position, (path, label) in enumerate(zip(self.paths, self.truth))
            if label is not None and path.parent.name == folder
        ]

    def right(self, model: Model, folder: str) -> tuple[int, int]:
        """(photos whose first maximum is the true class, photos with a class) in one folder."""
        positions = self.labelled(folder)
        best = self.logits[model.id].argmax(axis=1)
        return sum(int(best[position] == self.truth[position]) for position in positions), len(positions)


def run_gallery(pair: Pair) -> Gallery:
    """Every photo through every model, once."""
    photos = read_photos(pair.directory / "build" / "photos")
    gallery = Gallery([path for path, _ in photos], [label for _, label in photos], {})
    inputs: dict[tuple[int, float], numpy.ndarray] = {}
    for model in pair.models:
        shape = (model.input, model.crop_fraction)
        if shape not in inputs:
            inputs[shape] = model_inputs(gallery.paths, model, pair)
        gallery.logits[model.id] = run_model((pair.directory / model.file).read_bytes(), inputs[shape])
    return gallery


def table(header: list[str], rows: list[list[str]]) -> str:
    """Columns of text, the first to the left, the others to the right."""
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    lines = (
        "  ".join([row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:]))])
        for row in [header, *rows]
    )
    return "\n".join(f"    {line.rstrip()}" for line in lines)


def conclude(title: str, header: list[str], rows: list[tuple[list[str], bool]]) -> str:
    """The table of a gate; raises with the table when a row fails."""
    text = table([*header, ""], [[*cells, "ok" if passed else "FAILED"] for cells, passed in rows])
    failed = [cells[0] for cells, passed in rows if not passed]
    if failed:
        raise MakerError(f"gate failed: {title}: {', '.join(failed)}\n{text}")
    return text


def photos_gate(pair: Pair, gallery: Gallery) -> str:
    """Gate 1: the labelled and the known photos come out right."""
    rows = []
    for model in pair.models:
        right, count = gallery.right(model, "labelled")
        known_right, known_count = gallery.right(model, "known")
        floor = LABELLED_FLOORS[model.stem]
        passed = right >= floor and known_right >= known_count - KNOWN_WRONG_ALLOWED
        cells = [model.id, f"{right}/{count}", f"{floor}", f"{known_right}/{known_count}"]
        rows.append(([*cells, f"{known_count - KNOWN_WRONG_ALLOWED}"], passed))
    return conclude("known photos", ["model", "labelled", "floor", "known", "floor"], rows)


def compare(float_logits: numpy.ndarray, int8_logits: numpy.ndarray) -> tuple[int, float]:
    """(photos with the same first maximum, largest absolute difference of a logit)."""
    equal = int((float_logits.argmax(axis=1) == int8_logits.argmax(axis=1)).sum())
    return equal, float(numpy.abs(float_logits - int8_logits).max())


def int8_gate(pair: Pair, gallery: Gallery) -> str:
    """Gate 2: every int8 model answers like its f32 form."""
    rows = []
    for model in pair.of_precision("int8"):
        equal, difference = compare(gallery.logits[pair.float_form(model).id], gallery.logits[model.id])
        count = len(gallery.paths)
        passed = equal >= AGREEMENT_FLOOR * count and difference <= LARGEST_LOGIT_DIFFERENCE
        cells = [model.id, f"{equal}/{count}", f"{AGREEMENT_FLOOR * count:.1f}", f"{difference:.2f}"]
        rows.append(([*cells, f"{LARGEST_LOGIT_DIFFERENCE}"], passed))
    return conclude("int8 against f32", ["model", "same class", "floor", "max |d logit|", "limit"], rows)


def describe_default(pair: Pair, gallery: Gallery) -> str:
    """One line: the default pair with the uncalibrated threshold on the labelled photos."""
    saver, base = pair.model(pair.default["saver"]), pair.model(pair.default["base"])
    positions = gallery.labelled("labelled")
    truth = numpy.array([gallery.truth[position] for position in positions])
    small, large = (gallery.logits[model.id][positions] for model in (saver, base))
    leaves = softmax(small, pair.policy["temperature"]).max(axis=1) > pair.policy["threshold"]
    answers = numpy.where(leaves, small.argmax(axis=1), large.argmax(axis=1))
    right = int((answers == truth).sum())
    return (
        f"{saver.id} before {base.id}, threshold {pair.policy['threshold']}: "
        f"{right} of {len(truth)} right, {int(leaves.sum())} of {len(truth)} answered by the saver"
    )
