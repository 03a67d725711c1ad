"""A trained network as ONNX: what store.py wrote, with the runtime's input of three equal channels in front.

The runtime feeds colour; a grey picture has three equal channels. So the first convolution's one filter is spread over
three, a third each: the same sums, and a camera's colours are averaged.
"""

from __future__ import annotations

import numpy
import onnx
from onnx import TensorProto, helper, numpy_helper

from .layers import Layer

SIDE, CLASSES, OPSET = 28, 10, 13


class Graph:
    """Collects nodes; every method returns the name of its output."""

    def __init__(self, weights: dict[str, numpy.ndarray]) -> None:
        self.weights, self.nodes, self.initializers = weights, [], []

    def build(self, layers: list[Layer]) -> onnx.ModelProto:
        """The whole model, [1, 3, 28, 28] `input` to [1, 10] `logits`, checked."""
        last = "input"
        for place, layer in enumerate(layers):
            last = self._layer(layer, str(place), last)
        shape = lambda name, *sizes: helper.make_tensor_value_info(name, TensorProto.FLOAT, sizes)
        graph = helper.make_graph(
            self.nodes, "fashion", [shape("input", 1, 3, SIDE, SIDE)], [shape("logits", 1, CLASSES)], self.initializers
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=7, producer_name="tinysaver")
        onnx.checker.check_model(model, full_check=True)
        return model

    def _layer(self, layer: Layer, name: str, entering: str) -> str:
        kind, *rest = layer
        if kind == "head":
            return self._head(name, entering)
        if kind == "residual":
            return self._residual(rest[0], name, entering)
        _, _, stride, _, relu = rest
        return self._convolution(name, entering, stride, relu)

    def _convolution(self, name: str, entering: str, stride: int, relu: bool) -> str:
        weight = self.weights[f"{name}.weight"]
        if entering == "input":
            weight = numpy.repeat(weight / 3, 3, axis=1)
        channels_in, channels, kernel = weight.shape[1], weight.shape[0], weight.shape[2]
        depthwise = channels_in == 1
        out = self._node(
            "Conv",
            name,
            [entering, self._constant(f"{name}.weight", weight), self._constant(f"{name}.bias", self.weights[f"{name}.bias"])],
            kernel_shape=[kernel, kernel],
            strides=[stride, stride],
            pads=[kernel // 2] * 4,
            group=channels if depthwise else 1,
        )
        return self._node("Relu", f"{name}.relu", [out]) if relu else out

    def _residual(self, layers: list[Layer], name: str, entering: str) -> str:
        last, stride = entering, 1
        for place, layer in enumerate(layers):
            last = self._layer(layer, f"{name}.residual.{place}", last)
            stride *= layer[3]
        shortcut = entering
        if f"{name}.shortcut.weight" in self.weights:
            shortcut = self._convolution(f"{name}.shortcut", entering, stride, relu=False)
        total = self._node("Add", f"{name}.add", [last, shortcut])
        # ResNet's blocks begin with 3 x 3 and end in a ReLU, MobileNetV2's begin with 1 x 1 and do not
        return self._node("Relu", f"{name}.relu", [total]) if layers[0][2] == 3 else total

    def _head(self, name: str, entering: str) -> str:
        mean = self._node("GlobalAveragePool", f"{name}.mean", [entering])
        flat = self._node("Flatten", f"{name}.flat", [mean], axis=1)
        weight = self._constant(f"{name}.weight", self.weights[f"{name}.weight"])
        bias = self._constant(f"{name}.bias", self.weights[f"{name}.bias"])
        self.nodes.append(helper.make_node("Gemm", [flat, weight, bias], ["logits"], name, transB=1))
        return "logits"

    def _constant(self, name: str, values: numpy.ndarray) -> str:
        self.initializers.append(numpy_helper.from_array(numpy.ascontiguousarray(values, numpy.float32), name))
        return name

    def _node(self, operator: str, name: str, inputs: list[str], **attributes: object) -> str:
        self.nodes.append(helper.make_node(operator, inputs, [f"{name}.out"], name, **attributes))
        return f"{name}.out"
