"""The pool's architectures, as lists of layers that PyTorch trains (networks.py) and ONNX stores (graph.py) alike.

A layer is ("conv", channels, kernel, stride, groups, relu), ("residual", [layers]) or ("head",): the mean over the
picture, then a dense layer. Groups of 0 stand for depthwise.
"""

from __future__ import annotations

Layer = tuple


def conv(channels: int, kernel: int = 3, stride: int = 1, relu: bool = True) -> Layer:
    """A dense convolution."""
    return ("conv", channels, kernel, stride, 1, relu)


def depthwise(channels: int, stride: int = 1, kernel: int = 3) -> Layer:
    """One filter a channel."""
    return ("conv", channels, kernel, stride, 0, True)


def basic(channels: int, stride: int = 1) -> list[Layer]:
    """ResNet's block."""
    return [("residual", [conv(channels, 3, stride), conv(channels, 3, 1, relu=False)])]


def inverted(entering: int, channels: int, expansion: int, stride: int = 1) -> list[Layer]:
    """MobileNetV2's block; the shortcut only where shapes allow it."""
    wide = entering * expansion
    layers = [conv(wide, 1), depthwise(wide, stride), conv(channels, 1, relu=False)]
    return [("residual", layers)] if stride == 1 and entering == channels else layers


def separable(channels: int, entering: int, stride: int = 1) -> list[Layer]:
    """MobileNetV1's block."""
    return [depthwise(entering, stride), conv(channels, 1)]


def mobile(stem: int, stages: list[tuple[int, int, int, int]], last: int) -> list[Layer]:
    """Inverted bottlenecks of (channels, blocks, stride, expansion) behind a stem of stride 2."""
    layers, entering = [conv(stem, 3, 2)], stem
    for channels, blocks, stride, expansion in stages:
        for block in range(blocks):
            layers += inverted(entering, channels, expansion, stride if block == 0 else 1)
            entering = channels
    return [*layers, conv(last, 1), ("head",)]


def residual(width: int, blocks: int) -> list[Layer]:
    """ResNet for small pictures: three stages that double the width."""
    layers = [conv(width)]
    for stage in range(3):
        for block in range(blocks):
            layers += basic(width << stage, 2 if stage and block == 0 else 1)
    return [*layers, ("head",)]


# Named by the multiply-accumulates of the ONNX file, whose input has three channels.
SAVERS: dict[str, list[Layer]] = {
    "mobile-2400k": mobile(16, [(16, 2, 1, 3), (32, 3, 2, 3), (48, 2, 2, 3)], 128),
    "mobile-1100k": mobile(16, [(16, 1, 1, 2), (24, 2, 2, 3), (32, 2, 2, 3)], 96),
    "mobile-370k": mobile(8, [(8, 1, 1, 2), (16, 2, 2, 3), (24, 1, 2, 3)], 64),
    "mobile-4900k": mobile(24, [(24, 2, 1, 3), (48, 3, 2, 3), (64, 2, 2, 3)], 192),
    "separable-114k": [conv(8, 3, 2), *separable(16, 8, 2), *separable(32, 16), *separable(48, 32, 2), ("head",)],
    "separable-44k": [conv(6, 3, 2), *separable(12, 6, 2), *separable(20, 12, 2), ("head",)],
}
BASES: dict[str, list[Layer]] = {"resnet-124m": residual(32, 3)}
