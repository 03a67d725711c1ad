"""`make fuzz`: the crates' fuzz targets under AddressSanitizer, into docs/figures/fuzz.md.

    run.py FIGURES [--target NAME ...] [--executions N] [--minutes M] [--workers W] [--folder FOLDER]

Needs cargo-fuzz (`cargo install cargo-fuzz --locked`); RUSTC_BOOTSTRAP=1 lets the pinned stable compiler instrument. Targets
lie in each crate's `fuzz/`, outside the workspace. A corpus begins with what the target names as seeds, among them what was
found once. Ends with status 1 at the first finding, which libFuzzer leaves in the crate's `fuzz/artifacts/`. A target that
was not named keeps the row that it had.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
RUNTIME = HERE.parent


class Target(NamedTuple):
    """What is fuzzed, where, from which files on, and the longest input in bytes: the largest seed with room to grow."""

    crate: str
    checks: str
    longest: int
    seeds: tuple[str, ...] = ()


TARGETS = {
    "load": Target(
        "engine",
        "any bytes, from real quantised models on: an engine or an error, never a panic; what loads runs",
        16384,
        ("engine/tests/data/*.onnx", "engine/fuzz/seeds/load/*"),
    ),
    "plan": Target(
        "engine",
        "made-up models, then changed ones: the fastest kernels give the same bits as the scalar reference",
        96,
    ),
    "split": Target(
        "board",
        "a Motion JPEG stream: the same pictures in pieces of any size, each whole, in bounded memory",
        4096,
    ),
    "jpeg": Target(
        "board",
        "any bytes, and real JPEGs with changes: the camera's decoder and the one for stills give pixels or an error; no "
        "picture depends on the one before it",
        2048,
    ),
    "y4m": Target(
        "board",
        "a .y4m file: whole frames or an error; a frame becomes a tensor and a picture",
        2048,
        ("board/fuzz/seeds/y4m/*",),
    ),
    "multipart": Target(
        "board",
        "a camera's HTTP body: the same parts in pieces of any size, none made up, and an end",
        4096,
        ("board/fuzz/seeds/multipart/*",),
    ),
    "rest": Target(
        "offload",
        "bodies of REST requests and replies, JSON with and without binary tensors: a message or an error; written again it "
        "reads the same",
        4096,
        ("offload/fuzz/seeds/rest/*",),
    ),
    "grpc": Target(
        "offload",
        "gRPC's messages: a request, a reply, a description or an error; written again it reads the same",
        4096,
        ("offload/fuzz/seeds/grpc/*",),
    ),
}
LIMITS = ["-timeout=60", "-rss_limit_mb=4096", "-entropic=0", "-print_funcs=0", "-print_final_stats=1"]


def fuzz(name: str, executions: int, minutes: int, workers: int, folder: Path | None) -> dict:
    """A row of the figure; ends the program at a finding. Workers have seeds and corpora of their own."""
    target = TARGETS[name]
    home = RUNTIME / target.crate / "fuzz"
    folder = folder or home / "target"
    environment = {**os.environ, "RUSTC_BOOTSTRAP": "1", "RUSTC_WRAPPER": str(HERE / "ours-only.sh")}
    cargo = ["cargo", "fuzz"], ["--fuzz-dir", str(home), "--target-dir", str(folder), name]
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run([*cargo[0], "build", *cargo[1]], cwd=RUNTIME / target.crate, env=environment, check=True)
    running = []
    for worker in range(workers):
        corpus = folder / "corpus" / f"{name}-{worker}"
        shutil.rmtree(corpus, ignore_errors=True)
        corpus.mkdir(parents=True)
        for pattern in target.seeds:
            for seed in RUNTIME.glob(pattern):
                shutil.copy(seed, corpus)
        limits = [f"-runs={-(-executions // workers)}", f"-max_total_time={60 * minutes}", f"-max_len={target.longest}", *LIMITS]
        log = folder / f"{name}-{worker}.log"
        command = [*cargo[0], "run", *cargo[1], str(corpus), "--", f"-seed={worker + 1}", *limits]
        with log.open("w") as sink:
            process = subprocess.Popen(command, cwd=RUNTIME / target.crate, env=environment, stderr=sink)
        running.append((process, log, corpus))
    for process, log, _ in running:
        if process.wait():
            text = log.read_text(errors="replace")
            sys.exit(f"run.py: {name}: a finding; the end of {log}:\n" + "\n".join(text.splitlines()[-40:]))
    texts = [log.read_text(errors="replace") for _, log, _ in running]
    last = lambda pattern: [int(re.findall(pattern, text)[-1]) for text in texts]
    return {
        "target": name,
        "date": datetime.date.today().isoformat(),
        "checks": target.checks,
        "executions": sum(last(r"stat::number_of_executed_units:\s+(\d+)")),
        "findings": 0,
        "covered_edges": max(last(r"cov: (\d+)")),
        "corpus": sum(len(list(corpus.iterdir())) for _, _, corpus in running),
        "peak_mib": max(last(r"stat::peak_rss_mb:\s+(\d+)")),
        "seconds": max(last(r"Done \d+ runs in (\d+) second")),
        "workers": workers,
    }


def kept(row: dict) -> str:
    """Inputs that are worth keeping; of a run on a machine that is gone nobody counted them."""
    return "-" if row["corpus"] is None else f"{row['corpus']:,}"


def table(rows: list[dict]) -> str:
    """The rows as a Markdown document."""
    lines = [
        "# Fuzzing",
        "",
        "`make fuzz`: libFuzzer with AddressSanitizer; overflow checks and debug assertions are on everywhere. Only this",
        "project's own crates are instrumented (`runtime/fuzz/ours-only.sh`). A finding would be a panic (one that leaves the",
        "loader or an inference, in `load` and `plan`), an abort, an invalid access, 60 s or 4 GiB for one input, or a result that",
        "breaks what the target checks. What was found in earlier runs is mended, and an input from then on (`seeds/`) or a test.",
        "Executions count inputs that are refused, too. `make asan` runs the kernels' own tests under AddressSanitizer. They have",
        "not been run under Miri.",
        "",
        "| target | date | what it checks | executions (goal 1,000,000) | findings | covered edges | inputs kept | peak | time | workers |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        lines.append(
            f"| {row['target']} | {row['date']} | {row['checks']} | {row['executions']:,} | {row['findings']} "
            f"| {row['covered_edges']:,} | {kept(row)} | {row['peak_mib']} MiB | {row['seconds'] / 60:.1f} min | {row.get('workers', 1)} |"
        )
    lines += [f"\n{row['target']}: {row['note']}." for row in rows if "note" in row]
    return "\n".join(lines) + "\n"


def write(row: dict, figures: Path) -> None:
    """Puts a target's row into fuzz.json and fuzz.md, beside what is there."""
    figures.mkdir(parents=True, exist_ok=True)
    path = figures / "fuzz.json"
    before = json.loads(path.read_text())["rows"] if path.exists() else []
    rows = [*(old for old in before if old["target"] != row["target"]), row]
    rows.sort(key=lambda each: each["target"])
    path.write_text(json.dumps({"command": "make fuzz", "rows": rows}, indent=1) + "\n")
    (figures / "fuzz.md").write_text(table(rows))
    print(table(rows), end="", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("figures", type=Path)
    parser.add_argument("--target", choices=TARGETS, nargs="+", default=list(TARGETS))
    parser.add_argument("--executions", type=int, default=1_000_000)
    parser.add_argument("--minutes", type=int, default=0, help="most for a target; 0: until the executions are done")
    parser.add_argument("--workers", type=int, default=1, help="processes side by side, which share the executions")
    parser.add_argument("--folder", type=Path, help="for the build, the corpus and the logs; fuzz/target of each crate")
    arguments = parser.parse_args()
    folder = arguments.folder and arguments.folder.resolve()
    for name in arguments.target:
        write(fuzz(name, arguments.executions, arguments.minutes, arguments.workers, folder), arguments.figures)


if __name__ == "__main__":
    main()
