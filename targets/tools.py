"""What a test on this machine needs to build and run programs for other processors, fetched where it may be."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from pathlib import Path

HERE = Path(__file__).resolve().parent


def lacking(needed: tuple[str, ...], packages: tuple[str, ...], triples: tuple[str, ...]) -> str | None:
    """Why it cannot be done here, after trying to install what lacks; None where it can.

    `needed` are programs and paths, `packages` Debian's that hold them, `triples` what is built for.
    """
    if platform.machine() != "x86_64":
        return f"this is a {platform.machine()} machine; `make test-rust` tests what it has natively"
    absent = [name for name in needed if not (shutil.which(name) or Path(name).exists())]
    if absent:
        install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages]
        if os.geteuid() != 0 or not shutil.which("apt-get"):
            return f"{', '.join(absent)} not there; on Debian: {' '.join(install[:2])} {' '.join(packages)}"
        subprocess.run(["apt-get", "update", "-qq"], check=False)
        if subprocess.run(install, env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"}, check=False).returncode:
            return f"{' '.join(install)} failed (see above)"
    # cross.sh would fetch them as well; here a network that is not there is no failed test
    for triple in triples:
        if subprocess.run([str(HERE / "cross.sh"), triple, "tools"], check=False).returncode:
            return f"the compiler or the linker for {triple} could not be fetched (see above)"
    return None
