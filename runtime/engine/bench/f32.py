"""`make bench-f32`: tract in f32 with and without this crate's convolutions, and onnxruntime.

    f32.py WITH WITHOUT PAIR FIGURES [ROUNDS]

WITH and WITHOUT are the example `engine` of this crate, the second built with TINYSAVER_PLAIN_TRACT=1. Interleaved, one
thread, batch 1, CPU time. Writes f32.md and f32.json.
"""
import datetime
import json
import pathlib
import platform
import sys

from compare import Server, measure, ratio, spread

HERE = pathlib.Path(__file__).parent
MODELS = ["efficientnet_lite0_160", "efficientnet_lite0_224", "efficientnet_lite2_260"]


def main(with_ours, without, pair, figures, rounds="30"):
    python = str(pathlib.Path("models/.venv/bin/python"))
    rows = []
    for name in MODELS:
        model = str(pathlib.Path(pair, f"{name}.f32.onnx"))
        servers = [
            Server("tract with our convolutions", [with_ours, "tract", model, "serve"]),
            Server("tract", [without, "tract", model, "serve"]),
            Server("onnxruntime", [python, str(HERE / "peer.py"), "ort", model]),
        ]
        measure(servers, int(rounds), 2)
        for server in servers:
            against = ratio(server.times_ms, servers[0].times_ms)
            rows.append({"model": name, "engine": server.name, "cpu_ms": spread(server.times_ms), "to_first": against})
    figure = {"command": "make bench-f32", "date": datetime.date.today().isoformat(), "n": f"{rounds} x 2",
              "machine": platform.machine(), "rows": rows}
    folder = pathlib.Path(figures)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "f32.json").write_text(json.dumps(figure, indent=1) + "\n")
    lines = ["# f32", "", f"`{figure['command']}`, {figure['date']}, n = {figure['n']}, {figure['machine']}: CPU time of one"
             " inference, median [p10, p90], and how many times that of tract with our convolutions.", "",
             "| model | engine | CPU time | ratio |", "| --- | --- | --- | --- |"]
    for row in rows:
        median, low, high = row["cpu_ms"]
        times, least, most = row["to_first"]
        lines.append(f"| {row['model']} | {row['engine']} | {median:.1f} ms [{low:.1f}, {high:.1f}] |"
                     f" {times:.2f} [{least:.2f}, {most:.2f}] |")
    (folder / "f32.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main(*sys.argv[1:])
