"""The forms in which models come: as they are trained (`f32`), or quantised: what `onnxruntime.quantization.quantize_static` writes (QDQ and QOperator,
unsigned and signed activations, one weight scale a channel or one in all), and QDQ as PyTorch's fake quantisation exports
it (f32 weights that a QuantizeLinear of the graph quantises, f32 biases, scales in Constant nodes).
"""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path

import numpy
import onnx
from onnx import ModelProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

CALIBRATION_PICTURES = 4
U8, S8, QDQ, QOP = QuantType.QUInt8, QuantType.QInt8, QuantFormat.QDQ, QuantFormat.QOperator
OPTIONS = {
    "qdq_u8": dict(quant_format=QDQ, activation_type=U8, weight_type=S8, per_channel=True),
    "qop_u8": dict(quant_format=QOP, activation_type=U8, weight_type=S8, per_channel=True),
    "qdq_s8": dict(quant_format=QDQ, activation_type=S8, weight_type=S8, per_channel=True),
    "qop_s8": dict(quant_format=QOP, activation_type=S8, weight_type=S8, per_channel=True),
    "qdq_u8_tensor": dict(quant_format=QDQ, activation_type=U8, weight_type=U8, per_channel=False),
}
FORMS = [*OPTIONS, "torch", "f32"]


class Pictures(CalibrationDataReader):
    """Random pictures, the same at every call."""

    def __init__(self, side: int) -> None:
        random = numpy.random.default_rng(3)
        self.left = [random.standard_normal((1, 3, side, side)).astype("f4") for _ in range(CALIBRATION_PICTURES)]

    def get_next(self) -> dict | None:
        return {"input": self.left.pop()} if self.left else None


def write(model: ModelProto, side: int, form: str, path: Path) -> None:
    """Quantise a model, unless it is to stay in f32."""
    if form == "f32":
        onnx.save(model, path)
        return
    logging.getLogger().setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        source, target = Path(folder, "f32.onnx"), Path(folder, "int8.onnx")
        onnx.save(model, source)
        options = OPTIONS.get(form, OPTIONS["qdq_u8"])
        # onnxruntime has no signed QGemm: that layer stays in f32.
        left = [node.name for node in model.graph.node if node.op_type == "Gemm"] if form == "qop_s8" else []
        quantize_static(source, target, Pictures(side), nodes_to_exclude=left, **options)
        quantised = onnx.load(target)
    if form == "torch":
        quantised = as_exported_by_torch(quantised, model)
    onnx.save(quantised, path)


def as_exported_by_torch(quantised: ModelProto, original: ModelProto) -> ModelProto:
    """The same quantisation with f32 weights and biases in the file."""
    reals = {tensor.name: tensor for tensor in original.graph.initializer}
    held = {tensor.name: tensor for tensor in quantised.graph.initializer}
    nodes, used = [], {}
    for node in quantised.graph.node:
        weight = held.get(node.input[0]) if node.op_type == "DequantizeLinear" else None
        if weight is None:
            nodes.append(node)
            continue
        name = node.input[0].removesuffix("_quantized")
        used[name] = reals[name]
        if numpy_helper.to_array(weight).dtype == numpy.int32:  # a bias
            rename(quantised, node.output[0], name)
            continue
        steps = helper.make_node("QuantizeLinear", [name, *node.input[1:]], [f"{name}_steps"], name=f"{name}_quantise")
        steps.attribute.extend(node.attribute)
        node.input[0] = steps.output[0]
        nodes += [steps, node]
    read = {name for node in nodes for name in node.input}
    constants = [helper.make_node("Constant", [], [tensor.name], name=f"{tensor.name}_constant", value=tensor)
                 for tensor in held.values() if tensor.name in read]
    del quantised.graph.node[:], quantised.graph.initializer[:]
    quantised.graph.node.extend(constants + nodes)
    quantised.graph.initializer.extend(used.values())
    return quantised


def rename(model: ModelProto, old: str, new: str) -> None:
    """Let every reader of a tensor read another."""
    for node in model.graph.node:
        for index, name in enumerate(node.input):
            if name == old:
                node.input[index] = new
