"""The maker's command line: build (with gates) and calibrate."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from . import fetch
from .files import MakerError
from .pairfile import Pair, replace_values
from .stamp import GATES, Stamp, default_engine, engine_skipped, file_facts, gate_digest, read_stamp, write_stamp
from .steps import Builder, Progress

PAIR_DIRECTORY = Path(__file__).resolve().parent.parent


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The options, the same ones that models/make.py takes after the name of the pair."""
    parser = argparse.ArgumentParser(prog=f"make.py {PAIR_DIRECTORY.name}", description=__doc__)
    parser.add_argument("action", nargs="?", choices=("build", "calibrate"), default="build")
    parser.add_argument("--gates", action="store_true", help="run all gates again")
    parser.add_argument("--engine", type=Path, metavar="PATH", help="the tinysaver binary that gate 3 runs")
    parser.add_argument("--update-hashes", action="store_true", help="maintainers: write the built hashes to pair.toml")
    return parser.parse_args(arguments)


def run_steps(builder: Builder, extra: int) -> Progress:
    """Run every step that is not done; `extra` more steps follow."""
    steps = builder.steps()
    progress = Progress(len(steps) + extra)
    for step in steps:
        if step.done():
            progress.number += 1
        else:
            progress.step(step.title, step.run)
    return progress


def update_pair_file(pair: Pair, builder: Builder) -> None:
    """Write the built hashes and sizes into pair.toml; comments stay."""
    text = pair.path.read_text(encoding="utf-8")
    text = replace_values(text, "[labels]", None, {"sha256": builder.labels_sha256})
    for model_id, values in builder.built.items():
        text = replace_values(text, "[[model]]", model_id, values)
    pair.path.write_text(text, encoding="utf-8")
    print(f"wrote the hashes of {len(builder.built)} models to {pair.path.name}")


def run_gates(pair: Pair, stamp: Stamp, wanted: list[str], engine: Path, progress: Progress, outputs: list[Path]) -> None:
    """Run the wanted gates; each one that passes is recorded at once."""
    from . import engine_gate, gates

    digest = gate_digest(pair.directory, [model.sha256 for model in pair.models])
    gallery: list[gates.Gallery] = []

    def prepare() -> str:
        gallery.append(gates.run_gallery(pair))
        return f"{len(gallery[0].paths)} photos"

    progress.step("run all models in onnxruntime", prepare)
    checks = {
        "photos": lambda: gates.photos_gate(pair, gallery[0]),
        "int8": lambda: gates.int8_gate(pair, gallery[0]),
        "engine": lambda: engine_gate.engine_gate(pair, gallery[0], engine),
    }
    titles = {"photos": "known photos", "int8": "int8 against f32", "engine": f"{engine} against onnxruntime"}
    for gate in wanted:
        tables: list[str] = []
        progress.step(f"gate: {titles[gate]}", lambda gate=gate, tables=tables: tables.append(checks[gate]()) or "ok")
        print(tables[0], flush=True)
        stamp.gates[gate] = digest
        write_stamp(pair.directory, stamp, outputs)
    print(gates.describe_default(pair, gallery[0]))


def build(pair: Pair, cache: Path, options: argparse.Namespace) -> None:
    """Build what is missing, then run the gates that have not passed yet."""
    started = time.monotonic()
    stamp = read_stamp(pair.directory)
    kept = frozenset(
        pair.directory / name for name, facts in stamp.outputs.items() if file_facts(pair.directory / name) == facts
    )
    builder = Builder(pair, cache, options.update_hashes, kept)
    engine = (options.engine or default_engine(pair.directory)).resolve()
    if options.engine and not engine.is_file():
        raise MakerError(f"--engine: no binary at {engine}")
    progress = run_steps(builder, extra=1 + len(GATES))
    if options.update_hashes:
        update_pair_file(pair, builder)
        pair = Pair(pair.path)
    outputs = builder.outputs()
    digest = gate_digest(pair.directory, [model.sha256 for model in pair.models])
    stamp.gates = {} if options.gates else {gate: key for gate, key in stamp.gates.items() if key == digest}
    if options.engine:
        stamp.gates.pop("engine", None)
    stamp.summary = f"{len(pair.models)} models, {len(outputs) - len(pair.models) - 3} photos"
    write_stamp(pair.directory, stamp, outputs)
    wanted = [gate for gate in GATES if gate not in stamp.gates and (gate != "engine" or engine.is_file())]
    if wanted:
        run_gates(pair, stamp, wanted, engine, progress, outputs)
    if "engine" not in stamp.gates:
        print(engine_skipped(pair.directory, engine))
    print(f"{pair.name}: {stamp.summary} built in {time.monotonic() - started:.0f} s")


def main(arguments: list[str] | None = None) -> int:
    """Run one action; an error is one readable message and exit status 1."""
    options = parse(arguments)
    cache = PAIR_DIRECTORY.parent / "cache"
    try:
        pair = Pair(PAIR_DIRECTORY / "pair.toml")
        fetch.clear_partial(cache)
        if options.action == "calibrate":
            from .calibrate import calibrate

            calibrate(pair, cache)
        else:
            build(pair, cache, options)
    except MakerError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted; run the same command again to go on from here", file=sys.stderr)
        return 130
    return 0
