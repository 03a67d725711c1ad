"""The architectures that the int8 engine has to cover, as ONNX graphs with random weights (fixed seed, normalisation
folded). Layer lists follow the papers and torchvision; only widths, sizes and operators matter here, not accuracy.

Every function gives a `Graph`; `NETS` names them all, with the side of their square input.
"""

from __future__ import annotations

import numpy
from onnx import ModelProto, TensorProto, checker, helper, numpy_helper, shape_inference

CLASSES = 1000


class Graph:
    """Collects nodes; every method gives the name of its output and follows its channels."""

    def __init__(self, seed: int, opset: int = 13) -> None:
        self.random = numpy.random.default_rng(seed)
        self.opset, self.nodes, self.weights = opset, [], []
        self.channels = {"input": 3}

    def constant(self, array: numpy.ndarray) -> str:
        """A weight or a parameter."""
        name = f"c{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(array, name))
        return name

    def op(self, kind: str, *inputs: str, channels: int | None = None, outputs: int = 1, **attributes) -> str:
        """A node; `channels` where they differ from the first input's. Several outputs are NAME_0, NAME_1, ..."""
        name = f"{kind.lower()}{len(self.nodes)}"
        names = [name] if outputs == 1 else [f"{name}_{index}" for index in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, name=name, **attributes))
        for output in names:
            self.channels[output] = channels if channels is not None else self.channels[inputs[0]]
        return name

    def conv(self, x: str, outputs: int, kernel: int, stride: int = 1, group: int = 1, act: str = "",
             pads: list[int] | None = None) -> str:
        """A convolution with bias and what follows it."""
        inputs = self.channels[x]
        fan = inputs // group * kernel * kernel
        gain = 2.0 if act else 1.0
        weights = self.random.standard_normal((outputs, inputs // group, kernel, kernel)) * numpy.sqrt(gain / fan)
        bias = self.random.standard_normal(outputs) * 0.05
        half = (kernel - 1) // 2
        y = self.op("Conv", x, self.constant(weights.astype("f4")), self.constant(bias.astype("f4")), channels=outputs,
                    kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=pads or [half] * 4, group=group)
        return self.act(y, act)

    def depthwise(self, x: str, kernel: int, stride: int = 1, act: str = "") -> str:
        """One filter a channel."""
        return self.conv(x, self.channels[x], kernel, stride, self.channels[x], act)

    def act(self, x: str, kind: str) -> str:
        """An activation by the name that papers give it."""
        if kind == "relu6":
            return self.op("Clip", x, self.constant(numpy.float32(0)), self.constant(numpy.float32(6)))
        if kind == "silu":
            return self.op("Mul", x, self.op("Sigmoid", x))
        if kind == "hswish_product":  # as exporters write it where the opset has no HardSwish
            return self.op("Mul", x, self.op("HardSigmoid", x, alpha=1 / 6, beta=0.5))
        if kind == "hsigmoid":
            return self.op("HardSigmoid", x, alpha=1 / 6, beta=0.5)
        names = {"relu": "Relu", "hswish": "HardSwish", "sigmoid": "Sigmoid"}
        return self.op(names[kind], x) if kind else x

    def squeeze_excite(self, x: str, squeezed: int, inner: str, gate: str) -> str:
        """A gate for every channel."""
        channels = self.channels[x]
        y = self.conv(self.op("GlobalAveragePool", x), squeezed, 1, act=inner)
        return self.op("Mul", x, self.conv(y, channels, 1, act=gate))

    def head(self, x: str, *hidden: int, act: str = "") -> None:
        """Pool, flatten, fully connected layers; the last gives the logits."""
        x = self.op("Flatten", self.op("GlobalAveragePool", x), axis=1)
        for units in hidden:
            x = self.act(self.connected(x, units), act)
        self.connected(x, CLASSES)
        self.nodes[-1].output[0] = "logits"

    def connected(self, x: str, units: int) -> str:
        """A fully connected layer."""
        weights = self.random.standard_normal((units, self.channels[x])) / numpy.sqrt(self.channels[x])
        bias = self.random.standard_normal(units) * 0.05
        return self.op("Gemm", x, self.constant(weights.astype("f4")), self.constant(bias.astype("f4")),
                       channels=units, transB=1)

    def model(self, side: int) -> ModelProto:
        """The finished model for pictures of `side` by `side`."""
        graph = helper.make_graph(
            self.nodes, "coverage", [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, side, side])],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, CLASSES])], self.weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8)
        checker.check_model(model)
        return shape_inference.infer_shapes(model)


def inverted(g: Graph, x: str, outputs: int, kernel: int, stride: int, hidden: int, act: str, gate=None) -> str:
    """An inverted residual (MobileNetV2 and everything after it); `gate` is put after the depthwise filter."""
    inputs = g.channels[x]
    y = g.conv(x, hidden, 1, act=act) if hidden != inputs else x
    y = g.depthwise(y, kernel, stride, act)
    y = g.conv(gate(y) if gate else y, outputs, 1)
    return g.op("Add", x, y) if stride == 1 and inputs == outputs else y


def mobilenet_v1(g: Graph) -> None:
    x = g.conv("input", 32, 3, 2, act="relu6")
    for outputs, stride in [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2),
                            (1024, 1)]:
        x = g.conv(g.depthwise(x, 3, stride, "relu6"), outputs, 1, act="relu6")
    g.head(x)


def mobilenet_v2(g: Graph) -> None:
    x = g.conv("input", 32, 3, 2, act="relu6")
    for expand, outputs, repeats, stride in [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1),
                                             (6, 160, 3, 2), (6, 320, 1, 1)]:
        for index in range(repeats):
            x = inverted(g, x, outputs, 3, stride if index == 0 else 1, expand * g.channels[x], "relu6")
    g.head(g.conv(x, 1280, 1, act="relu6"))


def eighth(channels: float) -> int:
    """The nearest multiple of 8, at most a tenth smaller."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


SMALL = [(3, 16, 16, True, "relu", 2), (3, 72, 24, False, "relu", 2), (3, 88, 24, False, "relu", 1),
         (5, 96, 40, True, "hs", 2), (5, 240, 40, True, "hs", 1), (5, 240, 40, True, "hs", 1),
         (5, 120, 48, True, "hs", 1), (5, 144, 48, True, "hs", 1), (5, 288, 96, True, "hs", 2),
         (5, 576, 96, True, "hs", 1), (5, 576, 96, True, "hs", 1)]
LARGE = [(3, 16, 16, False, "relu", 1), (3, 64, 24, False, "relu", 2), (3, 72, 24, False, "relu", 1),
         (5, 72, 40, True, "relu", 2), (5, 120, 40, True, "relu", 1), (5, 120, 40, True, "relu", 1),
         (3, 240, 80, False, "hs", 2), (3, 200, 80, False, "hs", 1), (3, 184, 80, False, "hs", 1),
         (3, 184, 80, False, "hs", 1), (3, 480, 112, True, "hs", 1), (3, 672, 112, True, "hs", 1),
         (5, 672, 160, True, "hs", 2), (5, 960, 160, True, "hs", 1), (5, 960, 160, True, "hs", 1)]


def mobilenet_v3(g: Graph, blocks: list, last: int, hidden: int, hswish: str) -> None:
    x = g.conv("input", 16, 3, 2, act=hswish)
    for kernel, expanded, outputs, has_gate, act, stride in blocks:
        def gate(y: str) -> str:
            return g.squeeze_excite(y, eighth(g.channels[y] / 4), "relu", "hsigmoid")
        x = inverted(g, x, outputs, kernel, stride, expanded, hswish if act == "hs" else act,
                     gate if has_gate else None)
    g.head(g.conv(x, last, 1, act=hswish), hidden, act=hswish)


EFFICIENTNET = [(1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5), (6, 80, 3, 2, 3), (6, 112, 3, 1, 5),
                (6, 192, 4, 2, 5), (6, 320, 1, 1, 3)]


def efficientnet(g: Graph, width: float, depth: float, act: str, lite: bool) -> None:
    x = g.conv("input", 32 if lite else eighth(32 * width), 3, 2, act=act)
    for block, (expand, outputs, repeats, stride, kernel) in enumerate(EFFICIENTNET):
        fixed = lite and block in (0, len(EFFICIENTNET) - 1)
        for index in range(repeats if fixed else int(numpy.ceil(repeats * depth))):
            inputs = g.channels[x]

            def gate(y: str, squeezed: int = max(1, inputs // 4)) -> str:
                return g.squeeze_excite(y, squeezed, act, "sigmoid")
            x = inverted(g, x, eighth(outputs * width), kernel, stride if index == 0 else 1, expand * inputs, act,
                         None if lite else gate)
    g.head(g.conv(x, 1280 if lite else eighth(1280 * width), 1, act=act))


def shuffle(g: Graph, x: str, side: int) -> str:
    """Channels dealt out in two hands, as torchvision's view, transpose, view."""
    channels = g.channels[x]
    y = g.op("Reshape", x, g.constant(numpy.array([1, 2, channels // 2, side, side])))
    y = g.op("Transpose", y, perm=[0, 2, 1, 3, 4])
    return g.op("Reshape", y, g.constant(numpy.array([1, channels, side, side])), channels=channels)


def shufflenet_v2(g: Graph, side: int) -> None:
    x = g.conv("input", 24, 3, 2, act="relu")
    x = g.op("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    side = side // 4
    for outputs, repeats in [(116, 4), (232, 8), (464, 4)]:
        half = outputs // 2
        for index in range(repeats):
            if index == 0:
                side = -(-side // 2)
                left, right = g.conv(g.depthwise(x, 3, 2), half, 1, act="relu"), x
            else:
                split = g.op("Split", x, channels=half, outputs=2, axis=1)
                left, right = f"{split}_0", f"{split}_1"
            right = g.depthwise(g.conv(right, half, 1, act="relu"), 3, 2 if index == 0 else 1)
            right = g.conv(right, half, 1, act="relu")
            x = shuffle(g, g.op("Concat", left, right, channels=outputs, axis=1), side)
    g.head(g.conv(x, 1024, 1, act="relu"))


def squeezenet(g: Graph) -> None:
    def pool(x: str) -> str:
        return g.op("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)
    x = pool(g.conv("input", 64, 3, 2, act="relu", pads=[0, 0, 0, 0]))
    for squeezed, expanded, then_pool in [(16, 64, False), (16, 64, True), (32, 128, False), (32, 128, True),
                                          (48, 192, False), (48, 192, False), (64, 256, False), (64, 256, False)]:
        y = g.conv(x, squeezed, 1, act="relu")
        x = g.op("Concat", g.conv(y, expanded, 1, act="relu"), g.conv(y, expanded, 3, act="relu"),
                 channels=2 * expanded, axis=1)
        x = pool(x) if then_pool else x
    x = g.op("Dropout", x)
    x = g.op("GlobalAveragePool", g.conv(x, CLASSES, 1, act="relu"))
    g.op("Flatten", x, axis=1)
    g.nodes[-1].output[0] = "logits"


def mnasnet(g: Graph) -> None:
    x = g.conv(g.depthwise(g.conv("input", 32, 3, 2, act="relu"), 3, 1, "relu"), 16, 1)
    for kernel, stride, expand, outputs, repeats in [(3, 2, 3, 24, 3), (5, 2, 3, 40, 3), (5, 2, 6, 80, 3),
                                                     (3, 1, 6, 96, 2), (5, 2, 6, 192, 4), (3, 1, 6, 320, 1)]:
        for index in range(repeats):
            x = inverted(g, x, outputs, kernel, stride if index == 0 else 1, expand * g.channels[x], "relu")
    g.head(g.conv(x, 1280, 1, act="relu"))


def residual(g: Graph, x: str, outputs: int, stride: int, layers) -> str:
    """`layers` and the input, or its projection, added."""
    same = stride == 1 and g.channels[x] == outputs
    return g.act(g.op("Add", layers(x), x if same else g.conv(x, outputs, 1, stride)), "relu")


def resnet8(g: Graph) -> None:
    x = g.conv("input", 16, 3, act="relu")
    for width, stride in [(16, 1), (32, 2), (64, 2)]:
        x = residual(g, x, width, stride, lambda y: g.conv(g.conv(y, width, 3, stride, act="relu"), width, 3))
    g.head(x)


def resnet(g: Graph, repeats: list[int], bottleneck: bool) -> None:
    x = g.conv("input", 64, 7, 2, act="relu")
    x = g.op("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    for stage, (count, width) in enumerate(zip(repeats, [64, 128, 256, 512])):
        for index in range(count):
            stride = 2 if index == 0 and stage > 0 else 1

            def layers(y: str) -> str:
                if not bottleneck:
                    return g.conv(g.conv(y, width, 3, stride, act="relu"), width, 3)
                y = g.conv(g.conv(y, width, 1, act="relu"), width, 3, stride, act="relu")
                return g.conv(y, 4 * width, 1)
            x = residual(g, x, 4 * width if bottleneck else width, stride, layers)
    g.head(x)


def regnet_y_400mf(g: Graph) -> None:
    x = g.conv("input", 32, 3, 2, act="relu")
    for width, repeats in [(48, 1), (104, 3), (208, 6), (440, 6)]:
        for index in range(repeats):
            stride, squeezed = 2 if index == 0 else 1, g.channels[x] // 4

            def layers(y: str) -> str:
                y = g.conv(g.conv(y, width, 1, act="relu"), width, 3, stride, width // 8, "relu")
                return g.conv(g.squeeze_excite(y, squeezed, "relu", "sigmoid"), width, 1)
            x = residual(g, x, width, stride, layers)
    g.head(x)


def _lite(width: float, depth: float):
    return lambda g: efficientnet(g, width, depth, "relu6", lite=True)


# name: (function, side of the input, opset)
NETS = {
    "mobilenet_v1": (mobilenet_v1, 96, 13),
    "mobilenet_v2": (mobilenet_v2, 96, 13),
    "mobilenet_v3_small": (lambda g: mobilenet_v3(g, SMALL, 576, 1024, "hswish"), 96, 14),
    "mobilenet_v3_small_product": (lambda g: mobilenet_v3(g, SMALL, 576, 1024, "hswish_product"), 64, 13),
    "mobilenet_v3_large": (lambda g: mobilenet_v3(g, LARGE, 960, 1280, "hswish"), 96, 14),
    "efficientnet_lite0": (_lite(1.0, 1.0), 96, 13),
    "efficientnet_lite1": (_lite(1.0, 1.1), 96, 13),
    "efficientnet_lite2": (_lite(1.1, 1.2), 96, 13),
    "efficientnet_lite3": (_lite(1.2, 1.4), 64, 13),
    "efficientnet_lite4": (_lite(1.4, 1.8), 64, 13),
    "efficientnet_b0": (lambda g: efficientnet(g, 1.0, 1.0, "silu", lite=False), 96, 13),
    "shufflenet_v2": (lambda g: shufflenet_v2(g, 96), 96, 13),
    "squeezenet_1_1": (squeezenet, 96, 13),
    "mnasnet": (mnasnet, 96, 13),
    "resnet8": (resnet8, 32, 13),
    "resnet18": (lambda g: resnet(g, [2, 2, 2, 2], False), 64, 13),
    "resnet50": (lambda g: resnet(g, [3, 4, 6, 3], True), 64, 13),
    "regnet_y_400mf": (regnet_y_400mf, 96, 13),
}
