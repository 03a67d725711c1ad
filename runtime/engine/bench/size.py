"""`make size`: what the int8 engine adds to the binary, into docs/figures/size.md.

    size.py TINYSAVER FIGURES [DIST]

Strips a copy of the built binary and adds up its code by the symbols of the original, with Debian's binutils. Code that was
inlined counts where it was inlined to; constants (.rodata) carry no names and are only given as a whole. DIST is the binary
of the profile `dist`, if that was built: it has no symbols, so only its size is told.
"""

from __future__ import annotations

import datetime
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

# The first that a demangled name contains is its part.
PARTS = {
    "int8 engine, kernels": "tinysaver_engine::int8::kernels",
    "int8 engine, the rest": "tinysaver_engine::int8",
    "f32 convolutions": "tinysaver_engine::convolution_f32",
    "tract": "tract_",
}
OTHER = "everything else"


def output(*command: str) -> str:
    """What a program prints; ends this one where it is missing or fails."""
    if not shutil.which(command[0]):
        sys.exit(f"size.py: {command[0]} is not installed; on Debian: apt-get install binutils")
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def code_by_part(binary: str) -> dict[str, int]:
    """Bytes of code."""
    sums = dict.fromkeys([*PARTS, OTHER], 0)
    seen = set()
    for line in output("nm", "--demangle", "--print-size", "--defined-only", binary).splitlines():
        fields = line.split(maxsplit=3)
        # several names may stand for the same code
        if len(fields) < 4 or fields[2] not in "tTwW" or fields[0] in seen:
            continue
        seen.add(fields[0])
        part = next((part for part, text in PARTS.items() if text in fields[3]), OTHER)
        sums[part] += int(fields[1], 16)
    if not sums["int8 engine, kernels"]:
        sys.exit(f"size.py: {binary} has no symbols of the engine; it was stripped")
    return sums


def sections(binary: str) -> dict[str, int]:
    """Bytes of each section."""
    rows = (line.split() for line in output("size", "-A", binary).splitlines())
    return {row[0]: int(row[1]) for row in rows if len(row) == 3 and row[0].startswith(".")}


def table(figure: dict) -> str:
    """The figure as a Markdown document."""
    ours = sum(size for part, size in figure["code_bytes"].items() if part.startswith("int8"))
    share = ours / figure["stripped_bytes"]
    dist = figure["dist_bytes"]
    built = f"{dist / 1e6:.1f} MB" if dist else "not built when this was written"
    lines = [
        "# Size of the binary",
        "",
        f"`{figure['command']}`, {figure['date']}, x86-64, profile `release`: stripped {figure['stripped_bytes'] / 1e6:.1f} MB, of"
        f" which {figure['rodata_bytes'] / 1e6:.1f} MB are constants. Profile `dist`: {built}.",
        f"The int8 engine's code is **{ours / 1024:.0f} KiB, {share:.1%} of the stripped binary**. By symbols: what was inlined",
        "counts where it went, and constants have no names.",
        "",
        "| code | KiB |",
        "|---|---|",
    ]
    lines += [f"| {part} | {size / 1024:.0f} |" for part, size in figure["code_bytes"].items()]
    return "\n".join(lines) + "\n"


def main(binary: str, figures: str, dist: str = "") -> None:
    with tempfile.TemporaryDirectory() as folder:
        stripped = pathlib.Path(folder, "stripped")
        output("strip", "-o", str(stripped), binary)
        stripped_bytes = stripped.stat().st_size
    figure = {
        "command": "make size",
        "date": datetime.date.today().isoformat(),
        "stripped_bytes": stripped_bytes,
        "rodata_bytes": sections(binary)[".rodata"],
        "dist_bytes": pathlib.Path(dist).stat().st_size if dist and pathlib.Path(dist).is_file() else None,
        "code_bytes": code_by_part(binary),
    }
    folder = pathlib.Path(figures)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "size.json").write_text(json.dumps(figure, indent=1) + "\n")
    (folder / "size.md").write_text(table(figure))
    print(table(figure), end="")


if __name__ == "__main__":
    main(*sys.argv[1:])
