"""The ARM build, tested on this machine under qemu-user.

    test.py --kernels
    test.py --native target/release/tinysaver --pictures FOLDER

The first needs no tract, which takes long to compile; CI runs it: every set of kernels against its definition on a
Cortex-A53, an A76 and a processor with everything. The second does the rest:

- The aarch64 binary answers the pictures with the classes and the confidence bits of the native one: on the processor of
  every board (the profiles in this folder), with the kernels that its profile names.
- All unit tests and the int8 engine's golden tests pass on these processors.

Where the tools are not there and cannot be fetched it says so in capitals and ends with 0.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

from tools import lacking

HERE = Path(__file__).resolve().parent
KERNEL_TESTS = HERE.parent / "runtime" / "engine" / "kernel-tests"
TRIPLE = "aarch64-unknown-linux-gnu"
ROOT = Path("/usr/aarch64-linux-gnu")
PACKAGES = ("qemu-user-static", "libc6-arm64-cross", "python3-venv")
QEMU = "qemu-aarch64-static"
# NEON only; dot products; matrix products of bytes, and everything else that qemu knows
PROCESSORS = {"cortex-a53": ("neon",), "cortex-a76": ("neon", "dotprod"), "max": ("neon", "dotprod", "i8mm")}
COMPARED = ("source", "outcome", "exit", "class", "saver_class", "probability", "confidence")


def cross(*arguments: str, **environment: str) -> None:
    """cargo for aarch64; ends the test where it fails."""
    command = [str(HERE / "cross.sh"), TRIPLE, *arguments]
    if subprocess.run(command, cwd=HERE.parent, env={**os.environ, **environment}, check=False).returncode:
        sys.exit(f"test.py: failed: {' '.join(command)} {environment}")


def answers(command: list[str], pictures: Path, **environment: str) -> list[dict]:
    """A record for each picture, without what a clock says; the saver answers all (threshold 0), as its bits are exact."""
    run = [*command, "run", "--json", "--threshold", "0", "--source", str(pictures)]
    finished = subprocess.run(run, capture_output=True, text=True, env={**os.environ, **environment}, check=False)
    if finished.returncode != 0:
        sys.exit(f"test.py: {' '.join(run)} ended with {finished.returncode}:\n{finished.stderr}")
    records = [json.loads(line) for line in finished.stdout.splitlines()]
    if not records:
        sys.exit(f"test.py: no picture in {pictures}")
    # JSON has enough digits to tell every f32 from its neighbours
    return [{key: record.get(key) for key in COMPARED} for record in records]


def check_boards(binary: Path, native: Path, pictures: Path) -> int:
    """Compares the answers on each board's processor with the native ones; how many boards there were."""
    expected = answers([str(native)], pictures)
    boards = 0
    for path in sorted(HERE.glob("*.toml")):
        cpu = tomllib.loads(path.read_text()).get("cpu", {})
        if "emulated_as" not in cpu:
            continue
        environment = {"QEMU_CPU": cpu["emulated_as"], "TINYSAVER_KERNEL": cpu["kernels"]}
        found = answers([QEMU, "-L", str(ROOT), str(binary)], pictures, **environment)
        for ours, theirs in zip(expected, found, strict=True):
            if ours != theirs:
                sys.exit(f"test.py: {path.stem} answers differently:\n  x86-64  {ours}\n  aarch64 {theirs}")
        boards += 1
        print(f"{path.stem}: {len(found)} pictures, same classes and same confidence bits ({environment})", flush=True)
    return boards


def on_each_processor(*test: str) -> None:
    """`cargo test` on every processor, each of which has to have the kernels that it is here for."""
    for processor, kernels in PROCESSORS.items():
        print(f"tests on {processor}: kernels {', '.join(kernels)}", flush=True)
        expected = {"QEMU_CPU": processor, "TINYSAVER_EXPECTED_KERNELS": ",".join(kernels)}
        cross("test", *test, **expected)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kernels", action="store_true", help="only the kernels, without tract")
    parser.add_argument("--native", type=Path)
    parser.add_argument("--pictures", type=Path)
    arguments = parser.parse_args()
    if not arguments.kernels and not (arguments.native and arguments.pictures):
        parser.error("--kernels, or --native and --pictures")
    if reason := lacking((QEMU, str(ROOT / "lib")), PACKAGES, (TRIPLE,)):
        print(f"ARM TESTS SKIPPED, NOTHING OF ARM WAS TESTED: {reason}")
        return 0
    if arguments.kernels:
        on_each_processor("--release", "--locked", "--manifest-path", str(KERNEL_TESTS / "Cargo.toml"))
        print(f"ARM kernels: {len(PROCESSORS)} processors")
        return 0
    cross("build", "--profile", "emulated-tests", "--locked", "--workspace")
    binary = Path(os.environ.get("CARGO_TARGET_DIR", HERE.parent / "target")) / TRIPLE / "emulated-tests" / "tinysaver"
    boards = check_boards(binary, arguments.native.resolve(), arguments.pictures)
    tests = ("--lib", "--test", "int8_golden", "--test", "int8_allocations", "--test", "int8_hostile")
    on_each_processor("--profile", "emulated-tests", "--locked", "--workspace", *tests)
    print(f"ARM: {boards} boards, {len(PROCESSORS)} processors")
    return 0


if __name__ == "__main__":
    sys.exit(main())
