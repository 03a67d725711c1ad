"""The emulated board's file system: everything that it has."""

import re
import shutil
import subprocess
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PAIR = ROOT / "models/imagenet-lite"
SAVER = "lite0-96-int8"
# What vivid offers of what we serve; `cameras` must say the same.
FORMATS = "YUYV UYVY YVYU VYUY NV12 NV21 NV16 NV61 YU12 YV12 422P GREY RGB3 BGR3".split()
LIBRARIES = "libc.so.6 libm.so.6 libgcc_s.so.1 libpthread.so.0 libdl.so.2".split()
MODULES = "vivid virtio_pci virtio-gpu".split()
SCREEN = (800, 480)


def build_root(root, programs, kernel):
    """Everything that the board has: busybox, the programs and their C libraries, modules, a pair, recorded frames."""
    for name in ("bin", "lib/arm-linux-gnueabihf", "modules", "pair/build", "same", "screens"):
        (root / name).mkdir(parents=True)
    shutil.copy(kernel / "bin/busybox", root / "bin/busybox")
    (root / "bin/sh").symlink_to("busybox")
    for name, path in programs.items():
        shutil.copy(path, root / "bin" / name)
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
