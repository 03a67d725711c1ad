"""CPU time of one inference: this crate's engines against onnxruntime and OpenVINO, one thread, interleaved.

    compare.py ENGINE_BINARY ROUNDS PER_ROUND NAME=KIND:MODEL...

KIND is int8, int8-scalar, int8-avx2 or tract (run by ENGINE_BINARY, the example `engine` of this crate), or ort or
openvino (run by this Python). In every round each engine makes PER_ROUND inferences, one engine after the other; the
CPU time of its process is taken around them. Prints medians, p10 and p90 over the rounds, and the ratio of the first
engine to each, with p10 and p90 of the rounds' own ratios.
Needs: numpy, and onnxruntime or openvino for their kinds.
"""
import statistics
import subprocess
import sys
import time


def peer(kind, model):
    """Serves like the example `engine`."""
    import numpy as np

    if kind == "ort":
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        shape = session.get_inputs()[0].shape
        binding = session.io_binding()
        picture = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
        binding.bind_cpu_input(session.get_inputs()[0].name, picture)
        binding.bind_output(session.get_outputs()[0].name)

        def infer():
            session.run_with_iobinding(binding)
    else:
        import openvino as ov

        settings = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY"}
        request = ov.Core().compile_model(model, "CPU", settings).create_infer_request()
        shape = list(request.get_input_tensor(0).shape)
        request.set_input_tensor(ov.Tensor(np.random.default_rng(0).standard_normal(shape).astype(np.float32)))

        def infer():
            request.infer()

    infer()
    print("READY", kind, flush=True)
    for line in sys.stdin:
        if not int(line):
            break
        for _ in range(int(line)):
            infer()
        print("done", flush=True)


def cpu_ns(process):
    """CPU time of another process: Linux makes its clock's number out of its id."""
    return time.clock_gettime_ns((~process.pid << 3) | 2)


def ask(process, count):
    process.stdin.write(f"{count}\n")
    process.stdin.flush()
    if count:
        process.stdout.readline()


def start(binary, kind, model):
    own = [binary, kind, model, "serve"]
    command = [sys.executable, __file__, "--peer", kind, model] if kind in ("ort", "openvino") else own
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    line = process.stdout.readline()
    while line and not line.startswith("READY"):
        line = process.stdout.readline()
    if not line:
        raise SystemExit(f"{kind} cannot load {model}")
    ask(process, 5)
    return process


def spread(numbers):
    numbers = sorted(numbers)
    return numbers[len(numbers) // 10], numbers[min(len(numbers) - 1, len(numbers) * 9 // 10)]


def main(binary, rounds, per_round, *engines):
    rounds, per_round = int(rounds), int(per_round)
    running = {}
    for engine in engines:
        name, rest = engine.split("=", 1)
        running[name] = start(binary, *rest.split(":", 1))
    times = {name: [] for name in running}
    for _ in range(rounds):
        for name, process in running.items():
            before = cpu_ns(process)
            ask(process, per_round)
            times[name].append((cpu_ns(process) - before) / 1e6 / per_round)
    first = next(iter(times.values()))
    for name, taken in times.items():
        ask(running[name], 0)
        low, high = spread(taken)
        ratio_low, ratio_high = spread(ours / theirs for ours, theirs in zip(first, taken))
        ratio = statistics.median(first) / statistics.median(taken)
        print(f"{name:16} {statistics.median(taken):8.3f} ms [{low:.3f}, {high:.3f}]  first/this {ratio:.2f} "
              f"[{ratio_low:.2f}, {ratio_high:.2f}]  n = {rounds} x {per_round}")


if __name__ == "__main__":
    peer(*sys.argv[2:]) if sys.argv[1:2] == ["--peer"] else main(*sys.argv[1:])
