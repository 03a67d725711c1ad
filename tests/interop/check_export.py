"""What `tinysaver export` writes, in real Triton and against KServe's own types.

usage: check_export.py TINYSAVER PHOTOS TRITON_PYTHON KSERVE_PYTHON
NVIDIA's wheel carries no ONNX backend: the model's own step runs by the Python backend with onnxruntime instead, under the same
name, with the exported file, inputs, outputs and batching. All other files are used as they were written.
"""
import contextlib
import os
import pathlib
import queue
import shutil
import subprocess
import sys
import tempfile

import numpy as np
import tritonclient.grpc as grpc

from check_client import MODEL, check, free_ports, run, running
from figures import write_interop
from photos import widened

PHOTOS = 32
STAND_IN = '''import os, sys
sys.path.insert(0, {packages!r})
import onnxruntime
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        path = os.path.join(args["model_repository"], args["model_version"], "model.onnx")
        self.session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        self.input = self.session.get_inputs()[0].name

    def execute(self, requests):
        replies = []
        for request in requests:
            tensor = pb_utils.get_input_tensor_by_name(request, self.input).as_numpy()
            replies.append(pb_utils.InferenceResponse([pb_utils.Tensor("logits", self.session.run(None, {{self.input: tensor}})[0])]))
        return replies
'''


def with_stand_in(repository, packages):
    config = repository / MODEL / "config.pbtxt"
    text = config.read_text()
    assert 'backend: "onnxruntime"' in text
    config.write_text(text.replace('backend: "onnxruntime"', 'backend: "python"'))
    (repository / MODEL / "1" / "model.py").write_text(STAND_IN.format(packages=str(packages)))
    # The backend's own process does not look into the virtual environment, where Pillow is.
    photos = repository / f"{MODEL}_preprocess" / "1" / "model.py"
    photos.write_text(f"import sys; sys.path.insert(0, {str(packages)!r})\n" + photos.read_text())


@contextlib.contextmanager
def tritonserver(python, repository, folder):
    packages = next(pathlib.Path(python).absolute().parents[1].glob("lib/python3*/site-packages"))
    server, backends = packages / "pytriton" / "tritonserver", folder / "backends" / "python"
    backends.mkdir(parents=True)
    for path in [*(server / "backends" / "python").iterdir(), server / "python_backend_stubs" / "3.11" / "triton_python_backend_stub"]:
        if path.is_file():
            shutil.copy(path, backends)
    with_stand_in(repository, packages)
    http, port, metrics = free_ports(3)
    listen = [f"--{name}-{key}={value}" for name, number in (("http", http), ("grpc", port), ("metrics", metrics))
              for key, value in (("address", "127.0.0.1"), ("port", number))]
    libraries = f"{packages}/nvidia_pytriton.libs:/usr/lib/x86_64-linux-gnu"
    command = [server / "bin" / "tritonserver", f"--model-repository={repository}", f"--backend-directory={backends.parent}", *listen]
    with running(command, f"http://127.0.0.1:{http}/v2/models/{MODEL}_jpeg/ready", folder / "triton.log",
                 env={**os.environ, "PYTHONPATH": str(packages), "LD_LIBRARY_PATH": libraries}):
        yield f"127.0.0.1:{port}"


def check_batches(address):
    """Triton gathers requests that come at the same time: fewer executions than pictures."""
    client = grpc.InferenceServerClient(address)
    config = client.get_model_config(MODEL).config
    side = config.input[0].dims[-1]
    tensor = grpc.InferInput(config.input[0].name, [1, 3, side, side], "FP32")
    tensor.set_data_from_numpy(np.zeros((1, 3, side, side), np.float32))

    answers = queue.Queue()
    before = client.get_inference_statistics(MODEL).model_stats[0]
    for _ in range(32):
        client.async_infer(MODEL, [tensor], lambda result, error: answers.put((result, error)))
    for _ in range(32):
        _, error = answers.get(timeout=300)
        assert error is None, error
    after = client.get_inference_statistics(MODEL).model_stats[0]
    pictures, executions = after.inference_count - before.inference_count, after.execution_count - before.execution_count
    assert pictures == 32 and executions < 32, f"{pictures} pictures in {executions} executions"
    no_photo = grpc.InferInput("jpeg", [1, 1], "BYTES")
    no_photo.set_data_from_numpy(np.array([[b"no photo"]], np.object_))
    try:
        client.infer(f"{MODEL}_jpeg", [no_photo])
        raise AssertionError("a photo that is none was taken")
    except grpc.InferenceServerException as error:
        assert "not a photo" in str(error), error
    return f"{pictures} pictures in {executions} executions; what is no photo is refused"


def check_manifest(python, path):
    script = """import json, sys, yaml
from kserve import V1beta1InferenceService, V1beta1InferenceServiceSpec, V1beta1ModelSpec, V1beta1PredictorSpec
service = yaml.safe_load(open(sys.argv[1]))
spec = service["spec"]
for part, kind in ((service, V1beta1InferenceService), (spec, V1beta1InferenceServiceSpec),
                   (spec["predictor"], V1beta1PredictorSpec), (spec["predictor"]["model"], V1beta1ModelSpec)):
    unknown = set(part) - set(kind.attribute_map.values())
    assert not unknown, (kind.__name__, unknown)
assert (service["apiVersion"], service["kind"]) == ("serving.kserve.io/v1beta1", "InferenceService")
"""
    done = subprocess.run([python, "-c", script, path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-300:]
    return "every key is one of KServe SDK 0.21.0's types; no cluster was tried"


def main():
    binary, photos, triton_python, kserve_python = sys.argv[1:5]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "photos").mkdir()
        whole = widened(photos, folder / "photos", PHOTOS)
        repository, manifest = folder / "repository", folder / "service.yaml"
        subprocess.run([binary, "export", "--base", MODEL, "--triton", repository, "--kserve", manifest, "--storage-uri", "s3://x/y"],
                       check=True, stdout=subprocess.DEVNULL)
        expected, _ = run(binary, folder / "photos")
        with tritonserver(triton_python, repository, folder) as address:
            asked = (binary, folder / "photos", expected, f"grpc://{address}/{MODEL}")
            cases = [
                ("exported, photos", lambda: check(*asked, f"{MODEL}_jpeg: photos over gRPC")),
                ("exported, exact", lambda: check(*asked, f"{MODEL}: floats over gRPC", "--offload-exact")),
                ("exported, batches", lambda: check_batches(address)),
                ("KServe manifest", lambda: check_manifest(kserve_python, manifest)),
            ]
            for name, case in cases:
                try:
                    row = (name, "ok", case())
                except Exception as error:  # a check that fails must not hide the others
                    row = (name, "FAILED", f"{type(error).__name__}: {error}".replace("\n", " "))
                rows.append(row)
                print(f"{row[1]:7} {name:22} {row[2]}", flush=True)
    write_interop("export", "Triton 2.51.0 (its ONNX backend is not in the wheel: onnxruntime in the Python backend stands in for that one "
                  "step), KServe SDK 0.21.0", len(expected), whole, rows)
    sys.exit(0 if all(result == "ok" for _, result, _ in rows) else 1)


if __name__ == "__main__":
    main()
