"""An emulated board that is running: its console, read line by line and written to, and what its screen shows."""

import json
import os
import select
import socket
import subprocess
import time
from pathlib import Path


class Emulator:
    """`command` is qemu's without console and monitor; after `limit` seconds the board is switched off."""

    def __init__(self, command, folder, limit):
        self.folder, self.deadline, self.monitor = Path(folder), time.monotonic() + limit, None
        self.socket = self.folder / "monitor"
        command = [*command, "-serial", "stdio", "-qmp", f"unix:{self.socket},server=on,wait=off"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def lines(self):
        """Whole lines as they come, until the board is off or its time is over."""
        descriptor, rest = self.process.stdout.fileno(), b""
        while select.select([descriptor], [], [], max(0, self.deadline - time.monotonic()))[0]:
            data = os.read(descriptor, 1 << 16)
            if not data:
                self.process.wait()
                return
            *lines, rest = (rest + data).split(b"\n")
            yield from (line.decode(errors="replace").rstrip("\r") for line in lines)
        self.process.kill()
        self.process.wait()
        yield "BROKEN the board did not end in time"

    def say(self, line):
        """Types a line at the console."""
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def screenshot(self):
        """What the board's screen shows, as a PPM's bytes."""
        if self.monitor is None:
            connection = socket.socket(socket.AF_UNIX)
            connection.settimeout(30)
            connection.connect(str(self.socket))
            self.monitor = connection.makefile("rw")
            self.monitor.readline()  # its greeting
            self.ask("qmp_capabilities")
        file = self.folder / "screen.ppm"
        self.ask("screendump", filename=str(file))
        return file.read_bytes()

    def ask(self, command, **arguments):
        self.monitor.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self.monitor.flush()
        while True:
            answer = json.loads(self.monitor.readline())
            if "error" in answer:
                raise RuntimeError(f"qemu: {command}: {answer['error']}")
            if "return" in answer:
                return answer["return"]
