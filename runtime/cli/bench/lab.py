"""`make bench-lab`: calibration and selection at ImageNet's size, their time and memory.

    lab.py TINYSAVER FIGURES [ROUNDS]

Logits are made from a seed; what is timed does not depend on their meaning. Wall time and peak memory of whole processes,
files included. Writes lab.md and lab.json. Needs numpy (models/.venv has it).
"""
import datetime
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile
import time

import numpy

SAMPLES, CLASSES = 50_000, 1_000
BASES, SAVERS = 43, 40
BARS = {"calibrate": (10, 1000), "select": (30, None)}


def run(command):
    """Wall seconds, CPU seconds and peak MB of a process that must succeed."""
    start = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{command[:6]} ended with status {process.returncode}")
    return time.monotonic() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / 1e6


def logits(random, labels, classes, accuracy, file):
    """A model that is right so often, surer where it is right."""
    table = random.standard_normal((len(labels), classes), dtype="f4")
    right = random.random(len(labels)) < accuracy
    answers = numpy.where(right, labels, (labels + 1) % classes)
    table[numpy.arange(len(labels)), answers] += numpy.where(right, 9, 5) + random.standard_normal(len(labels))
    numpy.save(file, table)


def prepare(binary, folder):
    """Records for both measurements."""
    random = numpy.random.default_rng(6)
    labels = random.integers(0, CLASSES, SAMPLES)
    numpy.save(folder / "labels.npy", labels)
    for name, accuracy in (("saver", 0.75), ("base", 0.85)):
        logits(random, labels, CLASSES, accuracy, folder / f"{name}.npy")
    pair = [f"--model={name}={folder / name}.npy" for name in ("saver", "base")]
    few = random.integers(0, 4, SAMPLES)
    numpy.save(folder / "few.npy", few)
    pool = []
    for index in range(BASES + SAVERS):
        logits(random, few, 4, 0.6 + 0.3 * index / (BASES + SAVERS), folder / f"m{index}.npy")
        pool += [f"--model=m{index}={folder}/m{index}.npy", f"--macs=m{index}={index + 1}"]
    imported = run([binary, "import", *pair, "--labels", folder / "labels.npy", "--logits", "--out", folder / "pair.parquet"])
    run([binary, "import", *pool, "--labels", folder / "few.npy", "--out", folder / "pool.parquet"])
    return imported


def main(binary, figures, rounds="3"):
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        imported = prepare(binary, folder)
        savers = ",".join(f"m{index}" for index in range(SAVERS))
        commands = {
            "calibrate": [binary, "calibrate", folder / "pair.parquet", "--saver=saver", "--base=base", "--temperature=fit"],
            # Every model is a base once, 83 in all: more than the 43 that are asked for.
            "select": [binary, "select", folder / "pool.parquet", "--pool", savers],
        }
        rows = {what: [run(command) for _ in range(int(rounds))] for what, command in commands.items()}
    result = {"date": str(datetime.date.today()), "machine": platform.processor() or platform.machine(), "cores": os.cpu_count(),
              "samples": SAMPLES, "classes": CLASSES, "n": int(rounds), "import_seconds": round(imported[0], 2), "rows": {}}
    lines = [f"50,000 samples; {os.cpu_count()} cores; {rounds} runs of whole processes, {result['date']} (`make bench-lab`).", "",
             "| what | wall s, median [least, most] | CPU s | peak MB | bar |", "|---|---|---|---|---|"]
    for what, runs in rows.items():
        wall, cpu, peak = ([run[index] for run in runs] for index in range(3))
        seconds, megabytes = BARS[what]
        met = statistics.median(wall) < seconds and (megabytes is None or max(peak) < megabytes)
        result["rows"][what] = {"wall_s": wall, "cpu_s": cpu, "peak_mb": peak, "bar_s": seconds, "bar_mb": megabytes, "met": met}
        bar = f"{seconds} s" + (f", {megabytes} MB" if megabytes else "")
        lines.append(f"| {what} | {statistics.median(wall):.2f} [{min(wall):.2f}, {max(wall):.2f}] | {statistics.median(cpu):.2f} | "
                     f"{max(peak):.0f} | {bar}: {'met' if met else 'not met'} |")
    lines += ["", f"`calibrate`: {CLASSES} classes, the temperature fitted. `select`: {BASES + SAVERS} bases, each with the cheaper ones of "
              f"{SAVERS} savers, 200 resamples for the best five. Importing both models' logits took {imported[0]:.1f} s."]
    figures = pathlib.Path(figures)
    (figures / "lab.md").write_text("\n".join(lines) + "\n")
    (figures / "lab.json").write_text(json.dumps(result, indent=1) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main(*sys.argv[1:])
