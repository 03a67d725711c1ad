"""Static throughput of the int8 kernels' inner loops on ARM cores, by llvm-mca's models of their pipelines.

    mca.py BINARY [--write DIRECTORY]

Disassembles the loops out of a built binary that has symbols: the kernels' own tests, or the product itself. Nothing is timed: caches, branches and
memory are taken to be perfect. Needs llvm-mca and llvm-objdump (Debian: apt-get install llvm-19).
"""

from __future__ import annotations

import argparse
import datetime
import json
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

# by instruction and the form of its result
MACS = {
    ("smull", "8h"): 8, ("smull2", "8h"): 8, ("smlal", "8h"): 8, ("smlal2", "8h"): 8,
    ("smlal", "4s"): 4, ("smlal2", "4s"): 4, ("sdot", "4s"): 16, ("usmmla", "4s"): 32,
}  # fmt: skip


@dataclass(frozen=True)
class Core:
    """A processor: LLVM's model of it, and the boards that have it."""

    name: str
    model: str
    boards: str


# A76: LLVM 19 gives the name cortex-a76 the A57's pipelines; the Neoverse N1 is the server sister of the A76 and has its
# own model.
CORES = (
    Core("cortex-a53", "cortex-a53", "Pi 3, Zero 2 W"),
    Core("cortex-a72", "cortex-a72", "Pi 4"),
    Core("cortex-a76", "neoverse-n1", "Pi 5, Orin (A78AE)"),
    Core("neoverse-n1", "neoverse-n1", "cloud servers"),
)


@dataclass(frozen=True)
class Kernel:
    """An inner loop: the function that holds it (a part of its mangled name), an instruction of it, and the share of the limit that it has to reach.

    `limits` are MACs a cycle, by core; a core that is not named does not run the kernel.
    """

    name: str
    function: str
    instruction: str
    limits: dict[str, float]
    bar: float | None


# One vector pipeline of every core here multiplies. Into i32 that is 4 MACs a cycle. SMULL and SMLAL into i16 do 8, and
# SADALP has to follow every two of them: beside them on the other pipeline of the larger cores, in their place on the A53,
# whose 128-bit instructions start one a cycle. SDOT starts on both pipelines of the A76.
INTO_I32 = {"cortex-a53": 4, "cortex-a72": 4, "cortex-a76": 4, "neoverse-n1": 4}
INTO_I16 = {"cortex-a53": 16 / 3, "cortex-a72": 8, "cortex-a76": 8, "neoverse-n1": 8}
SDOT = {"cortex-a76": 32, "neoverse-n1": 32}
KERNELS = (
    Kernel("convolution, SMULL + SMLAL + SADALP", "aarch6413multiply_long", "sadalp", INTO_I16, 0.80),
    Kernel("convolution in pairs, SMLAL", "aarch645pairs", "smlal", INTO_I32, None),
    Kernel("convolution, SDOT", "aarch6410signed_dot", "sdot", SDOT, 0.85),
    Kernel("depthwise, SMLAL", "aarch649depthwise8block_16", "smlal", INTO_I32, None),
)


def tool(name: str) -> str:
    """The newest of a LLVM program's versions that is installed."""
    for version in ("-22", "-19", ""):
        if found := shutil.which(f"{name}{version}"):
            return found
    sys.exit(f"mca.py: {name} is not installed; on Debian: apt-get install llvm-19")


def functions(binary: Path) -> dict[str, list[tuple[int, str]]]:
    """Instructions of each kernel function: (address, text)."""
    names = subprocess.run([tool("llvm-nm"), str(binary)], capture_output=True, text=True, check=True).stdout.split()
    kernels = ",".join(sorted({name for name in names if "7kernels7aarch64" in name}))
    if not kernels:
        sys.exit(f"mca.py: {binary} has no aarch64 kernels, or was stripped")
    # the names only: the whole binary would take minutes
    command = [tool("llvm-objdump"), "--no-show-raw-insn", f"--disassemble-symbols={kernels}", str(binary)]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found: dict[str, list[tuple[int, str]]] = {}
    current: list[tuple[int, str]] | None = None
    for line in text.splitlines():
        if header := re.match(r"[0-9a-f]+ <(.*)>:$", line):
            name = header[1]
            current = found.setdefault(name, [])
        elif current is not None and (code := re.match(r"\s*([0-9a-f]+):\s+(.*)$", line)):
            current.append((int(code[1], 16), code[2].strip()))
    return found


def loops(code: list[tuple[int, str]]) -> list[list[str]]:
    """Straight loops: from the target of a backward branch to the branch, without another branch between."""
    found = []
    for index, (address, text) in enumerate(code):
        branch = re.match(r"(b\.\w+|cbn?z\s+\w+,|tbn?z\s+\w+, #\w+,)\s+0x([0-9a-f]+)", text)
        if not branch or int(branch[2], 16) >= address:
            continue
        start = next((i for i, (at, _) in enumerate(code) if at == int(branch[2], 16)), None)
        if start is None:
            continue
        body = [text for _, text in code[start:index]]
        if not any(re.match(r"(b|bl|br|blr|ret|cbn?z|tbn?z)\b|b\.", text) for text in body):
            found.append([*body, f"{branch[1]} loop"])
    return found


def macs(body: list[str]) -> int:
    """Multiplications of one pass."""
    forms = (re.match(r"(\w+)\s+v\d+\.(\w+)", text) for text in body)
    return sum(MACS.get((form[1], form[2]), 0) for form in forms if form)


def arithmetic(body: list[str]) -> list[str]:
    """The multiplications and additions alone: no loads, no changes of sign, no loop."""
    return [text for text in body if re.match(r"s(mull|mlal|dot|adalp)|usmmla", text)]


def cycles(body: list[str], model: str) -> float:
    """Cycles of one pass in a steady state, by the model."""
    passes = 200
    command = [tool("llvm-mca"), "-mtriple=aarch64", f"-mcpu={model}", "-mattr=+dotprod,+i8mm", "--json"]
    source = "loop:\n" + "\n".join(re.sub(r"\s*//.*|\s*<.*>", "", text) for text in body) + "\n"
    run = subprocess.run([*command, f"-iterations={passes}"], input=source, capture_output=True, text=True, check=False)
    if run.returncode != 0:
        sys.exit(f"mca.py: llvm-mca failed:\n{run.stderr}\n{source}")
    return json.loads(run.stdout)["CodeRegions"][0]["SummaryView"]["TotalCycles"] / passes


def measure(binary: Path) -> list[dict]:
    """A row for each kernel and core."""
    code = functions(binary)
    rows = []
    for kernel in KERNELS:
        bodies = [body for name, lines in code.items() if kernel.function in name for body in loops(lines)]
        bodies = [body for body in bodies if any(text.startswith(kernel.instruction) for text in body)]
        if not bodies:
            sys.exit(f"mca.py: no loop with {kernel.instruction} in {kernel.function} of {binary}")
        body = max(bodies, key=macs)
        for core in (core for core in CORES if core.name in kernel.limits):
            needed = cycles(body, core.model)
            reached = macs(body) / needed
            limit = kernel.limits[core.name]
            rows.append({
                "kernel": kernel.name, "core": core.name, "model": core.model, "boards": core.boards,
                "instructions": len(body), "macs": macs(body), "macs_per_cycle": round(reached, 2),
                "limit_macs_per_cycle": round(limit, 2), "share": round(reached / limit, 3), "bar": kernel.bar,
                "cycles": round(needed, 1), "arithmetic_cycles": round(cycles(arithmetic(body), core.model), 1),
            })  # fmt: skip
    return rows


def table(rows: list[dict], version: str, date: str) -> str:
    """The rows as a Markdown document."""
    lines = [
        "# Inner loops on ARM cores, by their pipelines' models",
        "",
        f"`make mca`, {date}, {version}. Static: no board was timed; caches and branches are taken to be perfect.",
        "The loops are disassembled out of `runtime/engine/kernel-tests`, built as the product is. Limit: multiplications that the core can start in a cycle.",
        "",
        "| kernel | core | model | instructions a pass | MACs a pass | MACs a cycle | limit | share | bar |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        bar = f"{row['bar']:.0%}" if row["bar"] else "-"
        lines.append(
            f"| {row['kernel']} | {row['core']} ({row['boards']}) | {row['model']} | {row['instructions']} | {row['macs']} "
            f"| {row['macs_per_cycle']} | {row['limit_macs_per_cycle']} | {row['share']:.0%} | {bar} |"
        )
    for row in below(rows):
        lines += [
            "",
            f"**Below its bar**: {row['kernel']} on {row['core']}, {row['share']:.0%}. A pass takes {row['cycles']:g} cycles, its"
            f" arithmetic alone {row['arithmetic_cycles']:g}; the rest goes to loads and changes of sign and to waiting for them,"
            " because this core starts its instructions in order.",
        ]
    return "\n".join(lines) + "\n"


def below(rows: list[dict]) -> list[dict]:
    """The rows that miss their bar."""
    return [row for row in rows if row["bar"] and row["share"] < row["bar"]]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("binary", type=Path)
    parser.add_argument("--write", type=Path, help="folder for mca.md and mca.json")
    arguments = parser.parse_args()
    rows = measure(arguments.binary)
    version = subprocess.run([tool("llvm-mca"), "--version"], capture_output=True, text=True, check=True).stdout
    version = re.search(r"LLVM version [\d.]+", version)[0]
    date = datetime.date.today().isoformat()
    document = table(rows, version, date)
    print(document, end="")
    if arguments.write:
        arguments.write.mkdir(parents=True, exist_ok=True)
        (arguments.write / "mca.md").write_text(document)
        (arguments.write / "mca.json").write_text(json.dumps({"date": date, "tool": version, "rows": rows}, indent=1) + "\n")
    return 1 if below(rows) else 0


if __name__ == "__main__":
    sys.exit(main())
