#!/usr/bin/env python3
"""Builds a model pair: python3 models/make.py imagenet-lite

Any CPython 3.11 or newer will do; this file needs only the standard library. It makes an
environment in models/.venv out of pinned, hash-checked wheels and starts the pair's maker in it.
When everything is built already it says so and ends.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

MODELS = Path(__file__).resolve().parent
ENVIRONMENT = MODELS / ".venv"
REQUIREMENTS = MODELS / "requirements.txt"
OLDEST, NEWEST = (3, 11), (3, 14)
DEFAULT_PAIR = "imagenet-lite"


def fail(message: str) -> None:
    """End with a message and exit status 1."""
    print(f"error: {message}", file=sys.stderr)
    sys.exit(1)


def pair_names() -> list[str]:
    """The pairs that have a maker."""
    return sorted(path.parent.name for path in MODELS.glob("*/maker"))


def report_current(pair_directory: Path, options: list[str]) -> bool:
    """Print one line and return True when nothing is left to do."""
    if options not in ([], ["build"]):
        return False
    sys.dont_write_bytecode = True
    sys.path.insert(0, str(pair_directory))
    from maker import stamp as stamps

    stamp = stamps.read_stamp(pair_directory)
    if not stamps.is_current(pair_directory, stamp):
        return False
    engine = stamps.default_engine(pair_directory)
    missing = [gate for gate in stamps.GATES if gate not in stamp.gates]
    if missing == ["engine"] and not engine.is_file():
        note = f"; {stamps.engine_skipped(pair_directory, engine)}"
    elif missing:
        return False
    else:
        note = ", all gates passed"
    print(f"{pair_directory.name}: up to date ({stamp.summary}{note})")
    return True


def lock() -> None:
    """Let one build at a time work in this folder; the lock ends with the process."""
    import fcntl

    handle = os.open(MODELS / ".lock", os.O_CREAT | os.O_RDWR, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        print("another build is running in this folder, waiting for it", flush=True)
        fcntl.flock(handle, fcntl.LOCK_EX)
    os.set_inheritable(handle, True)


def venv_package() -> str:
    """The Debian or Ubuntu package that lets this Python make environments."""
    return f"python{sys.version_info[0]}.{sys.version_info[1]}-venv"


def provide_ensurepip() -> None:
    """Install what Debian and Ubuntu split off from Python, or say what to type."""
    import importlib.util

    if importlib.util.find_spec("ensurepip") and importlib.util.find_spec("venv"):
        return
    line = f"apt-get install -y --no-install-recommends {venv_package()}"
    command = line.split()
    if os.geteuid() != 0:
        command = ["sudo", "-n", *command]
    print(f"this Python cannot make environments: {' '.join(command)}", flush=True)
    try:
        done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
        reason = done.stderr.strip().splitlines()[-1:] if done.returncode else None
    except OSError as error:
        reason = [str(error)]
    if reason is not None:
        fail(f"{' '.join(reason)}\n  what to do: type this, then run the same command again:\n    sudo {line}")


def environment_key() -> str:
    """What the environment was made of: the pins and this Python."""
    pins = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()
    return f"{pins} {sys.version_info[0]}.{sys.version_info[1]} {os.path.realpath(sys.base_prefix)}\n"


def ensure_environment() -> Path:
    """models/.venv with the pinned packages; its python. The mark is written last, so a half-made one is redone."""
    python, mark = ENVIRONMENT / "bin" / "python", ENVIRONMENT / ".complete"
    if python.exists() and mark.is_file() and mark.read_text(encoding="utf-8") == environment_key():
        return python
    provide_ensurepip()
    print(f"making the environment {ENVIRONMENT} (about 40 MB to fetch, once)", flush=True)
    shutil.rmtree(ENVIRONMENT, ignore_errors=True)
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]
    install += ["--retries", "2", "--require-hashes", "--only-binary=:all:", "-r", str(REQUIREMENTS)]
    for command in ([sys.executable, "-m", "venv", str(ENVIRONMENT)], install):
        done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            shown = "\n".join(f"  | {line}" for line in done.stderr.strip().splitlines()[-8:])
            fail(
                f"cannot make the environment\n{shown}\n  what to do: check the network (the package index must be"
                f" reachable); supported are CPython 3.11 to 3.14 on x86-64 and aarch64 Linux;"
                f" then run the same command again"
            )
    mark.write_text(environment_key(), encoding="utf-8")
    return python


def main() -> None:
    """Check whether there is anything to do, make the environment, hand over to the maker."""
    arguments = sys.argv[1:]
    name, options = (DEFAULT_PAIR, arguments) if not arguments or arguments[0].startswith("-") else (arguments[0], arguments[1:])
    pair_directory = MODELS / name
    if not OLDEST <= sys.version_info[:2] <= NEWEST:
        fail(
            f"this is Python {sys.version.split()[0]}; the maker needs CPython 3.11 to 3.14\n"
            f"  what to do: run it with another one, e.g. python3.12 {' '.join(sys.argv)}"
        )
    if name not in pair_names():
        fail(f"no pair {name!r} with a maker here; there is: {', '.join(pair_names())}")
    try:
        if report_current(pair_directory, options):
            return
        lock()
        python = ensure_environment()
    except KeyboardInterrupt:
        print("\ninterrupted; run the same command again to go on from here", file=sys.stderr)
        sys.exit(130)
    sys.stdout.flush()
    os.execv(python, [str(python), "-B", str(pair_directory / "maker"), *options])


if __name__ == "__main__":
    main()
