"""`make arm-instructions`: how many instructions an inference takes on ARM, this engine beside onnxruntime.

    instructions.py TINYSAVER MODELS FOLDER FIGURES

TINYSAVER is the aarch64 binary, MODELS the folder that `make bench-engines` makes its models in, FOLDER keeps the peer. Both
run under qemu-user with a plugin that counts; an inference is the difference between a run of three and a run of one. Counts
are no times: an instruction may take half a cycle or ten, and memory costs nothing here. Needs Debian's qemu-user (its
qemu-user-static has no plugins), gcc, and g++-aarch64-linux-gnu for the C++ library that onnxruntime wants.
"""

from __future__ import annotations

import array
import datetime
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
TRIPLE = "aarch64-unknown-linux-gnu"
LIBRARIES = Path("/usr/aarch64-linux-gnu")
ONNXRUNTIME = "1.32.0"
# by which onnxruntime chooses its kernels, and what the engine then has
PROCESSORS = {"cortex-a53": ("0xd03", ""), "cortex-a76": ("0xd0b", " asimddp")}
MODELS = {"efficientnet_lite0_160": 160, "mobilenet_v2_224": 224}
FORMS = ("qop", "qdq")


def run(*command: str, **environment: str) -> str:
    """Both outputs of a program; ends this one where it fails."""
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment}, check=False)
    if done.returncode:
        sys.exit(f"instructions.py: {' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def prepare(folder: Path) -> tuple[Path, Path, Path]:
    """The plugin, the peer's program and its library."""
    for tool in ("qemu-aarch64", "gcc"):
        if not shutil.which(tool):
            sys.exit(f"instructions.py: {tool} is not there; on Debian: apt-get install qemu-user gcc")
    if not (LIBRARIES / "lib" / "libstdc++.so.6").exists():
        sys.exit("instructions.py: onnxruntime needs libstdc++; on Debian: apt-get install g++-aarch64-linux-gnu")
    folder.mkdir(parents=True, exist_ok=True)
    plugin = folder / "count.so"
    run("gcc", "-O2", "-shared", "-fPIC", "-o", str(plugin), str(HERE / "count_instructions.c"))
    manifest = HERE.parent / "runtime" / "engine" / "bench" / "ort-peer" / "Cargo.toml"
    build = ("build", "--release", "--locked", "--manifest-path", str(manifest), "--target-dir", str(folder / "target"))
    run(str(HERE / "cross.sh"), TRIPLE, *build)
    wheels = list(folder.glob("onnxruntime-*.whl"))
    if not wheels:
        fetch = ("--no-deps", "--only-binary=:all:", "--platform=manylinux_2_28_aarch64", "--python-version=3.12")
        run(sys.executable, "-m", "pip", "download", "--quiet", *fetch, f"--dest={folder}", f"onnxruntime=={ONNXRUNTIME}")
        wheels = list(folder.glob("onnxruntime-*.whl"))
    with zipfile.ZipFile(wheels[0]) as wheel:
        name = next(name for name in wheel.namelist() if "capi/libonnxruntime.so" in name)
        library = Path(wheel.extract(name, folder))
    return plugin, folder / "target" / TRIPLE / "release" / "peer", library


def root(folder: Path, processor: str) -> Path:
    """What the emulated processes see as /: the libraries, and a /proc/cpuinfo that names the processor."""
    part, features = PROCESSORS[processor]
    place = folder / f"root-{processor}"
    (place / "proc").mkdir(parents=True, exist_ok=True)
    if not (place / "lib").exists():
        (place / "lib").symlink_to(LIBRARIES / "lib")
    core = f"Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32{features}\nCPU implementer\t: 0x41\nCPU architecture: 8\n"
    (place / "proc" / "cpuinfo").write_text(f"processor\t: 0\n{core}CPU variant\t: 0x0\nCPU part\t: {part}\nCPU revision\t: 4\n\n")
    return place


def pictures(path: Path, count: int, side: int) -> Path:
    """A NumPy file of `count` grey pictures."""
    head = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({count}, 3, {side}, {side}), }}".ljust(117) + "\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode()
                     + array.array("f", [0.5]).tobytes() * (count * 3 * side * side))  # fmt: skip
    return path


def per_inference(command: list[str], plugin: Path, place: Path, processor: str, inputs: list[list[str]]) -> int:
    """Instructions of one inference, from a run of one and a run of three."""
    emulate = ["qemu-aarch64", "-plugin", str(plugin), "-L", str(place), *command]
    counts = [int(re.findall(r"executed instructions: (\d+)", run(*emulate, *each, QEMU_CPU=processor))[-1]) for each in inputs]
    return (counts[1] - counts[0]) // 2


def measure(binary: Path, models: Path, folder: Path) -> list[dict]:
    """A row for each processor, model and form."""
    plugin, peer, library = prepare(folder)
    rows = []
    for processor in PROCESSORS:
        place = root(folder, processor)
        for model, side in MODELS.items():
            for form in FORMS:
                path = models / f"{model}.{form}.onnx"
                if not path.is_file():
                    sys.exit(f"instructions.py: {path} is not there; `make bench-engines` makes it")
                theirs = [[str(library), str(path), str(count), str(side)] for count in (1, 3)]
                files = [pictures(folder / f"{side}x{count}.npy", count, side) for count in (1, 3)]
                ours = [["model", "run", str(path), "--input", str(file), "--output", str(folder / "out.npy")] for file in files]
                row = {
                    "processor": processor, "model": model, "form": form,
                    "ours": per_inference([str(binary)], plugin, place, processor, ours),
                    "onnxruntime": per_inference([str(peer)], plugin, place, processor, theirs),
                }  # fmt: skip
                rows.append(row)
                print(row, flush=True)
    return rows


def table(rows: list[dict], date: str, qemu: str) -> str:
    """The rows as a Markdown document."""
    lines = [
        "# Instructions of an inference on ARM",
        "",
        f"`make arm-instructions`, {date}, {qemu}: executed instructions, in millions, under qemu-user; onnxruntime"
        f" {ONNXRUNTIME}'s aarch64 library",
        "on the same file, one thread. These are counts and no times. Both take the picture as f32 and quantise it.",
        "",
        "| processor | model | form | ours | onnxruntime | ours / onnxruntime |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        ours, theirs = row["ours"], row["onnxruntime"]
        cells = (row["processor"], row["model"], row["form"], f"{ours / 1e6:.1f}", f"{theirs / 1e6:.1f}", f"{ours / theirs:.2f}")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main(binary: str, models: str, folder: str, figures: str) -> None:
    rows = measure(Path(binary).resolve(), Path(models).resolve(), Path(folder).resolve())
    date, place = datetime.date.today().isoformat(), Path(figures)
    qemu = run("qemu-aarch64", "--version").splitlines()[0]
    place.mkdir(parents=True, exist_ok=True)
    figure = {"command": "make arm-instructions", "date": date, "qemu": qemu, "onnxruntime": ONNXRUNTIME, "rows": rows}
    (place / "arm-instructions.json").write_text(json.dumps(figure, indent=1) + "\n")
    (place / "arm-instructions.md").write_text(table(rows, date, qemu))
    print(table(rows, date, qemu), end="")


if __name__ == "__main__":
    main(*sys.argv[1:])
