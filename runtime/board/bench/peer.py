"""One way from a camera's frame to 160 x 160 u8 pixels, with libraries from PyPI; one thread.

    peer.py METHOD KIND WIDTH HEIGHT FILE SIDE serve
    peer.py METHOD KIND WIDTH HEIGHT FILE SIDE tensor OUT

The same centre square as the runtime: 0.875 of the shorter side. METHOD:
  opencv        cvtColor or imdecode of the whole frame, cut, resize with INTER_AREA
  opencv_cut    the same, but cut before colours are converted (raw frames)
  opencv_half   imdecode at half the size (IMREAD_REDUCED_COLOR_2), cut, resize with INTER_AREA
  turbo_half    libjpeg-turbo at half the size (simplejpeg), cut, resize with INTER_AREA
"""
import sys

import cv2
import numpy as np
import simplejpeg

cv2.setNumThreads(1)


def square(width, height):
    """Left, top, side of the part that is kept, in whole pixels (even ones: chroma)."""
    side = int(min(width, height) * 0.875) // 2 * 2
    return (width - side) // 4 * 2, (height - side) // 4 * 2, side


def method(name, kind, width, height, data, side):
    """A function without arguments that makes the pixels."""
    left, top, size = square(width, height)
    cut = (slice(top, top + size), slice(left, left + size))
    half = (slice(top // 2, (top + size) // 2), slice(left // 2, (left + size) // 2))
    shrink = lambda pixels: cv2.resize(pixels, (side, side), interpolation=cv2.INTER_AREA)
    if kind == "YUYV":
        frame = np.frombuffer(data, "u1").reshape(height, width, 2)
        if name == "opencv_cut":
            return lambda: shrink(cv2.cvtColor(frame[cut], cv2.COLOR_YUV2RGB_YUYV))
        return lambda: shrink(cv2.cvtColor(frame, cv2.COLOR_YUV2RGB_YUYV)[cut])
    if kind == "NV12":
        frame = np.frombuffer(data, "u1").reshape(height * 3 // 2, width)
        luma, chroma = frame[:height], frame[height:].reshape(height // 2, width // 2, 2)
        if name == "opencv_cut":
            return lambda: shrink(cv2.cvtColorTwoPlane(
                np.ascontiguousarray(luma[cut]), np.ascontiguousarray(chroma[half]), cv2.COLOR_YUV2RGB_NV12))
        return lambda: shrink(cv2.cvtColor(frame, cv2.COLOR_YUV2RGB_NV12)[cut])
    coded = np.frombuffer(data, "u1")
    if name == "opencv":
        return lambda: cv2.cvtColor(shrink(cv2.imdecode(coded, cv2.IMREAD_COLOR)[cut]), cv2.COLOR_BGR2RGB)
    if name == "opencv_half":
        return lambda: cv2.cvtColor(shrink(cv2.imdecode(coded, cv2.IMREAD_REDUCED_COLOR_2)[half]), cv2.COLOR_BGR2RGB)
    return lambda: shrink(simplejpeg.decode_jpeg(data, "RGB", min_height=height // 2, min_width=width // 2)[half])


def main(name, kind, width, height, path, side, *rest):
    with open(path, "rb") as file:
        data = file.read()
    make = method(name, kind, int(width), int(height), data, int(side))
    if rest[0] == "tensor":
        make().tofile(rest[1])
        return
    make()
    print("READY", name, flush=True)
    for line in sys.stdin:
        for _ in range(int(line)):
            make()
        if not int(line):
            return
        print("done", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
