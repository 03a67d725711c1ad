"""python3 -m trainer.build DATA TRAINED OUT: the trained networks as ONNX files, f32 and int8 (numpy, onnx, onnxruntime; no PyTorch).

Prints each file's hash, size and multiply-accumulates for pair.toml, and how often int8 agrees with f32 on the 2,000
development pictures.
"""

from __future__ import annotations

import gzip
import hashlib
import sys
from pathlib import Path

import numpy
import onnx

from .graph import SIDE, Graph
from .layers import BASES, SAVERS
from .quantise import answers, quantise

MEAN, STD = 72.94, 90.02
RANGES_FROM = 1024  # training pictures


def main() -> None:
    """Builds all."""
    data, trained, out = (Path(argument) for argument in sys.argv[1:4])
    out.mkdir(parents=True, exist_ok=True)
    measured = _pictures(data, 0, RANGES_FROM)
    seen = _pictures(data, 48_000, 2_000)
    truth = _labels(data, 48_000, 2_000)
    for name, layers in {**SAVERS, **BASES}.items():
        f32, int8 = out / f"{name}.f32.onnx", out / f"{name}.int8.onnx"
        with numpy.load(trained / f"{name}.npz") as weights:
            model = Graph(dict(weights)).build(layers)
        onnx.save(model, f32)
        quantise(f32, int8, measured)
        said = {path: answers(path, seen) for path in (f32, int8)}
        for path in (f32, int8):
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            right = (said[path] == truth).mean()
            print(f"{path.name} {digest} {path.stat().st_size} macs {_macs(model)} right {right:.4f}")
        print(f"{name}: int8 agrees with f32 on {(said[f32] == said[int8]).mean():.4f}", flush=True)


def _pictures(data: Path, start: int, count: int) -> numpy.ndarray:
    """Normalised training pictures [n, 3, 28, 28]."""
    with gzip.open(data / "train-images-idx3-ubyte.gz") as stream:
        stream.read(16 + start * SIDE * SIDE)
        grey = numpy.frombuffer(stream.read(count * SIDE * SIDE), numpy.uint8).reshape(count, 1, SIDE, SIDE)
    return numpy.repeat((grey.astype(numpy.float32) - numpy.float32(MEAN)) / numpy.float32(STD), 3, axis=1)


def _labels(data: Path, start: int, count: int) -> numpy.ndarray:
    with gzip.open(data / "train-labels-idx1-ubyte.gz") as stream:
        stream.read(8 + start)
        return numpy.frombuffer(stream.read(count), numpy.uint8)


def _macs(model: onnx.ModelProto) -> int:
    """Multiply-accumulates of convolutions and the dense layer."""
    inferred = onnx.shape_inference.infer_shapes(model)
    shapes = {value.name: [size.dim_value for size in value.type.tensor_type.shape.dim] for value in inferred.graph.value_info}
    weights = {entry.name: entry.dims for entry in model.graph.initializer}
    total = 0
    for node in model.graph.node:
        if node.op_type == "Conv":
            total += int(numpy.prod(shapes[node.output[0]])) * int(numpy.prod(weights[node.input[1]][1:]))
        elif node.op_type == "Gemm":
            total += int(numpy.prod(weights[node.input[1]]))
    return total


if __name__ == "__main__":
    main()
