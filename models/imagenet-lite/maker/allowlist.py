"""Unpickling by allow-list: plain tensors come out, every other global is refused."""

from __future__ import annotations

import pickle
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, BinaryIO

# torch storage class -> numpy dtype of its raw little-endian data
STORAGE_DTYPES = {"FloatStorage": "<f4", "LongStorage": "<i8"}


@dataclass
class Storage:
    """The flat memory of one or more tensors; `data` is filled in after the pickles are read."""

    dtype: str
    key: str
    count: int
    data: Any = None


@dataclass(frozen=True)
class TensorView:
    """A view into a storage: offset, shape and strides, all in elements."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def rebuild_tensor(storage: Storage, offset: int, shape: tuple, strides: tuple, *_: Any) -> TensorView:
    """Stands in for torch._utils._rebuild_tensor_v2; later arguments (gradients, hooks) are dropped."""
    return TensorView(storage, offset, tuple(shape), tuple(strides))


class AllowListUnpickler(pickle.Unpickler):
    """Reads the pickles of a legacy torch checkpoint. Nothing that the pickle names is imported."""

    def __init__(self, stream: BinaryIO, storages: dict[str, Storage]) -> None:
        super().__init__(stream)
        self.storages = storages

    def find_class(self, module: str, name: str) -> Any:
        """Answer the few globals of a state dict with our own stand-ins."""
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return rebuild_tensor
        if module == "torch" and name in STORAGE_DTYPES:
            return name
        raise pickle.UnpicklingError(
            f"refused the global {module}.{name}: a weight file may hold only plain tensors"
        )

    def persistent_load(self, identity: Any) -> Storage:
        """Answer ('storage', type name, key, device, count, view) with one shared Storage per key."""
        if not isinstance(identity, tuple) or len(identity) < 5 or identity[0] != "storage":
            raise pickle.UnpicklingError(f"refused the persistent id {identity!r}")
        _, type_name, key, _device, count = identity[:5]
        if type_name not in STORAGE_DTYPES:
            raise pickle.UnpicklingError(f"refused the storage type {type_name!r}")
        return self.storages.setdefault(key, Storage(STORAGE_DTYPES[type_name], key, count))
