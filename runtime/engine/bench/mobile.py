"""Makes the files of MNN and ncnn from FOLDER's NAME.f32.onnx, with their own converters.

    mobile.py FOLDER NAME

The name ends with the height and width of the net's input. One net a process: MNN's converter crashes at a second one.

NAME.int8.mnn: quantised by MNN's offline tool, calibrated on noise. NAME.ncnn.param and NAME.ncnn.bin: in f32, because
ncnn's package has no quantiser. Speed does not depend on what the calibration saw.
"""
import json
import pathlib
import struct
import subprocess
import sys
import tempfile
import zlib

import numpy as np

CALIBRATION_PICTURES = 8


def write_png(path, picture):
    """A picture [height, width, 3] of u8: MNN's tool reads files, and numpy has no writer."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width, _ = picture.shape
    rows = b"".join(b"\0" + row.tobytes() for row in picture)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)


def make_mnn(source, target, pixels):
    """MNN's own int8 file, by KL divergence for activations and the largest magnitude for weights, its defaults."""
    # Not the commands of the package: they want to install a usage logger.
    import _tools

    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "pictures").mkdir()
        random = np.random.default_rng(0)
        for index in range(CALIBRATION_PICTURES):
            noise = random.integers(0, 256, (pixels, pixels, 3), np.uint8)
            write_png(folder / "pictures" / f"{index}.png", noise)
        settings = {
            "format": "RGB", "mean": [127.5] * 3, "normal": [1 / 58] * 3, "width": pixels, "height": pixels,
            "path": f"{folder}/pictures/", "used_image_num": CALIBRATION_PICTURES, "input_type": "image",
            "feature_quantize_method": "KL", "weight_quantize_method": "MAX_ABS",
        }
        (folder / "settings.json").write_text(json.dumps(settings))
        real = folder / "f32.mnn"
        _tools.mnnconvert(["convert", "-f", "ONNX", "--modelFile", str(source), "--MNNModel", str(real), "--bizCode", "-"])
        _tools.mnnquant(["quantise", str(real), str(target), str(folder / "settings.json")])
    if not target.exists():
        raise SystemExit(f"MNN's tools made no {target}")
    # A file of the same net in f32 would be four times as large.
    if target.stat().st_size > source.stat().st_size / 2:
        raise SystemExit(f"{target} is not quantised")


def make_ncnn(source, target, pixels):
    """TARGET.param and TARGET.bin, without rounding weights to half precision."""
    with tempfile.TemporaryDirectory() as folder:
        copy = pathlib.Path(folder) / "net.onnx"
        copy.write_bytes(source.read_bytes())
        pnnx = pathlib.Path(sys.executable).parent / "pnnx"
        subprocess.run([pnnx, copy, f"inputshape=[1,3,{pixels},{pixels}]", "fp16=0"], check=True, cwd=folder,
                       stdout=subprocess.DEVNULL)
        for kind in ("bin", "param"):
            made = copy.with_name(f"net.ncnn.{kind}")
            target.with_name(f"{target.name}.{kind}").write_bytes(made.read_bytes())


def main(folder, name):
    folder = pathlib.Path(folder)
    source, pixels = folder / f"{name}.f32.onnx", int(name.rsplit("_", 1)[1])
    make_mnn(source, folder / f"{name}.int8.mnn", pixels)
    make_ncnn(source, folder / f"{name}.ncnn", pixels)


if __name__ == "__main__":
    main(*sys.argv[1:])
