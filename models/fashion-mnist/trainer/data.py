"""Fashion-MNIST's training pictures, and the changed versions of them that networks are taught with.

The last 10,000 of the 60,000 are the calibration set: nothing here reads further than their beginning. The 2,000
before them tell whether a change of the recipe is one for the better. The test set is not opened.
"""

from __future__ import annotations

import dataclasses
import gzip
from pathlib import Path

import numpy
import torch

TRAINING, DEVELOPMENT = slice(0, 48_000), slice(48_000, 50_000)
SIDE, CLASSES = 28, 10
MEAN, STD = 72.94, 90.02  # of the training pictures, on 0..255
SHIFT = 2  # pixels, each way


def read(folder: Path, part: slice) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures [n, 28, 28] u8 and labels [n] of a part of the training files."""
    with gzip.open(folder / "train-images-idx3-ubyte.gz") as stream:
        stream.read(16 + part.start * SIDE * SIDE)
        count = part.stop - part.start
        pictures = numpy.frombuffer(stream.read(count * SIDE * SIDE), numpy.uint8).reshape(count, SIDE, SIDE)
    with gzip.open(folder / "train-labels-idx1-ubyte.gz") as stream:
        stream.read(8 + part.start)
        labels = numpy.frombuffer(stream.read(count), numpy.uint8)
    return torch.from_numpy(pictures.copy()), torch.from_numpy(labels.astype(numpy.int64))


def normalise(pictures: torch.Tensor) -> torch.Tensor:
    """[n, 28, 28] on 0..255 -> [n, 1, 28, 28], as the runtime does it."""
    return ((pictures.float() - MEAN) / STD).unsqueeze(1)


@dataclasses.dataclass
class Changes:
    """One way to change every picture; drawn on the processor, so that a seed gives the same ones everywhere."""

    shift: torch.Tensor  # [n, 2]
    flip: torch.Tensor  # [n]
    erase: torch.Tensor  # [n, 4]: top, bottom, left, right; empty where nothing is erased
    partner: torch.Tensor  # [n]: whom it is mixed with
    share: torch.Tensor  # [n]: its own share in the mixture

    @staticmethod
    def draw(count: int, seed: int, mixed: bool) -> Changes:
        """Shifts, flips, erased boxes (half of the pictures, 2 to 30 % of the area), and mixtures if asked for."""
        random = torch.Generator().manual_seed(seed)
        uniform = lambda *shape: torch.rand(*shape, generator=random)
        area = (0.02 + 0.28 * uniform(count)) * SIDE * SIDE
        ratio = torch.exp((uniform(count) - 0.5) * 2.4)
        height, width = (area * ratio).sqrt().clamp(1, SIDE), (area / ratio).sqrt().clamp(1, SIDE)
        top, left = uniform(count) * (SIDE - height), uniform(count) * (SIDE - width)
        erase = torch.stack([top, top + height, left, left + width], 1).round().long()
        erase[uniform(count) < 0.5] = 0
        return Changes(
            shift=torch.randint(-SHIFT, SHIFT + 1, (count, 2), generator=random),
            flip=uniform(count) < 0.5,
            erase=erase,
            partner=torch.randperm(count, generator=random),
            share=0.5 + 0.5 * uniform(count) if mixed else torch.ones(count),
        )

    def to(self, device: torch.device) -> Changes:
        """The same on another device."""
        return Changes(*(getattr(self, field.name).to(device) for field in dataclasses.fields(self)))

    def apply(self, pictures: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
        """The chosen pictures [k, 1, 28, 28], changed and normalised."""
        one = self._alone(pictures, chosen)
        share = self.share[chosen].view(-1, 1, 1, 1)
        if bool((self.share[0] == 1).item()):
            return one
        return share * one + (1 - share) * self._alone(pictures, self.partner[chosen])

    def _alone(self, pictures: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
        steps = torch.arange(SIDE, device=pictures.device)
        rows = steps[None, :] + self.shift[chosen, :1]
        columns = torch.where(self.flip[chosen, None], SIDE - 1 - steps[None, :], steps[None, :]) + self.shift[chosen, 1:]
        seen = ((rows >= 0) & (rows < SIDE))[:, :, None] & ((columns >= 0) & (columns < SIDE))[:, None, :]
        moved = pictures[chosen[:, None, None], rows.clamp(0, SIDE - 1)[:, :, None], columns.clamp(0, SIDE - 1)[:, None, :]]
        top, bottom, left, right = (edge[:, None] for edge in self.erase[chosen].unbind(1))
        box = ((steps >= top) & (steps < bottom))[:, :, None] & ((steps >= left) & (steps < right))[:, None, :]
        changed = torch.where(seen, moved.float(), torch.zeros((), device=pictures.device))
        return ((torch.where(box, torch.full((), MEAN, device=pictures.device), changed) - MEAN) / STD).unsqueeze(1)
