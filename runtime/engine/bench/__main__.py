"""`make bench-engines`: the int8 engine against ONNX Runtime, OpenVINO, TFLite, MNN and ncnn, on this machine.

    bench ENGINE TINYSAVER FOLDER PAIR FIGURES [ROUNDS]

ENGINE is the example `engine` of this crate, TINYSAVER the binary (for the peak of the processor's instruction), FOLDER
is for environments and models, PAIR is models/imagenet-lite/build, FIGURES gets engines.md and engines.json. Installs the
peers from PyPI into environments of their own, makes the models, and measures: engines interleaved in rounds, CPU time of
each process, one thread, batch 1.
"""
import datetime
import json
import pathlib
import platform
import subprocess
import sys
import venv

from compare import Server, measure, ratio, spread

HERE = pathlib.Path(__file__).parent
# Inferences of a round: about as much time for each model.
MODELS = {
    "mobilenet_v2_224": ("MobileNetV2-1.0-224", 10),
    "efficientnet_lite0_224": ("EfficientNet-Lite0-224", 8),
    "efficientnet_lite0_160": ("EfficientNet-Lite0-160", 15),
    "mobilenet_v2_035_96": ("MobileNetV2-0.35-96", 150),
    "mobilenet_v3_small_224": ("MobileNetV3-small-224", 40),
    "resnet18_224": ("ResNet-18-224", 3),
    "resnet8_32": ("ResNet-8-32", 200),
}
# Name, kind, form of the model, whether it sees no AVX-512.
PEERS = [
    ("ONNX Runtime, QOperator", "ort", "qop.onnx", False),
    ("ONNX Runtime, QOperator, u8 picture", "ort", "qop.u8.onnx", False),
    ("ONNX Runtime, QDQ, u8 picture", "ort", "qdq.u8.onnx", False),
    ("OpenVINO, QDQ", "openvino", "qdq.onnx", False),
    ("OpenVINO, QDQ, u8 picture", "openvino", "qdq.u8.onnx", False),
    ("TFLite with XNNPACK", "tflite", "tflite", False),
    ("ONNX Runtime, QOperator, u8 picture, AVX2 only", "ort", "qop.u8.onnx", True),
    ("OpenVINO, QDQ, u8 picture, AVX2 only", "openvino", "qdq.u8.onnx", True),
    ("TFLite with XNNPACK, AVX2 only", "tflite", "tflite", True),
    ("MNN, int8, AVX2 only", "mnn", "int8.mnn", True),
    ("ncnn, f32", "ncnn", "ncnn.param", False),
]
# Those that have to be made to see no AVX-512; OpenVINO has a switch, MNN's package has no such code.
PACKAGES = {"ort": "onnxruntime", "tflite": "ai_edge_litert"}
# Those that have an environment of their own.
MOBILE = ("mnn", "ncnn")


class Workshop:
    """Environments, models and patched copies, made where they are missing."""

    def __init__(self, folder, pair):
        self.folder, self.models = folder, folder / "models"
        self.notes = []
        self.python = self.environment("venv", "requirements.txt")
        self.make_models(pair)
        self.make_mobile()
        self.copies = {kind: self.copy(kind) for kind in PACKAGES}

    def environment(self, name, requirements):
        folder = self.folder / name
        stamp, wanted = folder / "installed.txt", (HERE / requirements).read_text()
        if not stamp.exists() or stamp.read_text() != wanted:
            venv.create(folder, with_pip=True, clear=True)
            pip = [folder / "bin/python", "-m", "pip", "install", "--quiet", "-r", HERE / requirements]
            subprocess.run(pip, check=True)
            stamp.write_text(wanted)
        return folder / "bin/python"

    def make_models(self, pair):
        script = HERE / "models.py"
        stamp = self.models / "made.txt"
        if not stamp.exists() or stamp.read_text() != script.read_text():
            subprocess.run([self.python, script, self.models, pair], check=True)
            stamp.write_text(script.read_text())
        if all((self.models / f"{name}.tflite").exists() for name in MODELS):
            return
        try:
            python = self.environment("venv-tflite", "requirements-tflite.txt")
            subprocess.run([python, HERE / "tflite.py", self.models], check=True)
        except subprocess.CalledProcessError as error:
            self.notes.append(f"TFLite is missing: its files cannot be made here ({error}).")

    def make_mobile(self):
        """The files of MNN and ncnn, anew where the script has changed."""
        try:
            self.mobile = self.environment("venv-mobile", "requirements-mobile.txt")
            script, stamp = HERE / "mobile.py", self.models / "made-mobile.txt"
            if not stamp.exists() or stamp.read_text() != script.read_text():
                for name in MODELS:
                    command = [self.mobile, script, self.models, name]
                    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                stamp.write_text(script.read_text())
        except subprocess.CalledProcessError as error:
            self.notes.append(f"MNN and ncnn are missing, or lack nets: their files cannot be made here ({error}).")

    def copy(self, kind):
        """The package of a peer without AVX-512, or None."""
        folder = self.folder / "avx2" / kind
        (package,) = (self.folder / "venv").glob(f"lib/python*/site-packages/{PACKAGES[kind]}")
        if not (folder / "cpuid_avx2.so").exists():
            command = [sys.executable, HERE / "avx2_only.py", package, folder]
            finished = subprocess.run(command, capture_output=True, text=True)
            if finished.returncode:
                words = finished.stderr.strip().splitlines()
                self.notes.append(f"{kind} without AVX-512 is missing: {words[-1] if words else 'no reason given'}.")
                return None
        return folder

    def peer(self, name, kind, model, is_restricted):
        """A server, or None where its model or its copy is missing."""
        if not model.exists() or (is_restricted and kind in PACKAGES and self.copies[kind] is None):
            return None
        settings = {}
        if is_restricted and kind == "openvino":
            settings = {"ONEDNN_MAX_CPU_ISA": "AVX2"}
        elif is_restricted and kind in PACKAGES:
            settings = {"LD_PRELOAD": str(self.copies[kind] / "cpuid_avx2.so"), "PYTHONPATH": str(self.copies[kind])}
        python = self.mobile if kind in MOBILE else self.python
        return Server(name, [python, HERE / "peer.py", kind, model], settings)


def measure_model(workshop, engine, name, rounds, per_round):
    own = workshop.models / f"{name}.qdq.onnx"
    servers = [
        Server("tinysaver", [engine, "int8", own, "serve"]),
        Server("tinysaver, AVX2 only", [engine, "int8-avx2", own, "serve"]),
    ]
    for peer, kind, form, is_restricted in PEERS:
        servers.append(workshop.peer(peer, kind, workshop.models / f"{name}.{form}", is_restricted))
    servers = [server for server in servers if server is not None]
    macs = int(servers[0].ready.split("macs=")[1].split()[0])
    kernels = servers[0].ready.split()[1]
    measure(servers, rounds, per_round)
    rows = []
    for server in servers:
        is_restricted = server.name.endswith("AVX2 only")
        ours = servers[1 if is_restricted else 0]
        rows.append({
            "engine": server.name,
            "avx2_only": is_restricted,
            "cpu_ms": dict(zip(("median", "p10", "p90"), spread(server.times_ms))),
            "ours_over_this": dict(zip(("median", "p10", "p90"), ratio(ours.times_ms, server.times_ms))),
        })
    return {"model": MODELS[name][0], "macs": macs, "kernels": kernels, "rounds": rounds, "per_round": per_round,
            "engines": rows}


def best_peer(result, is_restricted):
    peers = [row for row in result["engines"]
             if row["avx2_only"] == is_restricted and not row["engine"].startswith("tinysaver")]
    return min(peers, key=lambda row: row["cpu_ms"]["median"], default=None)


def three(numbers, digits):
    return f"{numbers['median']:.{digits}f} [{numbers['p10']:.{digits}f}, {numbers['p90']:.{digits}f}]"


def summary(results, peak, is_restricted):
    ours_name = "tinysaver, AVX2 only" if is_restricted else "tinysaver"
    lines = ["| model | MMAC | ours, ms | best peer | its ms | ours / best peer |" + ("" if is_restricted else " of peak |"),
             "|---|--:|--:|---|--:|--:|" + ("" if is_restricted else "--:|")]
    for result in results:
        (ours,) = [row for row in result["engines"] if row["engine"] == ours_name]
        peer = best_peer(result, is_restricted)
        if peer is None:
            continue
        cells = [result["model"], f"{result['macs'] / 1e6:.1f}", three(ours["cpu_ms"], 3), peer["engine"],
                 three(peer["cpu_ms"], 3), three(peer["ours_over_this"], 2)]
        if not is_restricted:
            share = result["macs"] / (ours["cpu_ms"]["median"] / 1e3) / peak if peak else None
            cells.append(f"{100 * share:.0f} %" if share else "unknown")
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def page(report):
    results, peak = report["models"], report["peak_macs_per_second"]
    kernels = results[0]["kernels"]
    lines = [
        "# The int8 engine against its peers",
        "",
        f"Written by `make bench-engines` on {report['date']}. {report['cpu']}, kernels `{kernels}`, Linux {report['linux']}; "
        f"{', '.join(report['peers'])}.",
        "",
        "CPU time of one inference, batch 1, one thread: median over rounds [p10, p90] in which every engine makes the "
        "same number of inferences, one engine after the other. Ratios are of the medians, [p10, p90] of the rounds' own "
        "ratios; below 1 is faster than the peer. Ours reads a quantised picture, which is what the camera path makes; "
        "so do the peers' rows that say u8 picture, and TFLite. EfficientNet-Lite0 is the pair's real model (TFLite: the "
        "same layers with random weights), the others have random weights.",
        "",
        "MNN's files are int8, made by its own tool; its PyPI wheel holds AVX2 code only, so it belongs into the second "
        "table. ncnn's are f32, converted by pnnx: its wheel holds no quantiser.",
        "",
        f"The processor's instruction for 8-bit products does {peak / 1e9:.0f} GMAC/s at best, measured in registers."
        if peak else "The kernels have no instruction for sums of 8-bit products, so there is no peak to compare with.",
        "",
        "## Against the best peer",
        "",
        *summary(results, peak, False),
        "",
        "## AVX2 only",
        "",
        "The same engines on the same processor with AVX2 kernels: ours by `--kernel avx2`, OpenVINO by "
        "`ONEDNN_MAX_CPU_ISA`, ONNX Runtime and TFLite by answering their `cpuid` instructions. It is AVX2 code on this "
        "core, not the speed of an older machine.",
        "",
        *summary(results, peak, True),
        "",
        "## Every engine",
        "",
    ]
    for result in results:
        lines += [f"### {result['model']}, n = {result['rounds']} x {result['per_round']}", "",
                  "| engine | CPU ms | ours / this |", "|---|--:|--:|"]
        lines += [f"| {row['engine']} | {three(row['cpu_ms'], 3)} | {three(row['ours_over_this'], 2)} |"
                  for row in result["engines"]]
        lines.append("")
    lines += [f"Note: {note}" for note in report["notes"]]
    return "\n".join(lines).rstrip() + "\n"


def processor():
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith(("model name", "Model")):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def peak(tinysaver, model):
    finished = subprocess.run([tinysaver, "bench", model, "--count", "1", "--json"], capture_output=True, check=True)
    return json.loads(finished.stdout)["peak_macs_per_second"]


def main(engine, tinysaver, folder, pair, figures, rounds="40"):
    folder, figures = pathlib.Path(folder).resolve(), pathlib.Path(figures)
    workshop = Workshop(folder, pathlib.Path(pair).resolve())
    packages = "".join((HERE / name).read_text() for name in ("requirements.txt", "requirements-mobile.txt")).splitlines()
    peers = sorted(line for line in packages if line.startswith(("onnxruntime", "openvino", "ai-edge", "mnn", "ncnn")))
    report = {"date": datetime.date.today().isoformat(), "cpu": processor(), "linux": platform.release(),
              "peers": [line.replace("==", " ") for line in peers],
              "peak_macs_per_second": peak(tinysaver, workshop.models / "resnet8_32.qdq.onnx"), "models": []}
    for name, (title, per_round) in MODELS.items():
        print(title, flush=True)
        report["models"].append(measure_model(workshop, engine, name, int(rounds), per_round))
    report["notes"] = workshop.notes
    figures.mkdir(parents=True, exist_ok=True)
    (figures / "engines.json").write_text(json.dumps(report, indent=1) + "\n")
    (figures / "engines.md").write_text(page(report))


if __name__ == "__main__":
    main(*sys.argv[1:])
