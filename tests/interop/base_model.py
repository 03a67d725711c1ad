"""The pair's base for the peers: onnxruntime, and photos treated by the pair's rules with Pillow."""
import io
import pathlib
import tomllib

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

PAIR = pathlib.Path(__file__).resolve().parents[2] / "models" / "imagenet-lite"


class Base:
    def __init__(self, model_id="lite2-260-f32", threads=0):
        pair = tomllib.loads((PAIR / "pair.toml").read_text())
        self.entry = next(model for model in pair["model"] if model["id"] == model_id)
        self.side = self.entry["input"]
        self.mean = np.array(pair["preprocess"]["mean"], np.float32)
        self.std = np.array(pair["preprocess"]["std"], np.float32)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self.session = onnxruntime.InferenceSession(
            PAIR / self.entry["file"], options, providers=["CPUExecutionProvider"])
        self.input = self.session.get_inputs()[0].name

    def pixels(self, photo):
        """Centre square, bicubic, as pair.toml says."""
        image = ImageOps.exif_transpose(Image.open(io.BytesIO(photo))).convert("RGB")
        side = min(image.size) * self.entry["crop_fraction"]
        left, top = ((size - side) / 2 for size in image.size)
        square = image.resize((self.side, self.side), Image.BICUBIC, box=(left, top, left + side, top + side))
        return np.asarray(square)

    def logits(self, pixels):
        """uint8 [n, side, side, 3] -> float32 [n, classes]; the file has a batch of 1."""
        normalised = ((pixels.astype(np.float32) - self.mean) / self.std).transpose(0, 3, 1, 2)
        return np.concatenate([self.session.run(None, {self.input: picture[None]})[0] for picture in normalised])

    def of_photos(self, photos):
        return self.logits(np.stack([self.pixels(photo) for photo in photos]))
