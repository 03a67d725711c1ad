"""Makes the models that the engines are compared on, into a folder.

    models.py FOLDER PAIR

MobileNetV2, ResNet-18 and ResNet-8 get random weights of the size that He et al. 2015 give for such layers: speed does
not depend on them. MobileNetV3-small is the one of models/coverage/nets.py, with random weights too. EfficientNet-Lite0 is the pair's real one (PAIR is the folder models/imagenet-lite/build). Every
model is quantised by onnxruntime's own tool in the two forms that it has, with u8 activations and s8 weights for each
channel, which is its fastest; NAME.qdq.onnx, NAME.qop.onnx. The same once more with a quantised picture as the input,
so that a peer does not have to quantise what this project's camera path hands over quantised: NAME.qdq.u8.onnx,
NAME.qop.u8.onnx.
"""
import pathlib
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

MOBILENET_V2 = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2),
                (6, 320, 1, 1)]


class Net:
    """Nodes and weights of a classifier in the making; batch norms are folded, as they are in any deployed file."""

    def __init__(self, seed=0):
        self.random = np.random.default_rng(seed)
        self.nodes, self.weights = [], []

    def constant(self, array, name):
        self.weights.append(numpy_helper.from_array(np.asarray(array, np.float32), name))
        return name

    def node(self, op, inputs, **attributes):
        name = f"{op.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], name=name, **attributes))
        return name

    def conv(self, x, inputs, outputs, kernel, stride=1, groups=1, act=None):
        fan_in = inputs // groups * kernel * kernel
        name = f"conv{len(self.nodes)}"
        shape = (outputs, inputs // groups, kernel, kernel)
        weights = self.random.standard_normal(shape) * np.sqrt((2 if act else 1) / fan_in)
        bias = self.random.standard_normal(outputs) * 0.05
        pads = [(kernel - 1) // 2] * 4
        names = [x, self.constant(weights, name + ".w"), self.constant(bias, name + ".b")]
        x = self.node("Conv", names, kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=pads, group=groups)
        if act == "relu6":
            limits = [self.constant(limit, f"{name}.{limit}") for limit in (0, 6)]
            return self.node("Clip", [x, *limits])
        return self.node("Relu", [x]) if act else x

    def save(self, x, channels, pixels, classes, path):
        """Ends with a global average and a fully connected layer."""
        x = self.node("Flatten", [self.node("GlobalAveragePool", [x])])
        weights = self.random.standard_normal((classes, channels)) * np.sqrt(1 / channels)
        names = [x, self.constant(weights, "fc.w"), self.constant(np.zeros(classes), "fc.b")]
        self.nodes.append(helper.make_node("Gemm", names, ["logits"], name="fc", transB=1))
        value = helper.make_tensor_value_info
        inputs = [value("picture", TensorProto.FLOAT, [1, 3, pixels, pixels])]
        outputs = [value("logits", TensorProto.FLOAT, [1, classes])]
        graph = helper.make_graph(self.nodes, "net", inputs, outputs, self.weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
        onnx.save(onnx.shape_inference.infer_shapes(model, strict_mode=True), path)


def mobilenet_v2(path, pixels, classes, width):
    """Sandler et al. 2018, table 2; channels rounded to eights as in its published code."""
    def wide(channels):
        return max(8, int(channels * width + 4) // 8 * 8)

    net, channels = Net(), wide(32)
    x = net.conv("picture", 3, channels, 3, 2, act="relu6")
    for factor, outputs, count, first_stride in MOBILENET_V2:
        for index in range(count):
            stride, hidden, before = first_stride if index == 0 else 1, channels * factor, x
            if factor > 1:
                x = net.conv(x, channels, hidden, 1, act="relu6")
            x = net.conv(x, hidden, hidden, 3, stride, hidden, act="relu6")
            x = net.conv(x, hidden, wide(outputs), 1)
            if stride == 1 and channels == wide(outputs):
                x = net.node("Add", [before, x])
            channels = wide(outputs)
    net.save(net.conv(x, channels, 1280, 1, act="relu6"), 1280, pixels, classes, path)


def residual(net, x, channels, outputs, stride):
    """A basic block of He et al. 2016."""
    y = net.conv(x, channels, outputs, 3, stride, act="relu")
    y = net.conv(y, outputs, outputs, 3)
    short = x if stride == 1 and channels == outputs else net.conv(x, channels, outputs, 1, stride)
    return net.node("Relu", [net.node("Add", [y, short])])


def resnet18(path):
    net, channels = Net(), 64
    x = net.conv("picture", 3, 64, 7, 2, act="relu")
    x = net.node("MaxPool", [x], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    for outputs in (64, 128, 256, 512):
        for index in range(2):
            x = residual(net, x, channels, outputs, 2 if index == 0 and outputs > 64 else 1)
            channels = outputs
    net.save(x, 512, 224, 1000, path)


def resnet8(path):
    """The image classification net of MLPerf Tiny."""
    net = Net()
    x = net.conv("picture", 3, 16, 3, 1, act="relu")
    for channels, outputs, stride in ((16, 16, 1), (16, 32, 2), (32, 64, 2)):
        x = residual(net, x, channels, outputs, stride)
    net.save(x, 64, 32, 10, path)


def mobilenet_v3_small(path):
    """Howard et al. 2019, table 2, with ONNX's own HardSwish and HardSigmoid."""
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[3] / "models/coverage"))
    import nets

    build, _, opset = nets.NETS["mobilenet_v3_small"]
    graph = nets.Graph(0, opset)
    build(graph)
    onnx.save(graph.model(224), path)


class Noise(CalibrationDataReader):
    def __init__(self, model):
        (picture,) = model.graph.input
        shape = [axis.dim_value for axis in picture.type.tensor_type.shape.dim]
        random = np.random.default_rng(1)
        self.batches = iter([{picture.name: random.standard_normal(shape).astype(np.float32)} for _ in range(4)])

    def get_next(self):
        return next(self.batches, None)


def quantise(folder, name):
    """NAME.f32.onnx in both forms."""
    prepared = folder / f"{name}.prepared.onnx"
    quant_pre_process(folder / f"{name}.f32.onnx", prepared, skip_symbolic_shape=True)
    for form, kind in (("qdq", QuantFormat.QDQ), ("qop", QuantFormat.QOperator)):
        quantize_static(prepared, folder / f"{name}.{form}.onnx", Noise(onnx.load(prepared)), quant_format=kind,
                        per_channel=True, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8)
    prepared.unlink()


def with_quantised_input(source, target):
    """The same model without its first QuantizeLinear: the picture comes as u8."""
    model = onnx.load(source)
    (picture,) = model.graph.input
    (first,) = [node for node in model.graph.node if picture.name in node.input]
    assert first.op_type == "QuantizeLinear", f"{source}: the picture goes to {first.op_type}"
    for node in model.graph.node:
        for index, name in enumerate(node.input):
            if name == first.output[0]:
                node.input[index] = picture.name
    model.graph.node.remove(first)
    picture.type.tensor_type.elem_type = TensorProto.UINT8
    onnx.save(model, target)


def main(folder, pair):
    folder, pair = pathlib.Path(folder), pathlib.Path(pair)
    folder.mkdir(parents=True, exist_ok=True)
    made = {
        "mobilenet_v2_224": lambda path: mobilenet_v2(path, 224, 1000, 1.0),
        "mobilenet_v2_035_96": lambda path: mobilenet_v2(path, 96, 10, 0.35),
        "mobilenet_v3_small_224": mobilenet_v3_small,
        "resnet18_224": resnet18,
        "resnet8_32": resnet8,
    }
    for name, make in made.items():
        make(folder / f"{name}.f32.onnx")
    for pixels in (160, 224):
        real = onnx.load(pair / f"efficientnet_lite0_{pixels}.f32.onnx")
        onnx.save(real, folder / f"efficientnet_lite0_{pixels}.f32.onnx")
    for path in sorted(folder.glob("*.f32.onnx")):
        name = path.name.removesuffix(".f32.onnx")
        quantise(folder, name)
        if name.startswith("efficientnet"):
            # The product's own file instead of one that was calibrated on noise.
            onnx.save(onnx.load(pair / f"{name}.int8.onnx"), folder / f"{name}.qdq.onnx")
        for form in ("qdq", "qop"):
            with_quantised_input(folder / f"{name}.{form}.onnx", folder / f"{name}.{form}.u8.onnx")
        print(name, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
