"""Large residual networks, trained on labels; what they say of many changed pictures is what the pool learns from."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from .data import CLASSES, Changes, normalise

WIDTH, BATCH, RATE, DECAY, SMOOTHING = 96, 512, 0.2, 5e-4, 0.05
VERSIONS = 24  # of each picture; every second one is a mixture
STORED = torch.bfloat16


class Block(nn.Module):
    """Wide ResNet's block: normalisation and ReLU before each of two convolutions."""

    def __init__(self, entering: int, channels: int, stride: int) -> None:
        super().__init__()
        self.first_norm, self.second_norm = nn.BatchNorm2d(entering), nn.BatchNorm2d(channels)
        self.first = nn.Conv2d(entering, channels, 3, stride, 1, bias=False)
        self.second = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.shortcut = nn.Conv2d(entering, channels, 1, stride, bias=False) if entering != channels else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The sum."""
        ready = torch.relu(self.first_norm(x))
        out = self.second(torch.relu(self.second_norm(self.first(ready))))
        return out + (x if self.shortcut is None else self.shortcut(ready))


class Teacher(nn.Module):
    """Wide ResNet of depth 16."""

    def __init__(self, width: int) -> None:
        super().__init__()
        layers, entering = [nn.Conv2d(1, 16, 3, 1, 1, bias=False)], 16
        for stage in range(3):
            for block in range(2):
                layers.append(Block(entering, width << stage, 2 if stage and block == 0 else 1))
                entering = width << stage
        self.body = nn.Sequential(*layers)
        self.norm = nn.BatchNorm2d(entering)
        self.head = nn.Linear(entering, CLASSES)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Logits."""
        return self.head(torch.relu(self.norm(self.body(pictures))).mean((2, 3)))


def autocast(device: torch.device) -> torch.autocast:
    """Half precision where an accelerator has it."""
    return torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda")


def train(pictures: torch.Tensor, labels: torch.Tensor, epochs: float, seed: int) -> Teacher:
    """One teacher."""
    torch.manual_seed(seed)
    device, count = pictures.device, len(pictures)
    network = Teacher(WIDTH).to(device, memory_format=torch.channels_last)
    optimiser = torch.optim.SGD(network.parameters(), RATE, 0.9, weight_decay=DECAY, nesterov=True)
    steps = max(1, int(epochs * (count // BATCH)))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps, pct_start=0.1, cycle_momentum=False)
    random = torch.Generator().manual_seed(seed)
    order = torch.empty(0, dtype=torch.long)
    epoch = 0
    for _ in range(steps):
        if len(order) < BATCH:
            order = torch.randperm(count, generator=random).to(device)
            changes = Changes.draw(count, 7919 * seed + epoch, mixed=False).to(device)
            epoch += 1
        chosen, order = order[:BATCH], order[BATCH:]
        with autocast(device):
            logits = network(changes.apply(pictures, chosen).to(memory_format=torch.channels_last))
        loss = functional.cross_entropy(logits.float(), labels[chosen], label_smoothing=SMOOTHING)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        schedule.step()
    return network.eval()


@torch.no_grad()
def logits(network: nn.Module, pictures: torch.Tensor) -> torch.Tensor:
    """Logits [n, 10] of pictures [n, 28, 28]; the mean over the picture and its mirror image."""
    parts = []
    for part in pictures.split(2000):
        ready = normalise(part).to(memory_format=torch.channels_last)
        with autocast(pictures.device):
            parts.append(((network(ready) + network(ready.flip(3))) / 2).float())
    return torch.cat(parts)


def version(pictures: torch.Tensor, number: int) -> torch.Tensor:
    """A changed version of every picture, [n, 1, 28, 28]."""
    changes = Changes.draw(len(pictures), 1_000_003 + number, mixed=number % 2 == 1).to(pictures.device)
    parts = torch.arange(len(pictures), device=pictures.device).split(8000)
    return torch.cat([changes.apply(pictures, part).to(STORED) for part in parts])


@torch.no_grad()
def opinion(teachers: list[nn.Module], pictures: torch.Tensor) -> torch.Tensor:
    """The teachers' mean probabilities of pictures [n, 1, 28, 28], as logarithms [n, 10]."""
    said = []
    for part in pictures.split(4000):
        with autocast(pictures.device):
            ready = part.float().to(memory_format=torch.channels_last)
            probabilities = [teacher(ready).float().softmax(1) for teacher in teachers]
        said.append(torch.stack(probabilities).mean(0).clamp_min(1e-7).log())
    return torch.cat(said)
