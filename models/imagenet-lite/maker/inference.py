"""Running models in onnxruntime, as the files say and with nothing fused."""

from __future__ import annotations

import numpy
import onnxruntime


def run_model(content: bytes, inputs: numpy.ndarray, fused: bool = False) -> numpy.ndarray:
    """Logits f32 [photos, classes] of inputs f32 [photos, 3, side, side].

    Unfused, quantise and dequantise nodes are computed as written, in f32. Fused, onnxruntime runs its integer
    kernels, told to stay exact: by default those for x86 processors without VNNI saturate, and are then the wrong
    ones. Neither depends on the machine.
    """
    options = onnxruntime.SessionOptions()
    if fused:
        options.add_session_config_entry("session.x64quantprecision", "1")
    else:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return numpy.concatenate([session.run(["logits"], {"input": one[None]})[0] for one in inputs])


def softmax(logits: numpy.ndarray, temperature: float = 1.0) -> numpy.ndarray:
    """Probabilities along the last axis."""
    scaled = logits.astype(numpy.float64) / temperature
    powers = numpy.exp(scaled - scaled.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)
