"""f32 ONNX and committed ranges -> int8 ONNX, the same bytes on every machine.

Static QDQ: u8 activations per tensor, s8 weights per output channel, i32 biases. The ranges are
read, not measured, so neither photos nor the processor have a say in the result. ReLU6 lies
inside the quantised range of its convolution: the Clip node goes, the range stays.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy
import onnx
from onnxruntime.quantization import CalibrationMethod, QuantType
from onnxruntime.quantization.calibrate import TensorData, TensorsData
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry

from .files import MakerError, check_hash
from .graph import PRODUCER

OPERATIONS = sorted({*QLinearOpsRegistry, *QDQRegistry})
Ranges = dict[str, tuple[float, float]]


def read_ranges(path: Path, float_sha256: str) -> Ranges:
    """Tensor name -> (lowest, highest) out of a ranges file, which must belong to this f32 model."""
    if not path.is_file():
        raise MakerError(f"no calibration ranges at {path}\n  what to do: make.py {path.parents[1].name} calibrate")
    document = json.loads(path.read_text(encoding="utf-8"))
    check_hash(
        f"the f32 model that {path.name} was measured on",
        document["model_sha256"],
        float_sha256,
        f"the graph changed: run `make.py {path.parents[1].name} calibrate` (maintainers)",
    )
    return {name: (low, high) for name, (low, high) in document["ranges"].items()}


def _tensors_data(ranges: Ranges) -> TensorsData:
    return TensorsData(
        CalibrationMethod.MinMax,
        {
            name: TensorData(lowest=numpy.array(low, numpy.float32), highest=numpy.array(high, numpy.float32))
            for name, (low, high) in ranges.items()
        },
    )


def _drop_markers(model: onnx.ModelProto) -> None:
    """Remove what the quantiser adds beside the graph: inferred f32 shapes and its own marks."""
    del model.graph.value_info[:]
    kept = [entry for entry in model.metadata_props if not entry.key.startswith("onnx.")]
    facts = {entry.key: entry.value for entry in kept}
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, facts)
    model.producer_name = PRODUCER
    model.producer_version = ""


def quantise(float_model: bytes, ranges: Ranges) -> onnx.ModelProto:
    """The int8 form of a model, checked for the properties that the runtime counts on."""
    logging.getLogger().setLevel(logging.ERROR)  # the quantiser proposes a pre-processing we do without
    model = onnx.load_from_string(float_model)
    quantiser = QDQQuantizer(
        model,
        per_channel=True,
        reduce_range=False,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QUInt8,
        tensors_range=_tensors_data(ranges),
        nodes_to_quantize=[],
        nodes_to_exclude=[],
        op_types_to_quantize=OPERATIONS,
        extra_options={},
    )
    quantiser.quantize_model()
    quantiser.model.topological_sort()
    result = quantiser.model.model
    _drop_markers(result)
    onnx.checker.check_model(result, full_check=True)
    check_structure(result)
    return result


def check_structure(model: onnx.ModelProto) -> None:
    """Raise unless ReLU6 is fused and every computing node reads and writes quantised values."""
    for node in model.graph.node:
        if node.op_type == "Clip":
            raise MakerError(f"{node.name}: ReLU6 is not fused into the range of its convolution")
    producers = {output: node for node in model.graph.node for output in node.output}
    consumers: dict[str, list[str]] = {}
    for node in model.graph.node:
        for name in node.input:
            consumers.setdefault(name, []).append(node.op_type)
    weights = {entry.name: entry for entry in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            continue
        for name in node.input:
            if producers.get(name) is None or producers[name].op_type != "DequantizeLinear":
                raise MakerError(f"{node.name}: the input {name} is not quantised")
        if consumers.get(node.output[0]) != ["QuantizeLinear"]:
            raise MakerError(f"{node.name}: the output is not quantised")
        if node.op_type == "Conv":
            _check_per_channel(node, producers, weights)


def _check_per_channel(
    node: onnx.NodeProto, producers: dict[str, onnx.NodeProto], weights: dict[str, onnx.TensorProto]
) -> None:
    """Raise unless the weight of a convolution is s8 with one scale an output channel (axis 0)."""
    dequantise = producers[node.input[1]]
    weight, scale = weights[dequantise.input[0]], weights[dequantise.input[1]]
    axis = next((item.i for item in dequantise.attribute if item.name == "axis"), 1)
    if weight.data_type != onnx.TensorProto.INT8 or axis != 0 or list(scale.dims) != [weight.dims[0]]:
        raise MakerError(f"{node.name}: the weight is not s8 with one scale an output channel")
