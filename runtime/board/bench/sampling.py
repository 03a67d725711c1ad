"""What ways of sampling cost in right answers.

    sampling.py CAMERA PAIR PHOTOS FOLDER

Makes each photo into the inputs of the pair's int8 savers in four ways: Pillow's bicubic (the maker's), this runtime's
fused way, OpenCV's INTER_AREA and plain INTER_LINEAR. Prints counts as JSON.
"""
import csv
import json
import pathlib
import subprocess
import sys

import cv2
import numpy as np
import onnxruntime
from PIL import Image

SIDES = 96, 128, 160, 224
# `96` and `128` shrink the photos of 512 pixels about as much as a camera's frame of 640 x 480 shrinks for 160
CROP = 0.875


def inputs(camera, rgb, side, folder):
    """Pixels of one photo by name of the way."""
    height, width, _ = rgb.shape
    (folder / "photo").write_bytes(rgb.tobytes())
    subprocess.run([camera, "RGB3", str(width), str(height), folder / "photo", str(side), "tensor", folder / "out"], check=True)
    size = min(width, height) * CROP
    left, top = (width - size) / 2, (height - size) / 2
    box = (left, top, left + size, top + size)
    cut = rgb[round(top):round(top + size), round(left):round(left + size)]
    maker = Image.fromarray(rgb).resize((side, side), Image.Resampling.BICUBIC, box=box)
    return {
        "maker": np.asarray(maker), "ours": np.fromfile(folder / "out", "u1").reshape(side, side, 3),
        "area": cv2.resize(cut, (side, side), interpolation=cv2.INTER_AREA),
        "bilinear": cv2.resize(cut, (side, side), interpolation=cv2.INTER_LINEAR),
    }


def main(camera, pair, photos, folder):
    photos, folder = pathlib.Path(photos), pathlib.Path(folder)
    with open(photos / "truth.csv", newline="") as file:
        truth = {row["file"]: int(row["class"]) for row in csv.DictReader(file)}
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.x64quantprecision", "1")
    rows = []
    for side in SIDES:
        model = pathlib.Path(pair, "build", f"efficientnet_lite0_{side}.int8.onnx")
        if not model.is_file():
            continue
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        row = {"saver": model.stem, "frames": len(truth), "shrinks_by": 512 * CROP / side}
        for file, right in truth.items():
            classes = {}
            for way, pixels in inputs(camera, np.asarray(Image.open(photos / file).convert("RGB")), side, folder).items():
                tensor = ((pixels.astype("f4") - 127) / 128).transpose(2, 0, 1)[None]
                classes[way] = int(session.run(None, {name: tensor})[0].argmax())
                row[way] = row.get(way, 0) + (classes[way] == right)
            for way in ("ours", "area", "bilinear"):
                row[f"{way}_agrees"] = row.get(f"{way}_agrees", 0) + (classes[way] == classes["maker"])
        rows.append(row)
    print(json.dumps({"photos": len(truth), "rows": rows}))


if __name__ == "__main__":
    main(*sys.argv[1:])
