#!/usr/bin/env python3
"""Every coverage model through this engine and through onnxruntime, on random pictures and on the demo photos.

    python3 models/coverage/check.py [--engine BINARY] [--only NAME,...] [--figures FOLDER]

Builds what is missing into `build/` beside this file (random weights, fixed seed; a few minutes and 600 MB), adds the
real int8 files of the pair, and compares logits. The reference is onnxruntime with its own optimisations, one thread and
`session.x64quantprecision`, without which its kernels saturate on x86 without VNNI. Differences are told in steps of the
output's quantisation. Ends with status 1 if a quantised model is not run by the int8 engine or one differs by more than is stated.
"""

from __future__ import annotations

import argparse
import collections
import datetime
import json
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PAIR = ROOT / "models" / "imagenet-lite"
sys.path[:0] = [str(HERE), str(PAIR)]

import forms  # noqa: E402
import numpy  # noqa: E402
import onnx  # noqa: E402
import onnxruntime  # noqa: E402
from nets import NETS, Graph  # noqa: E402
from onnx import numpy_helper  # noqa: E402
from PIL import Image  # noqa: E402

RANDOM_PICTURES = 16
SECONDS_A_MODEL = 600
TOP1_AGREEMENT = 0.995
ALL_NETS_FORMS = ["qdq_u8", "qop_u8"]
MORE_FORMS = {
    "qdq_s8": ["mobilenet_v2", "mobilenet_v3_small", "resnet18", "shufflenet_v2", "squeezenet_1_1"],
    "qop_s8": ["mobilenet_v1", "resnet18", "shufflenet_v2", "squeezenet_1_1"],
    "qdq_u8_tensor": ["mobilenet_v1", "mobilenet_v3_large", "resnet8"],
    "torch": ["efficientnet_b0", "mobilenet_v2", "mobilenet_v3_small_product", "regnet_y_400mf", "resnet8",
              "shufflenet_v2"],
    "f32": list(NETS),
}
# Where outputs may differ from onnxruntime's: steps, least share of equal top-1, why. Everywhere else they are equal.
LOOSE = {
    "qdq_s8": (5.0, 0.9, "onnxruntime computes signed convolutions with a Relu in f32: a value between two steps may be"
                         " rounded the other way, and later layers add to it; `qop_s8` is exact"),
    "f32": (0.1, TOP1_AGREEMENT, "not quantised, so a step is a 255th of the output's range: sums are added in another order"),
}


def wanted() -> list[tuple[str, str]]:
    """Every net in every form that is checked."""
    return [(net, form) for net in NETS for form in ALL_NETS_FORMS] + [
        (net, form) for form, nets in MORE_FORMS.items() for net in nets]


def build(net: str, form: str) -> Path:
    """The model file, made if it is missing."""
    path = HERE / "build" / f"{net}.{form}.onnx"
    if not path.is_file():
        path.parent.mkdir(exist_ok=True)
        function, side, opset = NETS[net]
        graph = Graph(sum(map(ord, net)), opset)
        function(graph)
        forms.write(graph.model(side), side, form, path)
    return path


def pictures(side: int) -> numpy.ndarray:
    """Normalised pictures f32 [n, 3, side, side]: random ones, then the demo photos where they are there."""
    random = numpy.random.default_rng(11).standard_normal((RANDOM_PICTURES, 3, side, side)).astype("f4")
    files = sorted(file for file in (PAIR / "build" / "photos").glob("*/*") if file.suffix in (".jpg", ".png"))
    photos = [numpy.asarray(Image.open(file).convert("RGB").resize((side, side)), "f4") for file in files]
    photos = [((photo - 127) / 128).transpose(2, 0, 1) for photo in photos]
    return numpy.concatenate([random, numpy.stack(photos)]) if photos else random


def reference(path: Path, form: str, inputs: numpy.ndarray) -> numpy.ndarray:
    """onnxruntime's logits."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # With signed QLinearConv that option makes a node that onnxruntime itself cannot run; without it, it is exact.
    options.add_session_config_entry("session.x64quantprecision", "0" if form == "qop_s8" else "1")
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return numpy.concatenate([session.run(None, {name: picture[None]})[0].reshape(1, -1) for picture in inputs])


def engine_logits(engine: Path, path: Path, inputs: numpy.ndarray) -> numpy.ndarray:
    """The same from `ENGINE model run`."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "in.npy"), Path(folder, "out.npy")
        numpy.save(source, inputs)
        command = [str(engine), "model", "run", str(path), "--input", str(source), "--output", str(target)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=SECONDS_A_MODEL)
        return numpy.load(target)


def step_of_output(path: Path, logits: numpy.ndarray) -> float:
    """Scale of the DequantizeLinear that makes the output; of an output in f32, a 255th of its range."""
    graph = onnx.load(path).graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    constants |= {node.output[0]: node.attribute[0].t for node in graph.node if node.op_type == "Constant"}
    last = next(node for node in graph.node if graph.output[0].name in node.output)
    while last.op_type in ("Flatten", "Reshape"):
        last = next(node for node in graph.node if last.input[0] in node.output)
    if last.op_type != "DequantizeLinear":
        return float(numpy.ptp(logits)) / 255
    return float(numpy_helper.to_array(constants[last.input[1]]).max())


def compare(engine: Path, path: Path, form: str) -> dict:
    """One row of the table."""
    allowed, least_agreement, _ = LOOSE.get(form, (0.0, TOP1_AGREEMENT, ""))
    described = subprocess.run([str(engine), "model", "inspect", str(path), "--json"], check=True, capture_output=True)
    report = json.loads(described.stdout)
    side = onnx.load(path).graph.input[0].type.tensor_type.shape.dim[2].dim_value
    inputs = pictures(side)
    expected, found = reference(path, form, inputs), engine_logits(engine, path, inputs)
    steps = numpy.abs(found - expected) / step_of_output(path, expected)
    agree = int((found.argmax(1) == expected.argmax(1)).sum())
    plan = report["int8"] or {"steps": None, "fallbacks": [], "f32_macs": 0}
    right_engine = (report["int8"] is None) == (form == "f32")
    passed = right_engine and steps.max() <= allowed + 0.01 and agree >= least_agreement * len(inputs)
    return {
        "model": path.name.removesuffix(".onnx"), "form": form, "steps": plan["steps"] or "-", "macs": report["macs"],
        "f32_macs": plan["f32_macs"], "fallbacks": plan["fallbacks"], "not_int8_because": report["not_int8_because"],
        "pictures": len(inputs), "largest_difference_steps": round(float(steps.max()), 3),
        "equal_logits": round(float((steps < 0.01).mean()), 5), "same_top1": agree, "allowed_steps": allowed,
        "passed": bool(passed),
    }


def rows(engine: Path, only: list[str]) -> list[dict]:
    """Compares everything, telling each row as it is made."""
    cases = [(f"{net}.{form}", form, lambda net=net, form=form: build(net, form)) for net, form in wanted()]
    cases += [(file.name.removesuffix(".onnx"), "real weights", lambda file=file: file)
              for file in sorted((PAIR / "build").glob("*.int8.onnx"))]
    done = []
    for name, form, make in cases:
        if only and not any(part in name for part in only):
            continue
        row = compare(engine, make(), form)
        print(line_of(row), flush=True)
        done.append(row)
    return done


def line_of(row: dict) -> str:
    """A row for the terminal and for Markdown."""
    kinds = collections.Counter((item["op"], item["why"]) for item in row["fallbacks"])
    left = "; ".join(f"{count} {op}: {why}" for (op, why), count in kinds.items()) or row["not_int8_because"] or "none"
    cells = [row["model"], row["steps"], f"{(row['macs'] or 0) / 1e6:.1f}", left, row["largest_difference_steps"],
             f"{100 * row['equal_logits']:.2f} %", f"{row['same_top1']}/{row['pictures']}"]
    return f"| {' | '.join(map(str, cells))} |" + ("" if row["passed"] else "  <- FAILED")


def write_figures(folder: Path, done: list[dict]) -> None:
    """`coverage.md` and `coverage.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    head = {"date": datetime.date.today().isoformat(), "onnxruntime": onnxruntime.__version__,
            "command": "make check-coverage", "models": len(done), "passed": sum(row["passed"] for row in done)}
    (folder / "coverage.json").write_text(json.dumps(head | {"rows": done}, indent=1) + "\n", encoding="utf-8")
    pictures_each = done[0]["pictures"] if done else 0
    text = [
        "# Coverage", "",
        f"`{head['command']}`, {head['date']}: {head['passed']} of {head['models']} models as stated against onnxruntime"
        f" {head['onnxruntime']}, on {pictures_each} pictures each ({RANDOM_PICTURES} random, the rest the demo photos).",
        "Random weights, except for the `efficientnet_lite*.int8` files of the pair. Differences in steps of the output's",
        "quantisation. \"In f32\" lists the nodes that tract runs between int8 steps.", "",
        "| model | steps | MMAC | in f32 | largest difference | equal logits | same top-1 |",
        "| --- | --- | --- | --- | --- | --- | --- |", *[line_of(row) for row in done], "",
        *[f"`{form}`, up to {steps:g} steps: {why}." for form, (steps, _, why) in LOOSE.items()], "",
    ]
    (folder / "coverage.md").write_text("\n".join(text), encoding="utf-8")


def main() -> None:
    """Parse, compare, write, conclude."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--engine", type=Path, default=ROOT / "target" / "release" / "tinysaver")
    parser.add_argument("--only", default="", help="parts of names, separated by commas")
    parser.add_argument("--figures", type=Path, help="write coverage.md and coverage.json into this folder")
    options = parser.parse_args()
    done = rows(options.engine, [part for part in options.only.split(",") if part])
    if options.figures:
        write_figures(options.figures, done)
    failed = [row["model"] for row in done if not row["passed"]]
    if failed or not done:
        sys.exit(f"coverage: {len(failed)} of {len(done)} models failed: {', '.join(failed)}")
    print(f"coverage: all {len(done)} models as stated")


if __name__ == "__main__":
    main()
