"""Running models in onnxruntime, as the files say and with nothing fused."""

from __future__ import annotations

import numpy
import onnxruntime


def run_model(content: bytes, inputs: numpy.ndarray) -> numpy.ndarray:
    """Logits f32 [photos, classes] of inputs f32 [photos, 3, side, side].

    Graph optimisation is off for quantised and plain models alike: quantise and dequantise nodes
    are computed as written. onnxruntime's fused integer kernels may saturate on older processors,
    and a gate must not depend on the machine.
    """
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return numpy.concatenate([session.run(["logits"], {"input": one[None]})[0] for one in inputs])


def softmax(logits: numpy.ndarray, temperature: float = 1.0) -> numpy.ndarray:
    """Probabilities along the last axis."""
    scaled = logits.astype(numpy.float64) / temperature
    powers = numpy.exp(scaled - scaled.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)
