"""Tests of the maker's parts that need numpy, onnx and onnxruntime:

models/.venv/bin/python -m unittest discover -s models/tests   (make.py makes that environment)
"""

from __future__ import annotations

import importlib.util
import os
import pickle
import struct
import sys
import tempfile
import unittest
from pathlib import Path

MODELS = Path(__file__).resolve().parent.parent
sys.dont_write_bytecode = True
sys.path.insert(0, str(MODELS / "imagenet-lite"))

HAVE_ENVIRONMENT = all(importlib.util.find_spec(name) for name in ("numpy", "onnx", "onnxruntime", "PIL"))
if HAVE_ENVIRONMENT:
    import numpy
    from maker import calibrate, engine_gate, gates, graph, images, quantise, weights
    from maker.files import MakerError
    from maker.inference import run_model
    from maker.pairfile import Pair

needs_environment = unittest.skipUnless(HAVE_ENVIRONMENT, "needs the packages of models/.venv: run with its python")
TENSOR = b"ctorch._utils\n_rebuild_tensor_v2\n((Vstorage\nctorch\nFloatStorage\nV7\nVcpu\nI6\nNtQI0\n(I2\nI3\nt(I3\nI1\nttR"


def checkpoint(count: int = 6) -> bytes:
    """A legacy checkpoint with one tensor `w` of shape [2, 3]."""
    heads = [pickle.dumps(value, 2) for value in (weights.MAGIC_NUMBER, weights.PROTOCOL_VERSION, {})]
    state = b"(dVw\n" + TENSOR + b"s."
    data = struct.pack("<q", count) + numpy.arange(6, dtype="<f4").tobytes()
    return b"".join([*heads, state, pickle.dumps(["7"], 2), data])


def small_model() -> bytes:
    """Convolution, ReLU6, depthwise convolution, sum, pooling and dense layer on 8 x 8 pixels."""
    random = numpy.random.default_rng(0)
    builder = graph.GraphBuilder()
    value = builder.convolution("a", graph.Tensor("input", 8), random.normal(size=(4, 3, 3, 3)), numpy.zeros(4), 2)
    value = builder.relu6(value)
    deep = builder.convolution("b", value, random.normal(size=(4, 1, 3, 3)), numpy.zeros(4), groups=4)
    value = builder.add("c", builder.relu6(deep), value)
    value = builder.dense("logits", builder.global_pool(value), random.normal(size=(5, 4)).astype("f4"), numpy.zeros(5))
    return builder.finish("small", 8, value, 5, {"source": "a test"}).SerializeToString(deterministic=True)


@needs_environment
class WeightsTest(unittest.TestCase):
    def test_reads_a_legacy_checkpoint(self) -> None:
        state = weights.read_checkpoint(checkpoint())
        numpy.testing.assert_array_equal(state["w"], numpy.arange(6, dtype="f4").reshape(2, 3))

    def test_refuses_a_wrong_count(self) -> None:
        with self.assertRaisesRegex(MakerError, "5 elements, 6 expected"):
            weights.read_checkpoint(checkpoint(count=5))


@needs_environment
class QuantiseTest(unittest.TestCase):
    def setUp(self) -> None:
        self.pair = Pair(MODELS / "imagenet-lite" / "pair.toml")
        self.pixels = numpy.random.default_rng(1).integers(0, 256, (16, 8, 8, 3), numpy.uint8)
        self.path = Path(self.enterContext(tempfile.TemporaryDirectory())) / "small.onnx"
        self.path.write_bytes(small_model())
        self.ranges = calibrate.measure(self.path, self.pixels, self.pair)

    def test_same_padding(self) -> None:
        self.assertEqual(graph.same_padding(160, 3, 2), (80, 0, 1))
        self.assertEqual(graph.same_padding(7, 5, 1), (7, 2, 2))

    def test_int8_agrees_and_is_fused(self) -> None:
        model = quantise.quantise(small_model(), self.ranges)  # checks its own structure
        kinds = [node.op_type for node in model.graph.node]
        self.assertNotIn("Clip", kinds)
        self.assertEqual((kinds.count("Conv"), kinds.count("Add"), kinds.count("Gemm")), (2, 1, 1))
        inputs = images.normalise(self.pixels, self.pair)
        expected = run_model(small_model(), inputs)
        found = run_model(model.SerializeToString(), inputs)
        self.assertLess(gates.compare(expected, found)[1], 0.1 * numpy.ptp(expected))

    def test_the_same_bytes_twice(self) -> None:
        first, second = (quantise.quantise(small_model(), self.ranges) for _ in range(2))
        self.assertEqual(first.SerializeToString(deterministic=True), second.SerializeToString(deterministic=True))

    def test_an_unfused_clip_is_refused(self) -> None:
        with self.assertRaisesRegex(MakerError, "ReLU6 is not fused"):
            quantise.check_structure(graph.onnx.load_from_string(small_model()))

    def test_one_step_of_the_input_is_one_step_of_a_pixel(self) -> None:
        low, high = calibrate.input_range(self.pair)
        self.assertEqual((low, high, (high - low) / 255), (-127 / 128, 1.0, 1 / 128))


@needs_environment
class GateTest(unittest.TestCase):
    def test_ties_go_to_the_first_maximum(self) -> None:
        left = numpy.array([[1, 3, 3], [0, 0, 1]], numpy.float32)
        right = numpy.array([[1, 3, 2], [2, 0, 1]], numpy.float32)
        self.assertEqual(gates.compare(left, right), (1, 2.0))

    def test_a_failing_row_is_named(self) -> None:
        self.assertIn("good", gates.conclude("t", ["model"], [(["good"], True)]))
        with self.assertRaisesRegex(MakerError, "gate failed: t: bad"):
            gates.conclude("t", ["model"], [(["good"], True), (["bad"], False)])

    def test_engines_that_fail_are_told_apart(self) -> None:
        directory = Path(self.enterContext(tempfile.TemporaryDirectory()))
        inputs = numpy.zeros((1, 3, 8, 8), numpy.float32)
        for body, message in (("exit 0", "wrote no output"), ("echo broken >&2; exit 3", "status 3\n  | broken")):
            engine = directory / "engine"
            engine.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
            os.chmod(engine, 0o755)
            with self.assertRaisesRegex(MakerError, message.replace("|", r"\|")):
                engine_gate.engine_logits(engine, Path("m.onnx"), inputs, directory)
        with self.assertRaisesRegex(MakerError, "cannot run"):
            engine_gate.engine_logits(directory / "none", Path("m.onnx"), inputs, directory)


if __name__ == "__main__":
    unittest.main()
