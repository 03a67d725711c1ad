"""The crop rule, which the runtime follows to the letter."""

from __future__ import annotations


def crop_box(width: int, height: int, fraction: float) -> tuple[float, float, float, float]:
    """The centred square crop (left, top, right, bottom), in real-valued pixels.

    Its side is `fraction` of the shorter side of the image; nothing is rounded.
    """
    side = min(width, height) * fraction
    left, top = (width - side) / 2, (height - side) / 2
    return left, top, left + side, top + side
