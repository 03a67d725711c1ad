"""Real Triton from NVIDIA's pytriton wheel, on 127.0.0.1: "base" takes pixels, "base_jpeg" photos, "floats" floats.

usage: triton_peer.py HTTP_PORT GRPC_PORT METRICS_PORT   (Debian's /usr/bin/python3.11 only, see README.md)
"""
import sys

import numpy as np
from pytriton.decorators import batch
from pytriton.model_config import ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

from base_model import Base

base = Base()


@batch
def of_pixels(image):
    return {"logits": base.logits(image)}


@batch
def of_photos(jpeg):
    return {"logits": base.of_photos([bytes(photo) for photo in jpeg.reshape(-1)])}


@batch
def of_floats(input):
    return {"logits": np.concatenate([base.session.run(None, {base.input: row[None]})[0] for row in input])}


http_port, grpc_port, metrics_port = map(int, sys.argv[1:4])
address = "127.0.0.1"
config = TritonConfig(http_address=address, http_port=http_port, grpc_address=address, grpc_port=grpc_port,
                      metrics_address=address, metrics_port=metrics_port, log_verbose=0)
logits = [Tensor(name="logits", dtype=np.float32, shape=(1000,))]
with Triton(config=config) as triton:
    for name, function, tensor in (
        ("base", of_pixels, Tensor(name="image", dtype=np.uint8, shape=(base.side, base.side, 3))),
        ("base_jpeg", of_photos, Tensor(name="jpeg", dtype=bytes, shape=(1,))),
        ("floats", of_floats, Tensor(name="input", dtype=np.float32, shape=(3, base.side, base.side))),
    ):
        triton.bind(name, function, inputs=[tensor], outputs=logits, config=ModelConfig(max_batch_size=8))
    triton.serve()
