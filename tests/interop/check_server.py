"""NVIDIA's own client against `tinysaver serve`: every way of asking, and what it makes of errors.

usage: check_server.py TINYSAVER PHOTOS
"""
import asyncio
import contextlib
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import tritonclient.grpc as grpc
import tritonclient.grpc.aio as grpc_aio
import tritonclient.http as http
import tritonclient.http.aio as http_aio
from tritonclient.utils import InferenceServerException

from figures import write_interop
from photos import widened

MODEL = "lite2-260-f32"
SIDE = 260
CLASSES = 1000
COUNT = 100


@contextlib.contextmanager
def serving(binary, *arguments):
    command = [binary, "serve", "--model", MODEL, "--listen", "127.0.0.1:0", "--max-wait-ms", "60000", *arguments]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        line = server.stdout.readline()
        yield line.split("://")[1].split(" ")[0]
    finally:
        server.terminate()
        assert server.wait(30) == 0, "the server did not end well"


def local_classes(binary, photos):
    """What the same model says on the board itself."""
    command = [binary, "run", "--json", "--source", photos, "--threshold", "1", "--base", MODEL]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    records = [json.loads(line) for line in lines[:-1]]
    return {record["source"]: record["class"] for record in records if record["outcome"] == "answered"}


def photo_input(kind, photo, shape=(1, 1), **how):
    tensor = kind.InferInput("image", list(shape), "BYTES")
    tensor.set_data_from_numpy(np.array(photo, dtype=np.object_).reshape(shape), **how)
    return tensor


def pixel_input(kind, value=90, **how):
    tensor = kind.InferInput("image", [1, SIDE, SIDE, 3], "UINT8")
    tensor.set_data_from_numpy(np.full((1, SIDE, SIDE, 3), value, np.uint8), **how)
    return tensor


def float_input(kind, value=90, **how):
    tensor = kind.InferInput("image", [1, 3, SIDE, SIDE], "FP32")
    tensor.set_data_from_numpy(np.full((1, 3, SIDE, SIDE), (value - 127) / 128, np.float32), **how)
    return tensor


def check_photos(client, kind, expected, model=MODEL):
    for path, wanted in expected.items():
        logits = client.infer(model, [photo_input(kind, pathlib.Path(path).read_bytes())]).as_numpy("logits")
        assert logits.shape == (1, CLASSES) and int(logits.argmax()) == wanted, path
    return f"{len(expected)} photos, classes as on the board"


def check_metadata(client, kind):
    assert client.is_server_live() and client.is_server_ready()
    assert client.is_model_ready(MODEL) and client.is_model_ready(MODEL, "1")
    assert not client.is_model_ready("nope") and not client.is_model_ready(MODEL, "2")
    server, model = client.get_server_metadata(), client.get_model_metadata(MODEL)
    if kind is grpc:
        assert server.name == "tinysaver" and list(model.inputs[0].shape) == [-1, SIDE, SIDE, 3]
        assert client.get_server_metadata(as_json=True)["extensions"] == ["binary_tensor_data"]
    else:
        assert server["name"] == "tinysaver" and model["inputs"][0]["shape"] == [-1, SIDE, SIDE, 3]
        assert {"name": MODEL, "version": "1", "state": "READY"} in client.get_model_repository_index()
    return "live, ready, server and model metadata"


def same(a, b):
    assert a.dtype == np.float32 and np.array_equal(a, b), np.abs(a - b).max()


def check_http_forms(client):
    base = client.infer(MODEL, [pixel_input(http)], request_id="q7")
    assert base.get_response()["id"] == "q7"
    logits = base.as_numpy("logits")
    for binary_in in (True, False):
        for binary_out in (True, False):
            output = http.InferRequestedOutput("logits", binary_data=binary_out)
            for tensor in (pixel_input(http, binary_data=binary_in), float_input(http, binary_data=binary_in)):
                same(client.infer(MODEL, [tensor], outputs=[output]).as_numpy("logits"), logits)
    with_version = client.infer(MODEL, [pixel_input(http)], model_version="1", timeout=1_500_000)
    same(with_version.as_numpy("logits"), logits)
    best = client.infer(MODEL, [pixel_input(http)], outputs=[http.InferRequestedOutput("logits", class_count=2)])
    best = best.as_numpy("logits")
    assert best.shape == (1, 2) and int(best[0][0].split(b":")[1]) == logits.argmax(), best
    pair = [pathlib.Path(path).read_bytes() for path in PHOTOS[:2]]
    both = client.infer(MODEL, [photo_input(http, pair, (2, 1))]).as_numpy("logits")
    for row, photo in zip(both, pair):
        same(client.infer(MODEL, [photo_input(http, [photo], (1,))]).as_numpy("logits")[0], row)
    return "binary and JSON in and out, u8 and f32, id, version, timeout, classification, batch of 2"


def check_grpc_forms(client):
    base = client.infer(MODEL, [pixel_input(grpc)], request_id="q7", client_timeout=5)
    assert base.get_response().id == "q7"
    logits = base.as_numpy("logits")
    same(client.infer(MODEL, [float_input(grpc)], model_version="1").as_numpy("logits"), logits)
    best = client.infer(MODEL, [pixel_input(grpc)], outputs=[grpc.InferRequestedOutput("logits", class_count=2)])
    assert int(best.as_numpy("logits")[0][0].split(b":")[1]) == logits.argmax()
    same(client.infer(MODEL, [pixel_input(grpc)], headers={"x": "y"}).as_numpy("logits"), logits)
    return "u8 and f32, id, version, deadline, classification"


def check_callbacks(client, kind):
    if kind is http:
        requests = [client.async_infer(MODEL, [pixel_input(http, value)]) for value in range(8)]
        results = [request.get_result() for request in requests]
    else:
        import queue
        answers = queue.Queue()
        for value in range(8):
            client.async_infer(MODEL, [pixel_input(grpc, value)], lambda result, error: answers.put((result, error)))
        results = []
        for _ in range(8):
            result, error = answers.get(timeout=60)
            assert error is None, error
            results.append(result)
    assert all(result.as_numpy("logits").shape == (1, CLASSES) for result in results)
    return "8 at once"


async def check_asyncio(address):
    for kind, module in ((http_aio, http), (grpc_aio, grpc)):
        client = kind.InferenceServerClient(address)
        assert await client.is_model_ready(MODEL)
        results = await asyncio.gather(*(client.infer(MODEL, [pixel_input(module, value)]) for value in range(4)))
        assert all(result.as_numpy("logits").shape == (1, CLASSES) for result in results)
        await client.close()
    return "http.aio and grpc.aio, 4 at once each"


def check_errors(client, kind):
    def refused(text, *arguments, **keywords):
        try:
            client.infer(*arguments, **keywords)
        except InferenceServerException as error:
            assert text in str(error), f"'{text}' is not in {error}"
        else:
            raise AssertionError(f"'{text}' was not refused")

    wrong_shape = kind.InferInput("image", [1, 10, 10, 3], "UINT8")
    wrong_shape.set_data_from_numpy(np.zeros((1, 10, 10, 3), np.uint8))
    wrong_name = kind.InferInput("picture", [1, 10, 10, 3], "UINT8")
    wrong_name.set_data_from_numpy(np.zeros((1, 10, 10, 3), np.uint8))
    refused("unknown model", "nope", [pixel_input(kind)])
    refused("no version", MODEL, [pixel_input(kind)], model_version="9")
    refused("shape", MODEL, [wrong_shape])
    refused("unknown input", MODEL, [wrong_name])
    refused("2 inputs", MODEL, [pixel_input(kind), pixel_input(kind)])
    refused("unknown output", MODEL, [pixel_input(kind)], outputs=[kind.InferRequestedOutput("probs")])
    refused("not a JPEG", MODEL, [photo_input(kind, b"no photo")])
    refused("damaged", MODEL, [photo_input(kind, pathlib.Path(PHOTOS[0]).read_bytes()[:2000])])
    refused("in one request", MODEL, [photo_input(kind, [b"x"] * 33, (33, 1))])
    return "9 kinds of wrong requests, each told why"


def cases_of(clients, expected, address):
    first = dict(list(expected.items())[:3])
    for name, (client, kind) in clients.items():
        yield f"{name} metadata", lambda c=client, k=kind: check_metadata(c, k)
        yield f"{name} photos", lambda c=client, k=kind: check_photos(c, k, expected)
        yield f"{name} photos, _jpeg", lambda c=client, k=kind: check_photos(c, k, first, MODEL + "_jpeg")
        yield f"{name} forms", lambda c=client, k=kind: check_http_forms(c) if k is http else check_grpc_forms(c)
        yield f"{name} async", lambda c=client, k=kind: check_callbacks(c, k)
        yield f"{name} errors", lambda c=client, k=kind: check_errors(c, k)
    yield "asyncio", lambda: asyncio.run(check_asyncio(address))


def main():
    global PHOTOS
    binary, photos = sys.argv[1:3]
    rows = []
    with tempfile.TemporaryDirectory() as folder, serving(binary) as address:
        whole = widened(photos, folder, COUNT)
        expected = local_classes(binary, folder)
        PHOTOS = [path for path in expected if path.endswith(".jpg")]
        clients = {"http": (http.InferenceServerClient(address, concurrency=8), http),
                   "grpc": (grpc.InferenceServerClient(address), grpc)}
        for name, case in cases_of(clients, expected, address):
            try:
                row = (name, "ok", case())
            except Exception as error:  # a check that fails must not hide the others
                row = (name, "FAILED", f"{type(error).__name__}: {error}")
            rows.append(row)
            print(f"{row[1]:7} {name:22} {row[2]}", flush=True)
        for client, _ in clients.values():
            client.close()
        write_interop("server", "tritonclient 2.73.0", len(expected), whole, rows)
    sys.exit(0 if all(result == "ok" for _, result, _ in rows) else 1)


if __name__ == "__main__":
    main()
