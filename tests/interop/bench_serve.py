"""Requests a second and latency of `serve`, Triton and MLServer: the same base, the same client, alternating.

usage: bench_serve.py TINYSAVER TRITON_PYTHON MLSERVER_PYTHON [SECONDS]
Every server gets pixels over gRPC from 1, 8 and 64 clients that each ask again as soon as they are answered. Then the CPU time
that escalating costs the board's client. Writes docs/figures/serve.md and serve.json.
"""
import asyncio
import contextlib
import datetime
import json
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np
import tritonclient.grpc as grpc
import tritonclient.grpc.aio as grpc_aio

from check_client import mlserver, triton
from figures import FIGURES

CLIENTS = (1, 8, 64)
ROUNDS = 3
SIDE = 260
TICKS = os.sysconf("SC_CLK_TCK")
OVERHEAD_FRAMES, OVERHEAD_ROUNDS = 1000, 5


@contextlib.contextmanager
def serving(binary, model, *arguments):
    command = [binary, "serve", "--model", model, "--listen", "127.0.0.1:0", "--queue", "256", "--max-wait-ms", "120000", *arguments]
    # A session of its own, as the peers have: the kernel shares the processor out by sessions.
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        yield server.stdout.readline().split("://")[1].split(" ")[0], server.pid
    finally:
        server.terminate()
        server.wait(60)


def cpu_seconds(root_pid):
    """Of a process and all that descend from it."""
    parent, used = {}, {}
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            parent[int(entry.name)], used[int(entry.name)] = int(fields[1]), (int(fields[11]) + int(fields[12])) / TICKS
    wanted = {root_pid}
    while more := {pid for pid, above in parent.items() if above in wanted} - wanted:
        wanted |= more
    return sum(used.get(pid, 0) for pid in wanted)


async def ask_for(address, model, name, clients, seconds):
    """-> latencies in seconds."""
    connection = grpc_aio.InferenceServerClient(address)
    pixels = grpc.InferInput(name, [1, SIDE, SIDE, 3], "UINT8")
    pixels.set_data_from_numpy(np.random.default_rng(1).integers(0, 256, (1, SIDE, SIDE, 3), np.uint8))
    await connection.infer(model, [pixels])
    end, latencies = time.monotonic() + seconds, []

    async def client():
        while (start := time.monotonic()) < end:
            result = await connection.infer(model, [pixels])
            assert result.as_numpy("logits").shape == (1, 1000)
            latencies.append(time.monotonic() - start)

    await asyncio.gather(*(client() for _ in range(clients)))
    await connection.close()
    return latencies


def child_of(parent):
    """The last process that this one started; its server runs below it."""
    children = pathlib.Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return int(children[-1])


def measure(servers, seconds):
    rounds = {}
    for clients in CLIENTS:
        for _ in range(ROUNDS):
            for name, (address, model, pid) in servers.items():
                before, start = cpu_seconds(pid), time.monotonic()
                latencies = asyncio.run(ask_for(address, model, "image", clients, seconds))
                took = time.monotonic() - start
                rounds.setdefault((name, clients), []).append(
                    (len(latencies) / took, latencies, (cpu_seconds(pid) - before) / len(latencies)))
                print(f"{name:14} {clients:3} clients  {len(latencies) / took:7.1f} a second", flush=True)
    rows = []
    for (name, clients), done in rounds.items():
        rates, cpu = [one[0] for one in done], [one[2] for one in done]
        latencies = np.concatenate([one[1] for one in done])
        rows.append({"server": name, "clients": clients, "n": len(latencies), "per_second": statistics.median(rates),
                     "per_second_min": min(rates), "per_second_max": max(rates),
                     "p50_ms": 1e3 * float(np.quantile(latencies, 0.5)), "p99_ms": 1e3 * float(np.quantile(latencies, 0.99)),
                     "cpu_ms": 1e3 * statistics.median(cpu)})
    return rows


def overhead(binary):
    """CPU microseconds per escalated frame: runs in which all frames escalate less runs in which none does."""
    def cpu(*arguments):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        command = [binary, "run", "--json", "--source", f"test://?frames={OVERHEAD_FRAMES}&size=128x128", "--saver", "lite0-96-int8",
                   "--base", "lite0-96-int8", "--no-local-base", "--deadline-ms", "60000", *arguments]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        records = [json.loads(line) for line in done.stdout.splitlines()[:-1]]
        resize = statistics.median(record["stages_us"]["resize"] for record in records)
        exits = {record["exit"] for record in records}
        return 1e6 * (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / OVERHEAD_FRAMES, resize, exits

    differences, resizes = [], []
    with serving(binary, "lite0-96-int8") as (address, _):
        for _ in range(OVERHEAD_ROUNDS):
            url = ["--offload", f"grpc://{address}", "--offload-exact"]
            none, resize_none, exits = cpu(*url, "--threshold", "0")
            assert exits == {"saver"}, exits
            all_of_them, resize_all, exits = cpu(*url, "--threshold", "1")
            assert exits == {"base_remote"}, exits
            differences.append(all_of_them - none)
            resizes.append(resize_all - resize_none)
    differences.sort()
    return {"frames": OVERHEAD_FRAMES, "rounds": OVERHEAD_ROUNDS, "median_us": statistics.median(differences),
            "min_us": differences[0], "max_us": differences[-1], "of_that_scaling_us": statistics.median(resizes)}


def write(rows, client, seconds):
    date, load = str(datetime.date.today()), os.getloadavg()[2]
    of = {(row["server"], row["clients"]): row for row in rows}
    lines = ["# Serving", "", f"`make bench-serve`, {date}, x86_64, {os.cpu_count()} cores shared by client and servers; {ROUNDS} rounds of "
             f"{seconds:g} s for each row, alternating. Pixels over gRPC, one picture a request, NVIDIA's asyncio client. The peers run the same "
             "file in onnxruntime (Triton 2.51.0 by its Python backend, MLServer 1.7.1), `serve` in its own engines. Load average of the "
             f"machine over the last 15 minutes, other work included: {load:.1f}. CPU is that of the server's processes and tells more than rates "
             "where others work, too.", "",
             "| clients | server | a second, median [min, max] | times Triton's | p50 | p99 | CPU a request |", "|---|---|---|---|---|---|---|"]
    for row in sorted(rows, key=lambda row: row["clients"]):
        ratio = row["per_second"] / of["Triton", row["clients"]]["per_second"]
        lines.append(f"| {row['clients']} | {row['server']} | {row['per_second']:.1f} [{row['per_second_min']:.1f}, {row['per_second_max']:.1f}] | "
                     f"{ratio:.2f} | {row['p50_ms']:.0f} ms | {row['p99_ms']:.0f} ms | {row['cpu_ms']:.1f} ms |")
    lines += ["", f"**The board's client**: {client['median_us']:.0f} microseconds of CPU for a frame that escalates [{client['min_us']:.0f}, "
              f"{client['max_us']:.0f}], of which scaling the base's picture takes {client['of_that_scaling_us']:.0f} (limit: 300, coding of photos "
              f"not counted). {client['rounds']} rounds of {client['frames']} frames in which all escalate, less as many in which none does; pixels of "
              "96 x 96."]
    (FIGURES / "serve.md").write_text("\n".join(lines) + "\n")
    (FIGURES / "serve.json").write_text(json.dumps(
        {"command": "make bench-serve", "date": date, "load_average": load, "rows": rows, "client": client}, indent=1) + "\n")


def main():
    binary, triton_python, mlserver_python = sys.argv[1:4]
    seconds = float(sys.argv[4]) if len(sys.argv) > 4 else 10
    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
        servers = {}
        for name, model in (("serve, f32", "lite2-260-f32"), ("serve, int8", "lite2-260-int8")):
            address, pid = stack.enter_context(serving(binary, model))
            servers[name] = (address, model, pid)
        for name, start, python in (("Triton", triton, triton_python), ("MLServer", mlserver, mlserver_python)):
            _, port = stack.enter_context(start(python, folder))
            servers[name] = (f"127.0.0.1:{port}", "base", child_of(os.getpid()))
        rows = measure(servers, seconds)
    client = overhead(binary)
    write(rows, client, seconds)
    print((FIGURES / "serve.md").read_text())


if __name__ == "__main__":
    main()
