"""The layers as PyTorch modules. They see one channel: the pictures are grey."""

from __future__ import annotations

import torch
from torch import nn

from .data import CLASSES, SIDE
from .layers import Layer, conv


class Network(nn.Module):
    """A list of layers as a module: [n, 1, 28, 28] -> logits [n, 10]."""

    def __init__(self, layers: list[Layer]) -> None:
        super().__init__()
        self.steps = nn.ModuleList()
        channels = 1
        for layer in layers:
            step, channels = _module(layer, channels)
            self.steps.append(step)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Logits."""
        for step in self.steps:
            pictures = step(pictures)
        return pictures


class Residual(nn.Module):
    """Layers with a shortcut, which is a convolution where shapes differ; a ReLU behind ResNet's, none behind MobileNetV2's."""

    def __init__(self, layers: list[Layer], channels: int) -> None:
        super().__init__()
        self.steps, entering, stride = nn.Sequential(), channels, 1
        for layer in layers:
            step, channels = _module(layer, channels)
            self.steps.append(step)
            stride *= layer[3]
        self.relu = layers[0][2] == 3
        same = stride == 1 and entering == channels
        self.shortcut = nn.Identity() if same else _module(conv(channels, 1, stride, relu=False), entering)[0]
        self.channels = channels

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """The sum."""
        total = self.steps(pictures) + self.shortcut(pictures)
        return torch.relu(total) if self.relu else total


class Head(nn.Module):
    """Mean over the picture, then a dense layer."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.dense = nn.Linear(channels, CLASSES)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Logits."""
        return self.dense(pictures.mean((2, 3)))


def _module(layer: Layer, entering: int) -> tuple[nn.Module, int]:
    kind, *rest = layer
    if kind == "head":
        return Head(entering), CLASSES
    if kind == "residual":
        step = Residual(rest[0], entering)
        return step, step.channels
    channels, kernel, stride, groups, relu = rest
    convolution = nn.Conv2d(
        entering, channels, kernel, stride, kernel // 2, groups=groups or entering, bias=False
    )
    step = nn.Sequential(convolution, nn.BatchNorm2d(channels))
    if relu:
        step.append(nn.ReLU())
    return step, channels


def macs(network: Network) -> int:
    """Multiply-accumulates of one picture: convolutions and the dense layer."""
    total = 0

    def count(module: nn.Module, _: object, output: torch.Tensor) -> None:
        nonlocal total
        if isinstance(module, nn.Conv2d):
            total += output[0].numel() * module.weight[0].numel()
        elif isinstance(module, nn.Linear):
            total += module.weight.numel()

    hooks = [module.register_forward_hook(count) for module in network.modules()]
    was_training = network.training
    network.eval()
    with torch.no_grad():
        parameter = next(network.parameters())
        network(torch.zeros(1, 1, SIDE, SIDE, device=parameter.device))
    network.train(was_training)
    for hook in hooks:
        hook.remove()
    return total
