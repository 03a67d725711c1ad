"""`make bench-threads`: what more threads for one inference bring, and what they cost.

    threads.py TINYSAVER PAIR FIGURES [ROUNDS]

TINYSAVER is the built binary: `bench --threads 1`, `2` and so on up to the cores (4 at most), taking turns; each turn's
median counts once. Writes threads.md and threads.json.
"""
import datetime
import json
import os
import pathlib
import platform
import subprocess
import sys

from compare import ratio, spread

MODELS = ["efficientnet_lite0_96.int8", "efficientnet_lite0_160.int8", "efficientnet_lite2_260.int8",
          "efficientnet_lite2_260.f32"]
COUNT = 30


def median_ms(binary, model, threads):
    command = [binary, "bench", model, "--threads", str(threads), "--count", str(COUNT), "--json"]
    [timing] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)["models"]
    return timing["wall"]["median_ms"], timing["cpu"]["median_ms"]


def main(binary, pair, figures, rounds="15"):
    counts = range(1, min(os.cpu_count() or 1, 4) + 1)
    rows = []
    for name in MODELS:
        model = str(pathlib.Path(pair, f"{name}.onnx"))
        walls, cpus = {count: [] for count in counts}, {count: [] for count in counts}
        for _ in range(int(rounds)):
            for count in counts:
                wall, cpu = median_ms(binary, model, count)
                walls[count].append(wall)
                cpus[count].append(cpu)
        for count in counts:
            rows.append({"model": name, "threads": count, "wall_ms": spread(walls[count]), "cpu_ms": spread(cpus[count]),
                         "wall_to_one": ratio(walls[count], walls[1]), "cpu_to_one": ratio(cpus[count], cpus[1])})
    load = os.getloadavg()[2]
    figure = {"command": "make bench-threads", "date": datetime.date.today().isoformat(), "n": f"{rounds} x {COUNT}",
              "machine": f"{platform.machine()}, {os.cpu_count()} cores", "load_average_15_min": load, "rows": rows}
    folder = pathlib.Path(figures)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "threads.json").write_text(json.dumps(figure, indent=1) + "\n")
    lines = ["# Threads of one inference", "", f"`{figure['command']}`, {figure['date']}, n = {figure['n']}, {figure['machine']}; load"
             f" average of the machine over the last 15 minutes, other work included: {load:.1f}. Median [p10, p90] of the turns, and"
             " of what each turn took beside one thread's.", "",
             "| model | threads | wall time | beside one thread | CPU time, all threads | beside one thread |",
             "| --- | --- | --- | --- | --- | --- |"]
    for row in rows:
        text = [f"{median:.2f}{unit} [{low:.2f}, {high:.2f}]" for (median, low, high), unit in
                [(row["wall_ms"], " ms"), (row["wall_to_one"], ""), (row["cpu_ms"], " ms"), (row["cpu_to_one"], "")]]
        lines.append(f"| {row['model']} | {row['threads']} | {' | '.join(text)} |")
    (folder / "threads.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main(*sys.argv[1:])
