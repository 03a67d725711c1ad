#!/usr/bin/env python3
"""The int8 base against the f32 base on the demo photos: the same classes, and what each costs.

    python3 models/coverage/base.py BINARY FIGURES [ROUNDS]

Every photo goes to both bases (threshold 1), the bases in turn in each round. Writes base.md and base.json; ends with
status 1 if fewer than 17 of the 20 labelled photos are right or fewer than 85 % of all photos get the same class.
"""

from __future__ import annotations

import datetime
import json
import statistics
import subprocess
import sys
from pathlib import Path

PHOTOS = Path(__file__).resolve().parent.parent / "imagenet-lite" / "build" / "photos"
BASES = ["lite2-260-f32", "lite2-260-int8"]
LEAST_RIGHT, LEAST_AGREEMENT = 17, 0.85


def records(binary: str, base: str) -> list[dict]:
    """The record of every photo."""
    found = []
    for folder in ("labelled", "known"):
        command = [binary, "run", "--json", "--threshold", "1", "--base", base, "--source", str(PHOTOS / folder)]
        lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
        found += [record for record in map(json.loads, lines) if "class" in record]
    return found


def row(name: str, found: list[dict], times: list[float]) -> dict:
    """What one base did."""
    times = sorted(times)
    labelled = [record for record in found if "labelled" in record["source"]]
    return {
        "base": name, "photos": len(found),
        "labelled_right": sum(record["class"] == record["truth"] for record in labelled), "labelled": len(labelled),
        "wall_ms": {"median": statistics.median(times), "p10": times[len(times) // 10], "p90": times[len(times) * 9 // 10]},
    }


def main(binary: str, figures: str, rounds: str = "3") -> None:
    """Measure, write, conclude."""
    found: dict[str, list[dict]] = {}
    times: dict[str, list[float]] = {base: [] for base in BASES}
    for _ in range(int(rounds)):
        for base in BASES:
            found[base] = records(binary, base)
            times[base] += [record["stages_us"]["base"] / 1e3 for record in found[base]]
    rows = [row(base, found[base], times[base]) for base in BASES]
    real, small = (found[base] for base in BASES)
    same = sum(a["class"] == b["class"] for a, b in zip(real, small, strict=True))
    differ = [f"{Path(a['source']).name}: {a['label']} ({a['probability']:.2f}) / {b['label']} ({b['probability']:.2f})"
              for a, b in zip(real, small, strict=True) if a["class"] != b["class"]]
    figure = {"command": "make check-base", "date": datetime.date.today().isoformat(), "n": len(times[BASES[0]]),
              "rows": rows, "same_class": same, "photos": len(real), "differ": differ}
    folder = Path(figures)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "base.json").write_text(json.dumps(figure, indent=1) + "\n", encoding="utf-8")
    lines = [f"# The int8 base against the f32 base", "",
             f"`{figure['command']}`, {figure['date']}: {same} of {len(real)} demo photos get the same class.", "",
             "| base | labelled photos right | one inference, wall time, median [p10, p90] |", "| --- | --- | --- |"]
    for each in rows:
        wall = each["wall_ms"]
        lines.append(f"| {each['base']} | {each['labelled_right']} of {each['labelled']} |"
                     f" {wall['median']:.1f} ms [{wall['p10']:.1f}, {wall['p90']:.1f}], n = {figure['n']} |")
    lines += ["", "Where they differ (f32 / int8): " + ("; ".join(differ) or "nowhere") + ".", ""]
    (folder / "base.md").write_text("\n".join(lines), encoding="utf-8")
    print("\n".join(lines))
    if rows[1]["labelled_right"] < LEAST_RIGHT or same < LEAST_AGREEMENT * len(real):
        sys.exit("the int8 base does not agree well enough")


if __name__ == "__main__":
    main(*sys.argv[1:])
