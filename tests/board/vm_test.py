"""Boots an emulated ARM board with Debian's kernel, its camera driver vivid and a virtio screen, runs the cross-compiled
binaries in it (aarch64 and, on the same kernel, armv7), and judges what they say and show:

    vm_test.py --native target/release/tinysaver

Compiles what it needs. Where the tools are not there and cannot be fetched it says so in capitals and ends with 0.
"""

import argparse
import base64
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from board_root import HERE, PAIR, ROOT, SAVER, SCREEN, build_root
from emulator import Emulator
from judge import judge
from pixels import difference, read_png, read_ppm

sys.path.insert(0, str(ROOT / "targets"))
from tools import lacking  # noqa: E402

NEEDED = ("qemu-system-aarch64", "cpio", "/sbin/depmod", "/usr/aarch64-linux-gnu/lib", "/usr/arm-linux-gnueabihf/lib")
PACKAGES = ("qemu-system-arm", "cpio", "kmod", "libc6-arm64-cross", "libc6-armhf-cross", "libgcc-s1-arm64-cross",
            "libgcc-s1-armhf-cross", "python3-venv")
AARCH64, ARMV7 = "aarch64-unknown-linux-gnu", "armv7-unknown-linux-gnueabihf"
# A screenshot is taken so often at most until it is what it should be; drawing is a matter of milliseconds.
SCREENSHOTS = 100


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--native", type=Path, required=True, help="this machine's tinysaver, for the comparison to the bit")
    parser.add_argument("--work", type=Path, default=ROOT / "target/vm", help="where the kernel is kept, and what was seen")
    parser.add_argument("--limit", type=int, default=600, help="seconds for the board")
    arguments = parser.parse_args()
    reason = lacking(NEEDED, PACKAGES, (AARCH64, ARMV7))
    if not reason and subprocess.run([HERE / "fetch.sh", arguments.work], check=False).returncode:
        reason = "Debian's kernel for the board could not be fetched (see above)"
    if reason:
        print(f"EMULATED BOARD SKIPPED, NO CAMERA AND NO SCREEN WAS TESTED: {reason}")
        return
    # What boards get; and a program for the driver's switches, which needs no tract.
    product = ("--no-default-features", "--package", "tinysaver-cli")
    programs = {
        "tinysaver": compiled(AARCH64, *product) / "tinysaver",
        "tinysaver32": compiled(ARMV7, *product) / "tinysaver",
        "board_control": compiled(AARCH64, "--package", "tinysaver-board", "--example", "board_control") / "examples/board_control",
    }
    kernel, started = arguments.work / "arm64", time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "root"
        build_root(root, programs, kernel)
        same = {path.name: run_native(arguments.native, path) for path in sorted((root / "same").iterdir())}
        console = play(boot(root, kernel, arguments.limit), arguments.work)
    log = arguments.work / "console.log"
    log.write_text(console)
    failures = judge(console, same)
    print(f"\n{len(failures)} failures, {time.monotonic() - started:.0f} s; console: {log}")
    for failure in failures:
        print("FAILED", failure)
    sys.exit(1 if failures else 0)


def compiled(triple, *selection):
    """Where what was compiled for another processor lies."""
    command = [ROOT / "targets/cross.sh", triple, "build", "--profile", "emulated", "--locked", *selection]
    subprocess.run(command, check=True, cwd=ROOT)
    return Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / triple / "emulated"


def run_native(binary, path):
    command = [binary, "run", "--json", "--pair", PAIR / "pair.toml", "--saver", SAVER, "--base", SAVER,
               "--threshold", "0", "--source", path]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    return [json.loads(line) for line in lines]


def boot(root, kernel, limit):
    initrd = root.parent / "initrd.gz"
    subprocess.run(f"find . | cpio -o -H newc --quiet | gzip -1 > {initrd}", shell=True, check=True, cwd=root)
    image = next((kernel / "boot").glob("vmlinuz-*"))
    command = ["qemu-system-aarch64", "-cpu", "cortex-a72", "-M", "virt", "-smp", "2", "-m", "1024", "-nodefaults",
               "-nic", "none", "-display", "none", "-device", f"virtio-gpu-pci,xres={SCREEN[0]},yres={SCREEN[1]}",
               "-no-reboot", "-kernel", image, "-initrd", initrd,
               # no console's cursor in the pictures
               "-append", "console=ttyAMA0 quiet panic=-1 vt.global_cursor_default=0"]
    return Emulator(command, root.parent, limit)


def play(board, work):
    """The whole console. Between `SCREEN name` and `SHOWN` the board sends the picture that its screen has to show now."""
    console, picture, name = [], None, None
    for line in board.lines():
        if line.startswith("SCREEN "):
            name, picture = line[7:], []
        elif picture is not None and line == "SHOWN":
            line = judge_screen(board, name, b"".join(picture), work)
            board.say("seen")
            picture = None
        elif picture is not None:
            picture.append(line.encode())
            continue
        console.append(line)
    return "\n".join(console)


def judge_screen(board, name, encoded, work):
    """Screenshots until one is the board's PNG, pixel by pixel. Both are kept in `work`, to be looked at."""
    stem = work / f"screen-{name.replace(' ', '-')}"
    shown = base64.b64decode(encoded)
    stem.with_suffix(".png").write_bytes(shown)
    try:
        expected, problem = read_png(shown), "there was no screenshot"
        for _ in range(SCREENSHOTS):
            taken = board.screenshot()
            stem.with_suffix(".ppm").write_bytes(taken)
            problem = difference(expected, read_ppm(taken))
            if problem is None:
                return f"SEEN {name}: {expected[0]}x{expected[1]} pixels, all the same"
            time.sleep(0.1)
    except (ValueError, OSError, RuntimeError) as error:
        problem = error
    return f"BROKEN screen {name}: {problem}"


if __name__ == "__main__":
    main()
