"""The base in KServe's SDK, on ports 20000 (REST) and 20001 (gRPC). The SDK binds all interfaces, so this refuses to run
unless loopback is the only interface that is up: see check_kserve.sh.
"""
import fcntl
import socket
import struct
import sys

SIOCGIFFLAGS, IFF_UP = 0x8913, 0x1


def interfaces_up():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            reply = fcntl.ioctl(probe, SIOCGIFFLAGS, struct.pack("16sH22x", name.encode(), 0))
            if struct.unpack("16sH22x", reply)[1] & IFF_UP:
                yield name


if set(interfaces_up()) - {"lo"}:
    sys.exit("kserve_peer.py: run it in a network namespace of its own, by check_kserve.sh")

from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer  # noqa: E402

from base_model import Base  # noqa: E402


class Peer(Model):
    def __init__(self, name):
        super().__init__(name)
        self.load()

    def load(self):
        self.base = Base()
        self.ready = True
        return True

    async def get_input_types(self):
        return [{"name": "image", "datatype": "UINT8", "shape": [-1, self.base.side, self.base.side, 3]}]

    async def get_output_types(self):
        return [{"name": "logits", "datatype": "FP32", "shape": [-1, 1000]}]

    async def predict(self, request: InferRequest, headers=None, response_headers=None):
        tensor = request.inputs[0]
        values = tensor.as_numpy()
        logits = self.base.of_photos(list(values.reshape(-1))) if tensor.datatype == "BYTES" else self.base.logits(values)
        output = InferOutput("logits", list(logits.shape), "FP32")
        output.set_data_from_numpy(logits, binary_data=False)
        return InferResponse(request.id or "", self.name, [output],
                             use_binary_outputs=request.use_binary_outputs, requested_outputs=request.request_outputs)


if __name__ == "__main__":
    ModelServer(http_port=20000, grpc_port=20001, workers=1, enable_grpc=True, access_log_format=None).start([Peer("base")])
