"""The base in MLServer: pixels or photos in, logits out."""
import pathlib
import sys

import numpy as np
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.errors import InferenceError
from mlserver.types import InferenceRequest, InferenceResponse, MetadataTensor

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from base_model import Base  # noqa: E402


class Peer(MLModel):
    async def load(self) -> bool:
        self.base = Base()
        side = self.base.side
        self.inputs = [MetadataTensor(name="image", datatype="UINT8", shape=[-1, side, side, 3])]
        self.outputs = [MetadataTensor(name="logits", datatype="FP32", shape=[-1, 1000])]
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        tensor = payload.inputs[0]
        if tensor.datatype == "BYTES":
            photos = tensor.data.root
            photos = photos if isinstance(photos, list) else [photos]
            if not all(isinstance(photo, bytes) for photo in photos):
                raise InferenceError("photos come over gRPC only")
            logits = self.base.of_photos(photos)
        else:
            pixels = NumpyCodec.decode_input(tensor).astype(np.uint8)
            if pixels.shape[1:] != (self.base.side, self.base.side, 3):
                raise InferenceError(f"bad shape {pixels.shape}")
            logits = self.base.logits(pixels)
        return InferenceResponse(model_name=self.name, model_version=self.version, id=payload.id,
                                 outputs=[NumpyCodec.encode_output("logits", logits)])
