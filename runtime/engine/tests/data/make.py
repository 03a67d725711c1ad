"""Writes the small quantised models of this folder, an input for each and onnxruntime's answer to it.

Once, by hand: pip install numpy==2.4.6 onnx==1.23.2 onnxruntime==1.32.0; python make.py
A name as argument makes only files that begin with it.
NAME.onnx is the model; NAME.golden is its input tensor as the engine takes it (stored steps as u8, NHWC), then the
logits as little-endian f32. onnxruntime runs with `session.x64quantprecision`, without which its AVX2 kernel saturates.
"""
import os
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

HERE = os.path.dirname(os.path.abspath(__file__))
SIDE = 15
rng = np.random.default_rng(7)


class Net:
    """Collects nodes; every method gives the name of its output."""

    def __init__(self, opset):
        self.nodes, self.weights, self.opset = [], [], opset

    def constant(self, array):
        name = f"constant{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def op(self, kind, *inputs, **attributes):
        name = f"{kind.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=name, **attributes))
        return name

    def conv(self, x, inputs, outputs, side, bias=True, group=1, **attributes):
        scale = np.sqrt(2.0 / (inputs // group * side * side))
        weights = (rng.standard_normal((outputs, inputs // group, side, side)) * scale).astype(np.float32)
        extra = [self.constant((rng.standard_normal(outputs) * 0.1).astype(np.float32))] if bias else []
        return self.op("Conv", x, self.constant(weights), *extra, kernel_shape=[side, side], group=group, **attributes)

    def relu6(self, x):
        return self.op("Clip", x, self.constant(np.float32(0)), self.constant(np.float32(6)))

    def named(self, output):
        return self.model(output, "add")

    def model(self, output, flat="gemm"):
        last = self.op("Flatten", output, axis=1) if not output.startswith(flat) else output
        self.nodes[-1].output[0] = "logits"
        graph = helper.make_graph(
            self.nodes, "g", [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, SIDE, SIDE])],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, None])], self.weights)
        del last
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8)


def mobile():
    """Strided and asymmetric convolutions, depthwise ones, a residual sum, a fully connected layer."""
    net = Net(13)
    x = net.relu6(net.conv("input", 3, 17, 3, strides=[2, 2], pads=[0, 0, 1, 1]))
    y = net.op("Relu", net.conv(x, 17, 17, 3, group=17, pads=[1, 1, 1, 1]))
    x = net.op("Add", x, net.conv(y, 17, 17, 1))
    x = net.relu6(net.conv(x, 17, 40, 1, bias=False))
    x = net.relu6(net.conv(x, 40, 40, 5, group=40, strides=[2, 2], pads=[1, 1, 2, 2]))
    x = net.op("Flatten", net.op("GlobalAveragePool", net.conv(x, 40, 24, 1)), axis=1)
    weights = net.constant((rng.standard_normal((10, 24)) * 0.3).astype(np.float32))
    return net.model(net.op("Gemm", x, weights, net.constant(rng.standard_normal(10).astype(np.float32)), transB=1))


def mixed():
    """Dilation, groups, concatenation, the pools."""
    net = Net(13)
    x = net.op("Relu", net.conv("input", 3, 8, 3, dilations=[2, 2], pads=[2, 1, 2, 3]))
    x = net.op("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    a = net.op("Relu", net.conv(x, 8, 6, 1))
    b = net.op("Relu", net.conv(x, 8, 10, 3, pads=[1, 1, 1, 1]))
    x = net.conv(net.op("Concat", a, b, axis=1), 16, 16, 3, group=4, pads=[0, 1, 1, 0])
    return net.model(net.op("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2]))


def gated():
    """Squeeze and excite, table functions, a resize."""
    net = Net(14)
    x = net.op("HardSwish", net.conv("input", 3, 12, 3, strides=[2, 2], pads=[1, 1, 1, 1]))
    gate = net.op("Relu", net.conv(net.op("GlobalAveragePool", x), 12, 4, 1))
    gate = net.op("Sigmoid", net.conv(gate, 4, 12, 1))
    x = net.op("LeakyRelu", net.conv(net.op("Mul", x, gate), 12, 20, 1), alpha=0.1)
    scales = net.constant(np.array([1, 1, 2, 2], np.float32))
    x = net.op("Resize", net.conv(x, 20, 5, 2), "", scales, mode="nearest",
               coordinate_transformation_mode="asymmetric", nearest_mode="floor")
    return net.model(net.conv(x, 5, 7, 1))


def shuffled():
    """Views: channels split, shuffled and joined, slices, a gate a pixel; means that drop their axes."""
    net = Net(13)
    x = net.op("Relu", net.conv("input", 3, 16, 3, strides=[2, 2], pads=[1, 1, 1, 1]))
    split = f"split{len(net.nodes)}"
    net.nodes.append(helper.make_node("Split", [x], [split + "a", split + "b"], name=split, axis=1))
    y = net.op("Concat", split + "a", net.op("Relu", net.conv(split + "b", 8, 8, 3, group=8, pads=[1, 1, 1, 1])), axis=1)
    y = net.op("Reshape", y, net.constant(np.array([1, 2, 8, 8, 8])))
    y = net.op("Reshape", net.op("Transpose", y, perm=[0, 2, 1, 3, 4]), net.constant(np.array([0, 16, 8, -1])))
    gate = net.op("HardSigmoid", net.conv(y, 16, 1, 1), alpha=1 / 6, beta=0.5)
    y = net.op("Mul", gate, y)
    ends = [net.constant(np.array(numbers)) for numbers in ([1, -7], [8, 2**40], [3, 2], [2, 1])]
    y = net.op("Relu", net.conv(net.op("Slice", y, *ends), 16, 12, 3))
    y = net.op("ReduceMean", y, axes=[2, 3], keepdims=0)
    weights = net.constant((rng.standard_normal((12, 9)) * 0.3).astype(np.float32))
    net.op("Add", net.op("MatMul", y, weights), net.constant(rng.standard_normal(9).astype(np.float32)))
    return net.named("add")


def left():
    """Operators without an int8 step between convolutions, and a last layer that is not quantised."""
    net = Net(13)
    x = net.op("Relu", net.conv("input", 3, 12, 3, strides=[2, 2], pads=[1, 1, 1, 1]))
    x = net.conv(net.op("Softplus", x), 12, 12, 1)
    x = net.op("Mul", net.op("Elu", x), net.op("Abs", x))
    x = net.op("Flatten", net.op("GlobalAveragePool", net.conv(x, 12, 10, 3)), axis=1)
    weights = net.constant((rng.standard_normal((7, 10)) * 0.3).astype(np.float32))
    return net.model(net.op("Gemm", x, weights, net.constant(rng.standard_normal(7).astype(np.float32)), transB=1))


class Pictures(CalibrationDataReader):
    def __init__(self):
        self.left = [rng.standard_normal((1, 3, SIDE, SIDE)).astype(np.float32) for _ in range(8)]

    def get_next(self):
        return {"input": self.left.pop()} if self.left else None


def write(name, model, **options):
    if not name.startswith(tuple(sys.argv[1:]) or ""):
        return
    path = os.path.join(HERE, name + ".onnx")
    with tempfile.TemporaryDirectory() as folder:
        source = os.path.join(folder, "f32.onnx")
        onnx.save(onnx.shape_inference.infer_shapes(model), source)
        quantize_static(source, path, Pictures(), **options)
    quantised = onnx.load(path)
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in quantised.graph.initializer}
    first = next(n for n in quantised.graph.node if n.op_type == "QuantizeLinear" and n.input[0] == "input")
    scale, zero = constants[first.input[1]], constants[first.input[2]]
    settings = ort.SessionOptions()
    settings.intra_op_num_threads = 1
    settings.add_session_config_entry("session.x64quantprecision", "1")
    session = ort.InferenceSession(path, settings, providers=["CPUExecutionProvider"])
    picture = rng.standard_normal((1, 3, SIDE, SIDE)).astype(np.float32)
    logits = session.run(None, {"input": picture})[0]
    least = np.iinfo(zero.dtype).min
    steps = np.clip(np.rint(picture / scale) + int(zero), least, least + 255) - least
    with open(os.path.join(HERE, name + ".golden"), "wb") as file:
        file.write(steps.astype(np.uint8)[0].transpose(1, 2, 0).tobytes())
        file.write(logits.astype("<f4").tobytes())
    print(name, os.path.getsize(path), logits.shape)


U8, S8, QDQ, QOP = QuantType.QUInt8, QuantType.QInt8, QuantFormat.QDQ, QuantFormat.QOperator
FORMS = {
    "qdq_u8": dict(quant_format=QDQ, activation_type=U8, weight_type=S8, per_channel=True),
    "qdq_s8": dict(quant_format=QDQ, activation_type=S8, weight_type=S8, per_channel=True),
    "qdq_u8_tensor": dict(quant_format=QDQ, activation_type=U8, weight_type=U8, per_channel=False),
    "qop_u8": dict(quant_format=QOP, activation_type=U8, weight_type=S8, per_channel=True),
}
for net in (mobile, mixed, gated, shuffled, left):
    for form, options in FORMS.items():
        if net in (shuffled, left) and form == "qdq_s8":
            continue  # onnxruntime computes it in f32
        # The last layer of `left` stays in f32 in one form, and gives f32 from int8 in the other.
        more = {"nodes_to_exclude": ["gemm10"]} if net is left and form == "qop_u8" else {}
        try:
            write(f"{net.__name__}_{form}", net(), **options, **more)
        except Exception as error:  # onnxruntime itself cannot run every form of every net
            print(net.__name__, form, "left out:", str(error).splitlines()[0][:160])
