"""EfficientNet-Lite 0, 1 and 2 as ONNX graphs, batch normalisation folded into the convolutions."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy
import onnx

from .files import MakerError
from .graph import GraphBuilder, Tensor

NORMALISATION_EPSILON = 1e-3
CLASSES = 1000
# depth multiplier of each variant; the widths come with the weights
DEPTH = {"lite0": 1.0, "lite1": 1.1, "lite2": 1.2}


@dataclass(frozen=True)
class Stage:
    """A run of inverted-residual blocks; the first one has the stride."""

    repeats: int
    kernel: int
    stride: int
    expansion: int


STAGES = (
    Stage(1, 3, 1, 1),
    Stage(2, 3, 2, 6),
    Stage(2, 5, 2, 6),
    Stage(3, 3, 2, 6),
    Stage(3, 5, 1, 6),
    Stage(4, 5, 2, 6),
    Stage(1, 3, 1, 6),
)


class FoldingReader:
    """Hands out folded weights of a state dict and remembers what was used."""

    def __init__(self, state: dict[str, numpy.ndarray]) -> None:
        self.state = state
        self.used: set[str] = set()

    def take(self, name: str) -> numpy.ndarray:
        """One array, marked as used."""
        self.used.add(name)
        return self.state[name]

    def folded(self, convolution: str, normalisation: str) -> tuple[numpy.ndarray, numpy.ndarray]:
        """Weight [out, in / groups, k, k] and bias [out] of a convolution and its normalisation, f32.

        Computed in float64, element by element, so every machine gets the same bits.
        """
        weight = self.take(f"{convolution}.weight").astype(numpy.float64)
        gain, shift, mean, variance = (
            self.take(f"{normalisation}.{part}").astype(numpy.float64)
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        self.used.add(f"{normalisation}.num_batches_tracked")
        scale = gain / numpy.sqrt(variance + NORMALISATION_EPSILON)
        bias = shift - mean * scale
        return (weight * scale[:, None, None, None]).astype(numpy.float32), bias.astype(numpy.float32)

    def check_all_used(self) -> None:
        """Refuse a state dict that holds something the graph does not."""
        left = sorted(set(self.state) - self.used)
        if left:
            raise MakerError(f"the weight file holds tensors the graph does not use: {', '.join(left[:5])}")


def _block(builder: GraphBuilder, reader: FoldingReader, index: int, source: Tensor, stage: Stage, first: bool) -> Tensor:
    """One inverted residual: expand 1x1, depthwise, project 1x1, and the skip where the block repeats."""
    prefix, name = f"_blocks.{index}.", f"block{index:02}"
    value = source
    if stage.expansion != 1:
        weight, bias = reader.folded(f"{prefix}_expand_conv", f"{prefix}_bn0")
        value = builder.relu6(builder.convolution(f"{name}.expand", value, weight, bias))
    weight, bias = reader.folded(f"{prefix}_depthwise_conv", f"{prefix}_bn1")
    if weight.shape[2] != stage.kernel:
        raise MakerError(f"{name}: kernel {weight.shape[2]} in the weight file, {stage.kernel} expected")
    stride = stage.stride if first else 1
    value = builder.relu6(
        builder.convolution(f"{name}.depthwise", value, weight, bias, stride, groups=weight.shape[0])
    )
    weight, bias = reader.folded(f"{prefix}_project_conv", f"{prefix}_bn2")
    value = builder.convolution(f"{name}.project", value, weight, bias)
    return value if first else builder.add(f"{name}.sum", value, source)


def _repeats(position: int, stage: Stage, variant: str) -> int:
    """How many blocks a stage has: the first and the last stage are never deepened."""
    if position in (0, len(STAGES) - 1):
        return stage.repeats
    return math.ceil(stage.repeats * DEPTH[variant])


def build(
    state: dict[str, numpy.ndarray], variant: str, side: int, facts: dict[str, str]
) -> tuple[onnx.ModelProto, int, int]:
    """The model of one variant for square inputs of `side` pixels, its MACs and its parameters."""
    builder, reader = GraphBuilder(), FoldingReader(state)
    weight, bias = reader.folded("_conv_stem", "_bn0")
    value = builder.relu6(builder.convolution("stem", Tensor("input", side), weight, bias, stride=2))
    index = 0
    for position, stage in enumerate(STAGES):
        for repeat in range(_repeats(position, stage, variant)):
            value = _block(builder, reader, index, value, stage, first=repeat == 0)
            index += 1
    weight, bias = reader.folded("_conv_head", "_bn1")
    value = builder.relu6(builder.convolution("head", value, weight, bias))
    value = builder.dense("logits", builder.global_pool(value), reader.take("_fc.weight"), reader.take("_fc.bias"))
    reader.check_all_used()
    model = builder.finish(f"efficientnet_{variant}_{side}", side, value, CLASSES, facts)
    return model, builder.macs, builder.parameters
