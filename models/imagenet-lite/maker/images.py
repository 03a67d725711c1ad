"""Photos to model inputs."""

from __future__ import annotations

from pathlib import Path

import numpy
from PIL import Image, ImageOps

from .crop import crop_box
from .pairfile import Model, Pair


def open_photo(path: Path) -> Image.Image:
    """The photo in RGB, turned as its EXIF orientation says."""
    with Image.open(path) as image:
        return ImageOps.exif_transpose(image).convert("RGB")


def crop_and_resize(photo: Image.Image, side: int, fraction: float) -> numpy.ndarray:
    """The centred crop at side x side pixels: u8 [side, side, 3]."""
    box = crop_box(photo.width, photo.height, fraction)
    return numpy.asarray(photo.resize((side, side), Image.Resampling.BICUBIC, box=box))


def normalise(pixels: numpy.ndarray, pair: Pair) -> numpy.ndarray:
    """u8 [..., side, side, 3] -> f32 [..., 3, side, side], (x - mean) / std."""
    mean, deviation = (numpy.array(pair.preprocess[key], numpy.float32) for key in ("mean", "std"))
    scaled = (pixels.astype(numpy.float32) - mean) / deviation
    return numpy.ascontiguousarray(numpy.moveaxis(scaled, -1, -3))


def model_inputs(photos: list[Path], model: Model, pair: Pair) -> numpy.ndarray:
    """All photos as inputs of one model: f32 [photos, 3, side, side]."""
    pixels = [crop_and_resize(open_photo(path), model.input, model.crop_fraction) for path in photos]
    return normalise(numpy.stack(pixels), pair)
