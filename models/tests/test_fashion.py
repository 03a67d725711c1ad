"""The fashion-mnist pair: its committed files, and the program that makes them."""

from __future__ import annotations

import hashlib
import sys
import tomllib
import unittest
from pathlib import Path

import numpy
import onnx
import onnxruntime

FASHION = Path(__file__).resolve().parents[1] / "fashion-mnist"
sys.path.insert(0, str(FASHION))

from trainer.build import _macs  # noqa: E402
from trainer.graph import Graph  # noqa: E402
from trainer.layers import BASES, SAVERS  # noqa: E402

LAYERS = {**SAVERS, **BASES}
PAIR = tomllib.loads((FASHION / "pair.toml").read_text(encoding="utf-8"))


def random_weights(model: onnx.ModelProto) -> dict[str, numpy.ndarray]:
    """Weights as store.py would write them, of the shapes that a committed model has; one channel goes in."""
    random = numpy.random.default_rng(7)
    found = {}
    for entry in model.graph.initializer:
        shape = list(entry.dims)
        if entry.name == "0.weight":
            shape[1] = 1
        found[entry.name] = random.normal(0, 0.3, shape).astype(numpy.float32)
    return found


class CommittedFiles(unittest.TestCase):
    """What is in pair.toml is in the folder."""

    def test_hashes_sizes_and_macs_are_what_pair_toml_says(self) -> None:
        for entry in PAIR["model"]:
            content = (FASHION / entry["file"]).read_bytes()
            self.assertEqual(hashlib.sha256(content).hexdigest(), entry["sha256"], entry["id"])
            self.assertEqual(len(content), entry["bytes"], entry["id"])
            if entry["precision"] == "f32":
                self.assertEqual(_macs(onnx.load_from_string(content)), entry["macs"], entry["id"])

    def test_every_architecture_is_there_in_both_precisions(self) -> None:
        wanted = {f"{name}-{precision}" for name in LAYERS for precision in ("f32", "int8")}
        self.assertEqual({entry["id"] for entry in PAIR["model"]}, wanted)


class Graphs(unittest.TestCase):
    """From layers and weights to ONNX."""

    def test_a_grey_picture_gives_what_one_channel_would(self) -> None:
        name = "mobile-370k"
        weights = random_weights(onnx.load(FASHION / f"onnx/{name}.f32.onnx"))
        colour = Graph(weights).build(LAYERS[name])
        picture = numpy.random.default_rng(3).normal(size=(1, 1, 28, 28)).astype(numpy.float32)
        run = lambda values: onnxruntime.InferenceSession(colour.SerializeToString()).run(None, {"input": values})[0]
        grey = run(numpy.repeat(picture, 3, axis=1))
        mixed = numpy.concatenate([3 * picture, 0 * picture, 0 * picture], axis=1)
        numpy.testing.assert_allclose(grey, run(mixed), rtol=1e-4, atol=1e-5)

    def test_a_model_is_rebuilt_from_its_own_weights(self) -> None:
        for name, layers in LAYERS.items():
            committed = onnx.load(FASHION / f"onnx/{name}.f32.onnx")
            weights = {entry.name: onnx.numpy_helper.to_array(entry) for entry in committed.graph.initializer}
            weights["0.weight"] = 3 * weights["0.weight"][:, :1]
            rebuilt = Graph(weights).build(layers)
            nodes = lambda model: [(node.op_type, list(node.input), list(node.output)) for node in model.graph.node]
            self.assertEqual(nodes(rebuilt), nodes(committed), name)


if __name__ == "__main__":
    unittest.main()
