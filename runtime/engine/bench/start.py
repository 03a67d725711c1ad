"""`make bench-start`: from a cold process to the first answer, and the memory that takes.

    start.py TINYSAVER MODEL FIGURES [ROUNDS]

Runs `tinysaver model run` on one picture and, in turn with it, onnxruntime (its session and first inference alone: the
start of Python and of its library does not count). CPU time is that of the process; resident memory is its peak. Uses
only the standard library itself, because a child's peak counts from what its parent held. Writes start.md and start.json.
"""
import array
import datetime
import json
import os
import pathlib
import platform
import statistics
import struct
import subprocess
import sys
import tempfile

# Of the process that this starts: the CPU time of what stands between the two lines.
PEER = """
import sys, time, numpy, onnxruntime
picture = numpy.zeros((1, 3, int(sys.argv[2]), int(sys.argv[2])), 'f4')
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
start = time.process_time()
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=['CPUExecutionProvider'])
session.run(None, {session.get_inputs()[0].name: picture})
print((time.process_time() - start) * 1e3, onnxruntime.__version__)
"""
MOST_CPU_MS, MOST_MIB = 60, 30


def write_picture(path, side):
    """A NumPy file of float32 [1, 3, side, side]."""
    head = f"{{'descr': '<f4', 'fortran_order': False, 'shape': (1, 3, {side}, {side}), }}"
    head = head.ljust(117) + "\n"
    data = array.array("f", (index % 251 / 125 - 1 for index in range(3 * side * side)))
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode() + data.tobytes())


def run(command):
    """CPU milliseconds and peak MiB of a process."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{command} ended with status {process.returncode}")
    return (usage.ru_utime + usage.ru_stime) * 1e3, usage.ru_maxrss / 1024


def described(numbers):
    """Median, p10 and p90."""
    numbers = sorted(numbers)
    at = lambda share: numbers[min(len(numbers) - 1, int(share * len(numbers)))]
    return {"median": round(statistics.median(numbers), 2), "p10": round(at(0.1), 2), "p90": round(at(0.9), 2)}


def main(binary, model, figures, rounds="30"):
    rounds, model = int(rounds), pathlib.Path(model)
    python = pathlib.Path("models/.venv/bin/python")
    report = json.loads(subprocess.check_output([binary, "model", "inspect", model, "--json"]))
    side = int(report["inputs"][0]["shape"].strip("[]").split(",")[-1])
    cpu, peak, peer, version = [], [], [], ""
    with tempfile.TemporaryDirectory() as folder:
        source, target = pathlib.Path(folder, "in.npy"), pathlib.Path(folder, "out.npy")
        write_picture(source, side)
        for _ in range(rounds):
            ours = run([binary, "model", "run", model, "--input", source, "--output", target])
            cpu.append(ours[0])
            peak.append(ours[1])
            taken, version = subprocess.check_output([python, "-c", PEER, model, str(side)], text=True).split()
            peer.append(float(taken))
    bare = [run([binary, "version"]) for _ in range(5)]
    figure = {
        "command": "make bench-start", "date": datetime.date.today().isoformat(), "machine": platform.machine(),
        "model": model.name, "n": rounds, "cpu_ms": described(cpu), "peak_mib": described(peak),
        "bare_process_cpu_ms": round(min(each[0] for each in bare), 2),
        "onnxruntime": version, "onnxruntime_session_cpu_ms": described(peer),
        "limits": {"cpu_ms": MOST_CPU_MS, "peak_mib": MOST_MIB},
    }
    folder = pathlib.Path(figures)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "start.json").write_text(json.dumps(figure, indent=1) + "\n")
    row = lambda name, unit: f"{name['median']} {unit} [{name['p10']}, {name['p90']}]"
    text = f"""# Start

`make bench-start`, {figure['date']}, n = {rounds}, {figure['machine']}: `{figure['model']}`, one picture, median [p10, p90].

| | this engine, whole process | limit | onnxruntime {version}, session and first inference alone |
| --- | --- | --- | --- |
| CPU time, cold process to first answer | {row(figure['cpu_ms'], 'ms')} | {MOST_CPU_MS} ms | {row(figure['onnxruntime_session_cpu_ms'], 'ms')} |
| peak resident memory | {row(figure['peak_mib'], 'MiB')} | {MOST_MIB} MiB | |

A process that loads no model takes {figure['bare_process_cpu_ms']} ms of that.
There is no plan cache: parsing and packing anew cost less than the limit leaves, and nothing can go stale.
"""
    (folder / "start.md").write_text(text)
    print(text)
    if figure["cpu_ms"]["median"] > MOST_CPU_MS or figure["peak_mib"]["median"] > MOST_MIB:
        raise SystemExit("over the limit")


if __name__ == "__main__":
    main(*sys.argv[1:])
