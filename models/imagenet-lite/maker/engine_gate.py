"""Gate 3: our engine computes what onnxruntime computes, on the same files and inputs."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import numpy

from .files import MakerError
from .gates import Gallery, compare, conclude
from .images import model_inputs
from .inference import run_model
from .pairfile import Model, Pair

# Integer arithmetic is exact: what is left is the printing of the same number.
LOGIT_LIMITS = {"f32": 1e-3, "int8": 1e-5}
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
        return [model.id, f"{found.dtype} {list(found.shape)}", "", "not finite f32, or the wrong shape"], False
    equal, difference = compare(reference, found)
    count, limit = len(reference), LOGIT_LIMITS[model.precision]
    passed = difference <= limit and equal == count
    return [model.id, f"{equal}/{count}", f"{difference:.6f}", f"{limit}"], passed


def engine_gate(pair: Pair, gallery: Gallery, engine: Path) -> str:
    """Every model on every photo; ties go to the first maximum on both sides."""
    rows = []
    with tempfile.TemporaryDirectory(prefix=".engine-", dir=pair.directory / "build") as name:
        for model in pair.models:
            inputs = model_inputs(gallery.paths, model, pair)
            file = pair.directory / model.file
            found = engine_logits(engine, file, inputs, Path(name))
            quantised = model.precision == "int8"
            reference = run_model(file.read_bytes(), inputs, fused=True) if quantised else gallery.logits[model.id]
            rows.append(_row(model, reference, found))
    return conclude("engine against onnxruntime", ["model", "same class", "max |d logit|", "limit"], rows)
