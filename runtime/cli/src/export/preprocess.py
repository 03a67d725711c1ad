"""Photos (JPEG, PNG, WebP) become the base's input, by the pair's rules: they stand in config.pbtxt.

Written by `tinysaver export`. Triton's Python backend runs it and needs numpy and Pillow for that.
"""
import io
import json

import numpy as np
import triton_python_backend_utils as pb_utils
from PIL import Image, ImageOps

FILTERS = {"bilinear": Image.BILINEAR, "bicubic": Image.BICUBIC, "lanczos": Image.LANCZOS}


class TritonPythonModel:
    def initialize(self, args):
        parameters = json.loads(args["model_config"])["parameters"]
        rule = {name: value["string_value"] for name, value in parameters.items()}
        self.side = int(rule["side"])
        self.crop_fraction = float(rule["crop_fraction"])
        self.filter = FILTERS[rule["filter"]]
        self.blue_first = rule["channels"] == "bgr"
        self.mean, self.std = (np.array(json.loads(rule[name]), np.float32) for name in ("mean", "std"))
        Image.MAX_IMAGE_PIXELS = int(rule["max_pixels"])

    def picture(self, photo):
        """One photo -> float32 [3, side, side]: upright, its centre square, scaled, normalised."""
        opened = Image.open(io.BytesIO(photo))
        if opened.width * opened.height > Image.MAX_IMAGE_PIXELS:
            raise ValueError(f"a photo of {opened.width} x {opened.height} pixels: at most {Image.MAX_IMAGE_PIXELS}")
        image = ImageOps.exif_transpose(opened).convert("RGB")
        kept = min(image.size) * self.crop_fraction
        left, top = ((size - kept) / 2 for size in image.size)
        square = image.resize((self.side, self.side), self.filter, box=(left, top, left + kept, top + kept))
        pixels = np.asarray(square, np.float32)
        if self.blue_first:
            pixels = pixels[..., ::-1]
        return ((pixels - self.mean) / self.std).transpose(2, 0, 1)

    def execute(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        photos = pb_utils.get_input_tensor_by_name(request, "jpeg").as_numpy().reshape(-1)
        try:
            tensor = np.stack([self.picture(photo) for photo in photos])
        except (OSError, SyntaxError, ValueError) as error:  # what Pillow raises for what is no photo
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(f"not a photo that can be read: {error}"))
        return pb_utils.InferenceResponse([pb_utils.Tensor("picture", np.ascontiguousarray(tensor))])
