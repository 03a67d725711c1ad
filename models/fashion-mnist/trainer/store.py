"""A trained network as plain arrays: normalisation folded into the convolutions, as the ONNX file will hold it."""

from __future__ import annotations

from pathlib import Path

import numpy
import torch
from torch import nn

from .networks import Head, Network, Residual


def arrays(network: Network) -> dict[str, numpy.ndarray]:
    """Folded weights and biases by the layer's place, "3.residual.0.weight" and the like."""
    found: dict[str, numpy.ndarray] = {}
    for place, step in enumerate(network.steps):
        _collect(step, str(place), found)
    return found


def save(network: Network, path: Path) -> None:
    """Writes [`arrays`] as NPZ."""
    numpy.savez(path, **arrays(network))


def _collect(step: nn.Module, name: str, found: dict[str, numpy.ndarray]) -> None:
    if isinstance(step, Residual):
        for place, inner in enumerate(step.steps):
            _collect(inner, f"{name}.residual.{place}", found)
        if not isinstance(step.shortcut, nn.Identity):
            _collect(step.shortcut, f"{name}.shortcut", found)
    elif isinstance(step, Head):
        found[f"{name}.weight"] = step.dense.weight.detach().float().cpu().numpy()
        found[f"{name}.bias"] = step.dense.bias.detach().float().cpu().numpy()
    else:
        weight, bias = _folded(step[0], step[1])
        found[f"{name}.weight"], found[f"{name}.bias"] = weight, bias


def _folded(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> tuple[numpy.ndarray, numpy.ndarray]:
    double = lambda tensor: tensor.detach().double().cpu()
    factor = double(norm.weight) / (double(norm.running_var) + norm.eps).sqrt()
    weight = double(convolution.weight) * factor.view(-1, 1, 1, 1)
    bias = double(norm.bias) - double(norm.running_mean) * factor
    return weight.float().numpy(), bias.float().numpy()
