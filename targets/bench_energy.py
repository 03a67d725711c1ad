"""`make bench-energy`: what booking energy costs the board itself, by `tinysaver power cost`.

    bench_energy.py TINYSAVER TREES FIGURES

A recorded Jetson Orin's and a recorded laptop's files (TREES, as the tests of the sensors use them) are laid out in a
temporary folder and read ten times a second; a meter outside is a file; a Pi 4 is modelled. Ends with 1 if reading takes
more than 0.5 % of a core or a frame's books more than 2 microseconds.
"""
import datetime
import json
import os
import pathlib
import platform
import subprocess
import sys
import tempfile
import time

MOST_SHARE, MOST_US = 0.005, 2.0
SECONDS = 10


def lay_out(tree, root):
    for line in tree.read_text().splitlines():
        path, equals, content = line.partition(" = ")
        if equals and not line.startswith("#"):
            file = root / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content)


def processor():
    lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "Model"))]
    return names[0] if names else platform.machine()


def measure(binary, name, *arguments):
    command = [binary, "power", "cost", "--json", "--seconds", str(SECONDS), *arguments]
    found = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return {"what": name, **json.loads(found)}


def rows(binary, trees, folder):
    for name, tree in (("INA3221 through hwmon", "jetson-orin"), ("RAPL", "x86")):
        root = folder / tree
        lay_out(trees / f"{tree}.txt", root)
        yield measure(binary, f"{name} ({tree}.txt)", "--system-root", root)
    meter = folder / "watts"
    meter.write_text("4.5\n")
    # What nobody writes for ten seconds counts as silent.
    os.utime(meter, times=(time.time() + 3600,) * 2)
    yield measure(binary, "a meter outside, by a file", "--system-root", folder, "--power-sensor", f"file:{meter}")
    yield measure(binary, "modelled", "--system-root", folder, "--power-sensor", "none", "--board", "pi4")


def table(found, date, machine):
    lines = [
        "# What booking energy costs", "",
        f"`make bench-energy`, {date}, {machine}. Each sensor is read ten times a second for {SECONDS} s (processor time of the",
        "thread, its sleeping and waking included, over time); a frame's books are closed three times. Bars: "
        f"{MOST_SHARE:.1%} of one core, {MOST_US:.0f} us",
        "a frame. The files are in memory here: a chip's own answer is waited for on a board, not worked for. That the books",
        "allocate nothing is a test (`runtime/core/tests/energy_allocations.rs`). On a board: `tinysaver power cost`.", "",
        "| source | readings | us a reading: median (min to max) | share of one core | us a frame: median (min to max) |",
        "|---|---|---|---|---|",
    ]
    for row in found:
        sampling, frame = row["sampling"], row["ledger"]["frame_us"]
        reading = sampling and sampling["reading_us"]
        cells = [row["what"],
                 f'{sampling["readings"]}, {sampling["failed"]} without a value' if sampling else "none",
                 f'{reading["median"]:.1f} ({reading["min"]:.1f} to {reading["max"]:.1f})' if sampling else "-",
                 f'{sampling["share_of_core"]:.3%}' if sampling else "-",
                 f'{frame["median"]:.2f} ({frame["min"]:.2f} to {frame["max"]:.2f}), {frame["n"]} rounds']
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main(binary, trees, figures):
    date, machine = datetime.date.today().isoformat(), processor()
    with tempfile.TemporaryDirectory() as folder:
        found = list(rows(binary, pathlib.Path(trees), pathlib.Path(folder)))
    figures = pathlib.Path(figures)
    (figures / "energy-cost.md").write_text(text := table(found, date, machine))
    document = {"date": date, "machine": machine, "seconds": SECONDS, "most_share_of_core": MOST_SHARE,
                "most_us_a_frame": MOST_US, "rows": found}
    (figures / "energy-cost.json").write_text(json.dumps(document, indent=1) + "\n")
    print(text)
    missed = [row["what"] for row in found
              if row["ledger"]["frame_us"]["median"] > MOST_US
              or row["sampling"] and row["sampling"]["share_of_core"] > MOST_SHARE]
    if missed:
        sys.exit(f"too dear: {', '.join(missed)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
