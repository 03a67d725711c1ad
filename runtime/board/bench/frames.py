"""Codes a photo as a camera would.

    frames.py PHOTO FOLDER

Writes FOLDER/KIND-WIDTHxHEIGHT and prints what the figures should name, as JSON.
"""
import io
import json
import pathlib
import sys

import cv2
import numpy as np
import simplejpeg
from PIL import Image


def yuyv(rgb):
    """BT.601, 16 to 235."""
    r, g, b = (rgb[..., at].astype("f4") for at in range(3))
    y = 16 + 0.257 * r + 0.504 * g + 0.098 * b
    u, v = 128 - 0.148 * r - 0.291 * g + 0.439 * b, 128 + 0.439 * r - 0.368 * g - 0.071 * b
    out = np.empty((*y.shape, 2), "f4")
    out[..., 0] = y
    out[:, 0::2, 1], out[:, 1::2, 1] = (plane.reshape(len(y), -1, 2).mean(2) for plane in (u, v))
    return np.rint(out).astype("u1")


def nv12(packed):
    """The same colours at half the rows."""
    chroma = packed[..., 1].reshape(len(packed) // 2, 2, -1).mean(1)
    return np.concatenate([packed[..., 0], np.rint(chroma).astype("u1")])


def main(photo, folder):
    folder, sizes = pathlib.Path(folder), []
    for width, height in (640, 480), (1920, 1080):
        picture = Image.open(photo).convert("RGB")
        scale = max(width / picture.width, height / picture.height)
        picture = picture.resize((round(picture.width * scale), round(picture.height * scale)), Image.Resampling.BICUBIC)
        left, top = (picture.width - width) // 2, (picture.height - height) // 2
        picture = picture.crop((left, top, left + width, top + height))
        packed = yuyv(np.asarray(picture))
        packed.tofile(folder / f"YUYV-{width}x{height}")
        nv12(packed).tofile(folder / f"NV12-{width}x{height}")
        coded = io.BytesIO()
        picture.save(coded, "JPEG", quality=85, subsampling="4:2:2")
        (folder / f"MJPG-{width}x{height}").write_bytes(coded.getvalue())
        sizes.append(f"{width}x{height} of {len(coded.getvalue())} bytes")
    versions = [f"OpenCV {cv2.__version__}", f"simplejpeg {simplejpeg.__version__} (libjpeg-turbo)"]
    print(json.dumps({"jpeg_bytes": sizes, "versions": versions}))


if __name__ == "__main__":
    main(*sys.argv[1:])
