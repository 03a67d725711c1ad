"""Serves one engine that is not ours, like the example `engine` of this crate: says READY, then reads numbers and
answers each with a line after that many inferences; 0 ends it.

    peer.py ort|openvino|tflite|mnn|ncnn MODEL

One thread, batch 1. The input is noise in the model's own type.
"""
import sys

import numpy as np


def noise(shape, kind):
    random = np.random.default_rng(0)
    if np.issubdtype(kind, np.floating):
        return random.standard_normal(shape).astype(kind)
    limits = np.iinfo(kind)
    return random.integers(limits.min, limits.max, shape, kind, endpoint=True)


def ort(model):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    (picture,) = session.get_inputs()
    kind = np.uint8 if picture.type == "tensor(uint8)" else np.float32
    binding = session.io_binding()
    # The binding does not copy, so the array must live as long.
    array = noise(picture.shape, kind)
    binding.bind_cpu_input(picture.name, array)
    binding.bind_output(session.get_outputs()[0].name)
    return lambda array=array: session.run_with_iobinding(binding)


def openvino(model):
    import openvino

    # f32: whatever is left unquantised is not to be rounded to bfloat16 where the processor has that.
    settings = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY",
                "INFERENCE_PRECISION_HINT": "f32"}
    request = openvino.Core().compile_model(model, "CPU", settings).create_infer_request()
    tensor = request.get_input_tensor(0)
    array = noise(list(tensor.shape), tensor.element_type.to_dtype().type)
    request.set_input_tensor(openvino.Tensor(array))
    return lambda array=array: request.infer()


def tflite(model):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model, num_threads=1)
    interpreter.allocate_tensors()
    (picture,) = interpreter.get_input_details()
    interpreter.set_tensor(picture["index"], noise(picture["shape"], picture["dtype"]))
    return interpreter.invoke


def mnn(model):
    import MNN

    interpreter = MNN.Interpreter(model)
    session = interpreter.createSession({"numThread": 1, "backend": "CPU"})
    tensor = interpreter.getSessionInput(session)
    shape = tensor.getShape()
    array = noise(shape, np.float32)
    tensor.copyFrom(MNN.Tensor(shape, MNN.Halide_Type_Float, array, MNN.Tensor_DimensionType_Caffe))
    return lambda: interpreter.runSession(session)


def ncnn(model):
    import ncnn

    net = ncnn.Net()
    net.opt.num_threads = 1
    weights = model.removesuffix(".param") + ".bin"
    if net.load_param(model) or net.load_model(weights):
        raise SystemExit(f"ncnn cannot load {model}")
    pixels = int(model.rsplit("_", 1)[1].split(".")[0])
    # The matrix does not copy, so the array must live as long.
    array = noise([3, pixels, pixels], np.float32)
    picture = ncnn.Mat(array)

    def infer(array=array):
        extractor = net.create_extractor()
        extractor.input("in0", picture)
        failed, _ = extractor.extract("out0")
        if failed:
            raise SystemExit(f"ncnn cannot run {model}")

    return infer


def main(kind, model):
    infer = {"ort": ort, "openvino": openvino, "tflite": tflite, "mnn": mnn, "ncnn": ncnn}[kind](model)
    infer()
    print("READY", kind, flush=True)
    for line in sys.stdin:
        if not int(line):
            break
        for _ in range(int(line)):
            infer()
        print("done", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
