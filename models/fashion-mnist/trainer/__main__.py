"""python3 -m trainer DATA OUT [--jobs N] [--share S]: trains everything; DATA holds Fashion-MNIST's training files.

Writes OUT/NAME.npz and NAME.json for each network. `--jobs` networks are trained side by side; `--share` scales all
epochs, to try the recipe in little time. With PyTorch 2; an accelerator is used if there is one.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch

from . import store, students, teachers
from .data import DEVELOPMENT, TRAINING, normalise, read
from .layers import BASES, SAVERS
from .networks import Network, macs

TEACHERS, TEACHER_EPOCHS = 3, 50
# epochs, batch, learning rate
RECIPES = {**dict.fromkeys(SAVERS, (384, 1024, 6e-3)), **dict.fromkeys(BASES, (96, 512, 2e-3))}


def main() -> None:
    """Trains teachers, writes what they say, then trains the pool; or one of them, when this program started itself."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--share", type=float, default=1.0)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--only", default=",".join(RECIPES), help="networks, by name; OUT/lessons.pt is kept if it is there")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    if arguments.one:
        kind, name = arguments.one.split("/")
        if kind == "teacher":
            teach(arguments.data, arguments.out, int(name), arguments.share)
        else:
            learn(arguments.data, arguments.out, name, arguments.share)
        return
    start = time.perf_counter()
    if not (arguments.out / "lessons.pt").is_file():
        side_by_side(arguments, [f"teacher/{seed}" for seed in range(TEACHERS)])
        row = write_lessons(arguments.data, arguments.out)
        note(arguments.out, "teachers", row | {"seconds": round(time.perf_counter() - start, 1)})
    side_by_side(arguments, [f"network/{name}" for name in arguments.only.split(",")])
    print(f"all done in {time.perf_counter() - start:.0f} s", flush=True)


def side_by_side(arguments: argparse.Namespace, work: list[str]) -> None:
    """Starts this program for each piece of work, as many at once as `--jobs` says; the first failure ends all."""

    def one(piece: str) -> None:
        command = [sys.executable, "-m", "trainer", arguments.data, arguments.out, f"--share={arguments.share}", "--one", piece]
        subprocess.run(command, check=True)

    with ThreadPoolExecutor(arguments.jobs) as pool:
        for job in [pool.submit(one, piece) for piece in work]:
            job.result()


def note(out: Path, name: str, row: dict) -> None:
    """Says what was trained, on what, and keeps it beside the network."""
    row |= {"torch": torch.__version__, "device": _device_name()}
    print(name, row, flush=True)
    (out / f"{name}.json").write_text(json.dumps(row, indent=1) + "\n")


def device() -> torch.device:
    """The accelerator if there is one; the same numbers every time."""
    torch.backends.cudnn.deterministic = True
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def teach(data: Path, out: Path, seed: int, share: float) -> None:
    """Trains one teacher and stores it."""
    pictures, labels = (part.to(device()) for part in read(data, TRAINING))
    torch.save(teachers.train(pictures, labels, TEACHER_EPOCHS * share, seed).state_dict(), out / f"teacher-{seed}.pt")


def write_lessons(data: Path, out: Path) -> dict:
    """Writes what the teachers say of every version of every picture; how good they are."""
    pictures, _ = (part.to(device()) for part in read(data, TRAINING))
    taught = []
    for seed in range(TEACHERS):
        teacher = teachers.Teacher(teachers.WIDTH).to(device(), memory_format=torch.channels_last)
        teacher.load_state_dict(torch.load(out / f"teacher-{seed}.pt", map_location=device()))
        taught.append(teacher.eval())
    said = [teachers.opinion(taught, teachers.version(pictures, version)) for version in range(teachers.VERSIONS)]
    torch.save(torch.stack(said).half().cpu(), out / "lessons.pt")
    seen, truth = (part.to(device()) for part in read(data, DEVELOPMENT))
    right = lambda logits: (logits.argmax(1) == truth).float().mean().item()
    alone = [right(teachers.logits(teacher, seen)) for teacher in taught]
    return {"development_accuracy": alone, "together": right(teachers.opinion(taught, normalise(seen)))}


def learn(data: Path, out: Path, name: str, share: float) -> None:
    """Trains one network of the pool and stores it."""
    start = time.perf_counter()
    pictures, _ = (part.to(device()) for part in read(data, TRAINING))
    said = torch.load(out / "lessons.pt").to(device())
    lessons = [(teachers.version(pictures, version), said[version].float()) for version in range(teachers.VERSIONS)]
    epochs, batch, rate = RECIPES[name]
    layers = {**BASES, **SAVERS}[name]
    seed = 100 + list(RECIPES).index(name)
    network = students.train(layers, lessons, epochs * share, batch, rate, seed)
    store.save(network, out / f"{name}.npz")
    seen = tuple(part.to(device()) for part in read(data, DEVELOPMENT))
    row = {"macs": macs(network), "development_accuracy": accuracy(network, *seen), "epochs": epochs * share}
    note(out, name, row | {"seconds": round(time.perf_counter() - start, 1)})


@torch.no_grad()
def accuracy(network: Network, pictures: torch.Tensor, labels: torch.Tensor) -> float:
    """Share of right answers."""
    parts = zip(pictures.split(1000), labels.split(1000))
    return (sum((network(normalise(part)).argmax(1) == truth).sum() for part, truth in parts) / len(labels)).item()


def _device_name() -> str:
    return torch.cuda.get_device_name() if device().type == "cuda" else "processor"


if __name__ == "__main__":
    main()
