"""A small builder of static ONNX graphs (opset 13, IR 7, batch 1) that counts MACs and parameters."""

from __future__ import annotations

from dataclasses import dataclass

import numpy
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 13
IR_VERSION = 7
PRODUCER = "tinysaver"


@dataclass(frozen=True)
class Tensor:
    """A value in the graph; `side` is its height and width in pixels (0 when it has none)."""

    name: str
    side: int


def same_padding(side: int, kernel: int, stride: int) -> tuple[int, int, int]:
    """TensorFlow "same" padding of one axis: (output side, padding before, padding after)."""
    output = -(-side // stride)
    total = max((output - 1) * stride + kernel - side, 0)
    return output, total // 2, total - total // 2


class GraphBuilder:
    """Collects nodes and weights. Every name is given by the caller, so the bytes are stable."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.macs = 0
        self.parameters = 0

    def _constant(self, name: str, array: numpy.ndarray) -> str:
        self.initializers.append(numpy_helper.from_array(numpy.ascontiguousarray(array), name))
        return name

    def _weight(self, name: str, array: numpy.ndarray) -> str:
        self.parameters += array.size
        return self._constant(name, array.astype(numpy.float32))

    def _node(self, kind: str, name: str, inputs: list[str], side: int, **attributes: object) -> Tensor:
        self.nodes.append(helper.make_node(kind, inputs, [name], name=f"{name}/{kind}", **attributes))
        return Tensor(name, side)

    def convolution(
        self, name: str, source: Tensor, weight: numpy.ndarray, bias: numpy.ndarray, stride: int = 1, groups: int = 1
    ) -> Tensor:
        """weight: [out, in / groups, k, k]; "same" padding, the odd row and column at the end."""
        kernel = weight.shape[2]
        side, before, after = same_padding(source.side, kernel, stride)
        self.macs += side * side * weight.size
        inputs = [source.name, self._weight(f"{name}.weight", weight), self._weight(f"{name}.bias", bias)]
        return self._node(
            "Conv", name, inputs, side,
            kernel_shape=[kernel, kernel], strides=[stride, stride], pads=[before, before, after, after], group=groups,
        )  # fmt: skip

    def relu6(self, source: Tensor) -> Tensor:
        """Clip to [0, 6]; the two bounds are shared by the whole graph."""
        if not any(entry.name == "relu6.low" for entry in self.initializers):
            self._constant("relu6.low", numpy.array(0, numpy.float32))
            self._constant("relu6.high", numpy.array(6, numpy.float32))
        return self._node("Clip", f"{source.name}.relu6", [source.name, "relu6.low", "relu6.high"], source.side)

    def add(self, name: str, left: Tensor, right: Tensor) -> Tensor:
        """The sum of two tensors of one shape."""
        return self._node("Add", name, [left.name, right.name], left.side)

    def global_pool(self, source: Tensor) -> Tensor:
        """[1, channels, side, side] -> [1, channels], by the mean."""
        pooled = self._node("GlobalAveragePool", "pool", [source.name], 1)
        return self._node("Flatten", "features", [pooled.name], 0, axis=1)

    def dense(self, name: str, source: Tensor, weight: numpy.ndarray, bias: numpy.ndarray) -> Tensor:
        """weight: [out, in]; [1, in] -> [1, out]."""
        self.macs += weight.size
        inputs = [source.name, self._weight("classifier.weight", weight), self._weight("classifier.bias", bias)]
        return self._node("Gemm", name, inputs, 0, transB=1)

    def finish(self, name: str, side: int, output: Tensor, classes: int, facts: dict[str, str]) -> onnx.ModelProto:
        """The checked model: `input` [1, 3, side, side] f32 -> the output [1, classes] f32."""
        graph = helper.make_graph(
            self.nodes,
            name,
            [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, side, side])],
            [helper.make_tensor_value_info(output.name, TensorProto.FLOAT, [1, classes])],
            self.initializers,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name=PRODUCER)
        model.ir_version = IR_VERSION
        helper.set_model_props(model, facts)
        onnx.checker.check_model(model, full_check=True)
        return model
