"""What the pair is made of: networks that learn what the teachers say of changed pictures (distillation, Hinton 2015)."""

from __future__ import annotations

import torch
from torch.nn import functional

from .layers import Layer
from .networks import Network

SHARPNESS = 2.0  # the temperature of distillation


def train(
    layers: list[Layer],
    lessons: list[tuple[torch.Tensor, torch.Tensor]],
    epochs: float,
    batch: int,
    rate: float,
    seed: int,
) -> Network:
    """Trains one network on lessons of pictures [n, 1, 28, 28] and log-probabilities [n, 10]; an epoch is one lesson."""
    torch.manual_seed(seed)
    device, count = lessons[0][0].device, len(lessons[0][0])
    network = Network(layers).to(device, memory_format=torch.channels_last)
    steps = max(2, int(epochs * (count // batch)))
    rates = torch.optim.lr_scheduler.OneCycleLR
    learned = torch.tensor(rate, device=device) if device.type == "cuda" else rate
    optimiser = torch.optim.AdamW(network.parameters(), learned, weight_decay=0.02, capturable=device.type == "cuda")
    pace = rates(torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], rate), rate, total_steps=steps + 1, pct_start=0.05)
    step = Step(network, optimiser, batch, device)
    random = torch.Generator().manual_seed(seed)
    order, epoch = torch.empty(0, dtype=torch.long), 0
    for _ in range(steps):
        if len(order) < batch:
            order = torch.randperm(count, generator=random).to(device)
            pictures, said = lessons[epoch % len(lessons)]
            epoch += 1
        chosen, order = order[:batch], order[batch:]
        step(pictures[chosen], said[chosen], pace.get_last_lr()[0])
        pace.optimizer.step()
        pace.step()
    return network.eval()


class Step:
    """One step of training; on an accelerator it is recorded once and replayed, since tiny networks leave it idle else."""

    def __init__(self, network: Network, optimiser: torch.optim.Optimizer, batch: int, device: torch.device) -> None:
        self.network, self.optimiser = network, optimiser
        self.pictures = torch.zeros(batch, 1, 28, 28, device=device).to(memory_format=torch.channels_last)
        self.said = torch.zeros(batch, 10, device=device)
        self.graph: torch.cuda.CUDAGraph | None = None
        self.left = 3 if device.type == "cuda" else -1
        self.stream = torch.cuda.Stream() if device.type == "cuda" else None

    def __call__(self, pictures: torch.Tensor, said: torch.Tensor, rate: float) -> None:
        """Learns from one batch."""
        self.pictures.copy_(pictures)
        self.said.copy_(said)
        for group in self.optimiser.param_groups:
            if isinstance(group["lr"], torch.Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate
        if self.graph is not None:
            self.graph.replay()
        elif self.left == 0:
            self.graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self.graph):
                self._learn()
            self.graph.replay()
        elif self.stream is not None:
            self.left -= 1
            self.stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self.stream):
                self._learn()
            torch.cuda.current_stream().wait_stream(self.stream)
        else:
            self._learn()

    def _learn(self) -> None:
        self.optimiser.zero_grad(set_to_none=True)
        with torch.autocast(self.pictures.device.type, torch.bfloat16, enabled=self.stream is not None):
            logits = self.network(self.pictures)
        wanted = functional.log_softmax(self.said / SHARPNESS, 1)
        found = functional.log_softmax(logits.float() / SHARPNESS, 1)
        loss = functional.kl_div(found, wanted, reduction="batchmean", log_target=True) * SHARPNESS**2
        loss.backward()
        self.optimiser.step()
