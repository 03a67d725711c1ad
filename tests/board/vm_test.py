"""Boots an emulated ARM board with Debian's kernel, its camera driver vivid and a virtio screen, runs the cross-compiled
binaries in it, and judges what they say and show:

    vm_test.py --binary target/aarch64-unknown-linux-gnu/emulated/tinysaver \\
        --binary32 target/armv7-unknown-linux-gnueabihf/emulated/tinysaver --native target/release/tinysaver
"""

import argparse
import base64
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from emulator import Emulator
from pixels import difference, read_png, read_ppm

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PAIR = ROOT / "models/imagenet-lite"
SAVER = "lite0-96-int8"
# What vivid offers of what we serve; `cameras` must say the same.
FORMATS = "YUYV UYVY YVYU VYUY NV12 NV21 NV16 NV61 YU12 YV12 422P GREY RGB3 BGR3".split()
LIBRARIES = "libc.so.6 libm.so.6 libgcc_s.so.1 libpthread.so.0 libdl.so.2".split()
MODULES = "vivid virtio_pci virtio-gpu".split()
SCREEN = (800, 480)
# A screenshot is taken so often at most until it is what it should be; drawing is a matter of milliseconds.
SCREENSHOTS = 100


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", type=Path, required=True, help="tinysaver for aarch64; board_control lies beside it")
    parser.add_argument("--binary32", type=Path, required=True, help="tinysaver for armv7, for the same kernel")
    parser.add_argument("--native", type=Path, required=True, help="this machine's tinysaver, for the comparison to the bit")
    parser.add_argument("--work", type=Path, default=ROOT / "target/vm", help="where the kernel is kept")
    parser.add_argument("--limit", type=int, default=900, help="seconds for the board")
    arguments = parser.parse_args()
    subprocess.run([HERE / "fetch.sh", arguments.work], check=True)
    kernel = arguments.work / "arm64"
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "root"
        build_root(root, arguments, kernel)
        same = {path.name: run_native(arguments.native, path) for path in sorted((root / "same").iterdir())}
        console = play(boot(root, kernel, arguments.limit), arguments.work)
    log = arguments.work / "console.log"
    log.write_text(console)
    failures = judge(console, same)
    print(f"\n{len(failures)} failures, {time.monotonic() - started:.0f} s; console: {log}")
    for failure in failures:
        print("FAILED", failure)
    sys.exit(1 if failures else 0)


def build_root(root, arguments, kernel):
    """Everything that the board has: busybox, the programs and their C libraries, modules, a pair, recorded frames."""
    for name in ("bin", "lib/arm-linux-gnueabihf", "modules", "pair/build", "same", "screens"):
        (root / name).mkdir(parents=True)
    shutil.copy(kernel / "bin/busybox", root / "bin/busybox")
    (root / "bin/sh").symlink_to("busybox")
    copy_program(arguments.binary, root / "bin/tinysaver", 0xB7)
    copy_program(arguments.binary.with_name("board_control"), root / "bin/board_control", 0xB7)
    copy_program(arguments.binary32, root / "bin/tinysaver32", 0x28)
    for library in ["ld-linux-aarch64.so.1", *LIBRARIES]:
        shutil.copy(f"/usr/aarch64-linux-gnu/lib/{library}", root / "lib" / library)
    shutil.copy("/usr/arm-linux-gnueabihf/lib/ld-linux-armhf.so.3", root / "lib")
    for library in LIBRARIES:
        shutil.copy(f"/usr/arm-linux-gnueabihf/lib/{library}", root / "lib/arm-linux-gnueabihf" / library)
    copy_modules(root, kernel)
    copy_pair(root / "pair")
    write_recordings(root / "same")
    write_screens(root / "screens")
    given = f"SAVER={SAVER}\nFORMATS='{' '.join(FORMATS)}'\nSCREEN={SCREEN[0]}x{SCREEN[1]}\n"
    (root / "cases.sh").write_text(given + (HERE / "cases.sh").read_text())
    shutil.copy(HERE / "init.sh", root / "init")
    (root / "init").chmod(0o755)


def copy_program(path, to, machine):
    """`machine`: what its ELF header has to say it is for."""
    if path.read_bytes()[18] != machine:
        sys.exit(f"{path}: built for another processor")
    shutil.copy(path, to)


def copy_modules(root, kernel):
    version = next((kernel / "lib/modules").iterdir()).name
    listing = subprocess.run(["/sbin/modprobe", "-d", kernel, "-S", version, "--show-depends", "-a", *MODULES],
                             check=True, capture_output=True, text=True).stdout
    paths = [Path(line.split()[1]) for line in listing.splitlines() if line.startswith("insmod")]
    for path in paths:
        shutil.copy(path, root / "modules" / path.name)
    order = dict.fromkeys(path.name for path in paths if path.name != "vivid.ko")
    (root / "modules/order").write_text("\n".join(order) + "\n")


def copy_pair(folder):
    """pair.toml names every model; only those that are used are read."""
    shutil.copy(PAIR / "pair.toml", folder / "pair.toml")
    text = (PAIR / "pair.toml").read_text()
    labels = re.search(r'\[labels\].*?file = "(.*?)"', text, re.S)[1]
    model = re.search(rf'id = "{SAVER}".*?file = "(.*?)"', text, re.S)[1]
    for name in (labels, model):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PAIR / name, folder / name)


def write_recordings(folder):
    photos = sorted((PAIR / "build/photos/labelled").glob("*.jpg"))[:3]
    (folder / "photos.mjpeg").write_bytes(b"".join(photo.read_bytes() for photo in photos))
    width, height = 322, 182
    frames = b"".join(b"FRAME\n" + noise(seed, width * height * 3 // 2) for seed in range(3))
    (folder / "noise.y4m").write_bytes(f"YUV4MPEG2 W{width} H{height} F25:1 C420\n".encode() + frames)


def write_screens(folder):
    """Two videos of one frame, each with other colours, so that no screen can show one for the other."""
    width, height = 320, 240
    header = f"YUV4MPEG2 W{width} H{height} F25:1 C420\nFRAME\n".encode()
    luma = bytes(16 + (x + y) * 219 // (width + height) for y in range(height) for x in range(width))
    across = bytes(16 + x * 224 // (width // 2) for _ in range(height // 2) for x in range(width // 2))
    down = bytes(16 + y * 224 // (height // 2) for y in range(height // 2) for _ in range(width // 2))
    (folder / "first.y4m").write_bytes(header + luma + across + down)
    (folder / "second.y4m").write_bytes(header + luma + down + across)


def noise(seed, length):
    """Bytes that differ in every frame, with some likeness between neighbours."""
    state, out = seed * 2654435761 + 1, bytearray()
    for _ in range(length // 4 + 1):
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        out += (state >> 40 & 0xFF).to_bytes(1, "little") * 4
    return bytes(out[:length])


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


def parse(console):
    """Cases in order: name, JSON objects, other lines, exit code."""
    cases, current = {}, None
    for line in console.splitlines():
        if line.startswith("CASE "):
            current = cases[line[5:]] = {"json": [], "text": [], "code": None}
        elif current is None:
            continue
        elif line.startswith("EXIT "):
            current["code"], current = int(line[5:]), None
        elif line.startswith("{"):
            try:
                current["json"].append(json.loads(line))
            except ValueError:
                current["text"].append(line)
        else:
            current["text"].append(line)
    return cases


def judge(console, same):
    cases, failures = parse(console), []
    failures += [line for line in console.splitlines() if line.startswith("BROKEN")]
    if "BOARD off" not in console:
        failures.append("the board did not come to its end")
    seen = [line for line in console.splitlines() if line.startswith("SEEN ")]
    print(*seen, sep="\n")
    failures += [f"screen {name}: was not shown" for name in SCREENS if not any(f"SEEN {name}:" in line for line in seen)]
    failures += judge_listing(cases.pop("cameras", None))
    failures += judge_busy(cases.pop("busy", None))
    print(f"{'case':36} {'frames':>6} {'answered':>8} {'dropped':>7} {'reopened':>8}  faults, drops")
    for name, case in cases.items():
        problems = judge_run(name, case)
        failures += [f"{name}: {problem}" for problem in problems]
        print(row(name, case, problems))
    failures += judge_formats(cases)
    failures += judge_same(cases, same)
    failures += [f"{name}: was not played" for name in EXPECTED if name not in cases]
    return failures


def row(name, case, problems):
    last = case["json"][-1] if case["json"] else {}
    summary, capture = last.get("summary") or {}, last.get("capture") or {}
    dropped = {reason: n for reason, n in (summary.get("dropped_by_reason") or {}).items() if n}
    notes = " ".join(f"{key} {value}" for key, value in {**(capture.get("faults") or {}), **dropped}.items())
    counts = f"{summary.get('frames_in', '-'):>6} {summary.get('answered', '-'):>8} {summary.get('dropped', '-'):>7}"
    return f"{name:36} {counts} {capture.get('reopens', '-'):>8}  {notes}{'  FAILED' if problems else ''}"


def judge_listing(case):
    if not case or not case["json"]:
        return ["cameras: no listing"]
    camera = case["json"][0]["cameras"][0]
    served = {offer["fourcc"] for offer in camera["formats"] if offer["served"]}
    problems = [f"cameras: serves {sorted(served ^ set(FORMATS))} unexpectedly, or not"] if served != set(FORMATS) else []
    sizes = {(size["width"], size["height"]) for offer in camera["formats"] for size in offer["sizes"] if size["rates"]}
    return problems + ([] if {(320, 180), (640, 360)} <= sizes else [f"cameras: sizes {sizes}"])


def judge_busy(case):
    if not case:
        return ["busy: was not played"]
    text = " ".join(case["text"])
    return [] if case["code"] == 2 and "another program" in text else [f"busy: {case['code']} {text}"]


SCREENS = ["framebuffer", "drm", "after drm", "framebuffer 32-bit", "drm 32-bit"]

# What must have happened in a case: a function of the capture's faults and the drops.
EXPECTED = {
    "lost frames": lambda faults, drops, reopens: drops.get("lost_by_driver", 0) > 0 and reopens == 0,
    "flagged frame": lambda faults, drops, reopens: drops.get("corrupt", 0) >= 1 and reopens == 0,
    "stream error": lambda faults, drops, reopens: faults.get("io", 0) >= 1 and reopens >= 1,
    "32-bit stream error": lambda faults, drops, reopens: faults.get("io", 0) >= 1 and reopens >= 1,
    "restart refused": lambda faults, drops, reopens: sum(faults.values()) >= 4 and reopens >= 2,
    "buffer refused": lambda faults, drops, reopens: not faults and reopens == 0,
    "silence": lambda faults, drops, reopens: faults.get("timeout", 0) >= 1 and reopens >= 1,
    "unplugged and plugged in elsewhere": lambda faults, drops, reopens: faults.get("gone", 0) >= 1 and reopens >= 1,
    "changed input": lambda faults, drops, reopens: faults.get("changed", 0) >= 1 and reopens >= 1,
}


def judge_run(name, case):
    if case["code"] != 0 or not case["json"] or "summary" not in case["json"][-1]:
        return [f"exit code {case['code']}: {' '.join(case['text'])[-300:]}"]
    *records, last = case["json"]
    summary, problems, expected = last["summary"], [], 0
    for record in records:
        if record["sequence"] != expected:
            problems.append(f"a gap in the records before {record['sequence']}")
        expected = record["sequence"] + record.get("frames", 1)
    exits = sum(exit["frames"] for exit in summary["exits"])
    drops = summary["dropped_by_reason"]
    if not summary["frames_in"] == expected == exits + sum(drops.values()):
        problems.append(f"frames in = {summary['frames_in']}, records {expected}, exits {exits} + dropped {drops}")
    if exits == 0:
        problems.append("nothing was answered")
    if name in EXPECTED:
        capture = last["capture"]
        if not EXPECTED[name](capture["faults"], drops, capture["reopens"]):
            problems.append(f"not what should have happened: {capture}")
    refusals = sum("refused a buffer, and is asked once more" in line for line in case["text"])
    if name == "buffer refused" and refusals != 2:
        problems.append(f"{refusals} buffers were refused, not 2")
    if "format" in name or "planes" in name:
        problems += judge_ages(records)
    return problems


def judge_ages(records):
    """A frame cannot be older than the board's start, and none is without an age."""
    ages = [record.get("frame_age_us") for record in records if record["outcome"] == "answered"]
    return [] if all(age is not None and 0 < age < 60_000_000 for age in ages) else [f"frame ages {ages}"]


def judge_formats(cases):
    """The driver draws the same picture in every format: so must be the answer. Grey has no colours to go by."""
    problems = []
    for size in ("320x180", "640x360"):
        answers = {}
        for name, case in cases.items():
            if ("format" in name or "planes" in name) and name.endswith(size) and "GREY" not in name:
                answers[name] = [record["class"] for record in case["json"] if record.get("outcome") == "answered"]
        classes = {cls for found in answers.values() for cls in found}
        if len(classes) != 1:
            problems.append(f"one picture, several answers at {size}: {answers}")
    return problems


def judge_same(cases, same):
    problems = []
    for name, expected in ((f"{kind} {name}", records) for kind in ("same", "32-bit same") for name, records in same.items()):
        found = cases.get(name, {"json": []})["json"]
        key = lambda record: (record.get("class"), record.get("confidence"), record.get("outcome"))
        theirs, ours = [key(record) for record in found[:-1]], [key(record) for record in expected[:-1]]
        if theirs != ours or not ours:
            problems.append(f"{name}: the board says {theirs}, this machine {ours}")
    return problems


if __name__ == "__main__":
    main()
