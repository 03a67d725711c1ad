"""f32 to int8 by onnxruntime's own tool, QDQ, u8 activations and s8 weights with a scale a channel."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy
import onnx
import onnxruntime
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static


class Pictures(CalibrationDataReader):
    """Normalised pictures [n, 3, 28, 28], one at a time."""

    def __init__(self, pictures: numpy.ndarray) -> None:
        self.rest = iter(pictures)

    def get_next(self) -> dict[str, numpy.ndarray] | None:
        """The next, or none."""
        picture = next(self.rest, None)
        return None if picture is None else {"input": picture[None]}


def quantise(source: Path, target: Path, pictures: numpy.ndarray) -> None:
    """Writes the int8 form of a model, its ranges measured on these pictures."""
    logging.getLogger().setLevel(logging.ERROR)  # the quantiser proposes a pre-processing that these graphs need not
    quantize_static(
        source,
        target,
        Pictures(pictures),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )
    model = onnx.load(target)
    del model.graph.value_info[:]
    model.producer_name, model.producer_version = "tinysaver", ""
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, target)


def answers(model: Path, pictures: numpy.ndarray) -> numpy.ndarray:
    """The class of each picture, computed as the file is written."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return numpy.array([session.run(None, {"input": picture[None]})[0].argmax() for picture in pictures])
