"""`make fuzz`: the fuzz targets under AddressSanitizer, into docs/figures/fuzz.md.

    run.py FIGURES [--target NAME] [--executions N] [--minutes M] [--folder FOLDER]

Needs cargo-fuzz (`cargo install cargo-fuzz --locked`); RUSTC_BOOTSTRAP=1 lets the pinned stable compiler instrument. The
corpus of `load` begins with the models of tests/data and what was found once (seeds/), that of `plan` empty: it makes its models itself. Ends with status 1
at the first finding, which libFuzzer leaves in `artifacts/`. A target that was not named keeps the row that it had.
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

HERE = Path(__file__).resolve().parent
# what each checks, and the longest input in bytes: the largest seed with room to grow, all that `plan` can read
TARGETS = {
    "load": ("any bytes, from real quantised models on: an engine or an error, never a panic; what loads runs", 16384),
    "plan": ("made-up models, then changed ones: the fastest kernels give the same bits as the scalar reference", 96),
}
LIMITS = ["-timeout=60", "-rss_limit_mb=4096", "-entropic=0", "-print_funcs=0", "-print_final_stats=1"]


def fuzz(target: str, executions: int, minutes: int, folder: Path) -> dict:
    """A row of the figure; ends the program at a finding."""
    corpus = folder / "corpus" / target
    shutil.rmtree(corpus, ignore_errors=True)
    corpus.mkdir(parents=True)
    if target == "load":
        for model in [*(HERE.parent / "tests" / "data").glob("*.onnx"), *(HERE / "seeds").glob("*.onnx")]:
            shutil.copy(model, corpus)
    checks, longest = TARGETS[target]
    cargo = ["cargo", "fuzz", "run", "--fuzz-dir", str(HERE), "--target-dir", str(folder), target, str(corpus), "--"]
    command = [*cargo, f"-runs={executions}", f"-max_total_time={60 * minutes}", f"-max_len={longest}", *LIMITS]
    environment = {**os.environ, "RUSTC_BOOTSTRAP": "1", "RUSTC_WRAPPER": str(HERE / "ours-only.sh")}
    log = folder / f"{target}.log"
    with log.open("w") as sink:
        done = subprocess.run(command, cwd=HERE.parent, env=environment, stderr=sink, check=False)
    text = log.read_text(errors="replace")
    if done.returncode:
        sys.exit(f"run.py: {target}: a finding, or no build; the end of {log}:\n" + "\n".join(text.splitlines()[-40:]))
    last = lambda pattern: int(re.findall(pattern, text)[-1])
    return {
        "target": target,
        "date": datetime.date.today().isoformat(),
        "checks": checks,
        "executions": last(r"stat::number_of_executed_units:\s+(\d+)"),
        "findings": 0,
        "covered_edges": last(r"cov: (\d+)"),
        "corpus": len(list(corpus.iterdir())),
        "peak_mib": last(r"stat::peak_rss_mb:\s+(\d+)"),
        "seconds": last(r"Done \d+ runs in (\d+) second"),
    }


def table(rows: list[dict]) -> str:
    """The rows as a Markdown document."""
    lines = [
        "# Fuzzing",
        "",
        "`make fuzz`: libFuzzer with AddressSanitizer; overflow checks and debug assertions are on everywhere. Only this",
        "project's own crates are instrumented (`runtime/engine/fuzz/ours-only.sh`). A finding would be a panic that leaves the",
        "loader or an inference, an abort, an invalid access, 60 s or 4 GiB for one input, or (`plan`) a differing bit. What was",
        "found in earlier runs is mended, and an input of `load` from then on (`seeds/`). Executions count inputs that are refused,",
        "too. `make asan` runs the kernels' own tests under AddressSanitizer. They have not been run under Miri.",
        "",
        "| target | date | what it checks | executions (goal 1,000,000) | findings | covered edges | inputs kept | peak | time |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        lines.append(
            f"| {row['target']} | {row['date']} | {row['checks']} | {row['executions']:,} | {row['findings']} "
            f"| {row['covered_edges']:,} | {row['corpus']:,} | {row['peak_mib']} MiB | {row['seconds'] / 60:.0f} min |"
        )
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
    parser.add_argument("--target", choices=TARGETS)
    parser.add_argument("--executions", type=int, default=1_000_000)
    parser.add_argument("--minutes", type=int, default=0, help="most for a target; 0: until the executions are done")
    parser.add_argument("--folder", type=Path, default=HERE / "target", help="for the build, the corpus and the logs")
    arguments = parser.parse_args()
    for target in [arguments.target] if arguments.target else TARGETS:
        write(fuzz(target, arguments.executions, arguments.minutes, arguments.folder.resolve()), arguments.figures)


if __name__ == "__main__":
    main()
