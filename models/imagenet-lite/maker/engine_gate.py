"""Gate 3: our engine computes what onnxruntime computes, on the same files and inputs."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import numpy

from .files import MakerError
from .gates import Gallery, compare, conclude
from .images import model_inputs
from .pairfile import Model, Pair

FLOAT_LOGIT_LIMIT = 1e-3
INT8_LOGIT_LIMIT = 1.0
INT8_AGREEMENT_FLOOR = 0.95
SECONDS_A_MODEL = 600


def engine_logits(engine: Path, model_file: Path, inputs: numpy.ndarray, directory: Path) -> numpy.ndarray:
    """Logits f32 [photos, classes] out of `ENGINE model run FILE --input IN.npy --output OUT.npy`."""
    input_file, output_file = directory / "input.npy", directory / "output.npy"
    numpy.save(input_file, inputs)
    output_file.unlink(missing_ok=True)
    command = [str(engine), "model", "run", str(model_file), "--input", str(input_file), "--output", str(output_file)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS_A_MODEL, check=False)
    except subprocess.TimeoutExpired as error:
        raise MakerError(f"gate failed: engine: {model_file.name} took over {SECONDS_A_MODEL} s") from error
    except OSError as error:
        raise MakerError(f"gate failed: engine: cannot run {engine}: {error.strerror}") from error
    if done.returncode != 0 or not output_file.is_file():
        ending = f"ended with status {done.returncode}" if done.returncode else "wrote no output"
        shown = "".join(f"\n  | {line}" for line in (done.stderr or done.stdout).strip().splitlines()[-8:])
        raise MakerError(
            f"gate failed: engine: `{engine.name} model run {model_file.name}` {ending}{shown}\n"
            "  what to do: rebuild the engine with `make` and run this again"
        )
    return numpy.load(output_file, allow_pickle=False)


def _row(model: Model, reference: numpy.ndarray, found: numpy.ndarray) -> tuple[list[str], bool]:
    """One row of the table, and whether it passes."""
    if found.shape != reference.shape or found.dtype != numpy.float32 or not numpy.isfinite(found).all():
        return [model.id, f"{found.dtype} {list(found.shape)}", "", "not finite f32, or the wrong shape", ""], False
    equal, difference = compare(reference, found)
    count = len(reference)
    limit, share = (FLOAT_LOGIT_LIMIT, 1.0) if model.precision == "f32" else (INT8_LOGIT_LIMIT, INT8_AGREEMENT_FLOOR)
    passed = difference <= limit and (model.precision == "f32" or equal >= share * count)
    floor = "" if model.precision == "f32" else f"{share * count:.1f}"
    return [model.id, f"{equal}/{count}", floor, f"{difference:.5f}", f"{limit}"], passed


def engine_gate(pair: Pair, gallery: Gallery, engine: Path) -> str:
    """Every model on every photo; ties go to the first maximum on both sides."""
    rows = []
    with tempfile.TemporaryDirectory(prefix=".engine-", dir=pair.directory / "build") as name:
        for model in pair.models:
            inputs = model_inputs(gallery.paths, model, pair)
            found = engine_logits(engine, pair.directory / model.file, inputs, Path(name))
            rows.append(_row(model, gallery.logits[model.id], found))
    return conclude("engine against onnxruntime", ["model", "same class", "floor", "max |d logit|", "limit"], rows)
