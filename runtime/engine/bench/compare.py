"""CPU time of one inference: this crate's engine against others, one thread, interleaved.

    compare.py ROUNDS PER_ROUND NAME=COMMAND...

COMMAND serves one engine: it prints a line that begins with READY, then reads numbers and answers each with a line
after that many inferences. In every round each engine makes PER_ROUND inferences, one engine after the other, and the
CPU time of its process is taken around them. Prints medians with p10 and p90 over the rounds, and the ratio of the
first engine to each, with p10 and p90 of the rounds' own ratios.
"""
import os
import shlex
import statistics
import subprocess
import sys
import time


class Server:
    """A process that makes inferences when told to."""

    def __init__(self, name, command, settings=None):
        self.name = name
        self.times_ms = []
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**os.environ, **(settings or {})})
        self.ready = self.process.stdout.readline()
        while self.ready and not self.ready.startswith("READY"):
            self.ready = self.process.stdout.readline()
        if not self.ready:
            words = self.process.stderr.read().strip().splitlines()
            raise RuntimeError(f"{name}: {words[-1] if words else 'said nothing'}")
        self.ask(5)

    def cpu_ns(self):
        """CPU time of the other process: Linux makes its clock's number out of its id."""
        return time.clock_gettime_ns((~self.process.pid << 3) | 2)

    def ask(self, count):
        self.process.stdin.write(f"{count}\n")
        self.process.stdin.flush()
        if count and not self.process.stdout.readline():
            raise RuntimeError(f"{self.name}: ended early")

    def measure(self, count):
        before = self.cpu_ns()
        self.ask(count)
        self.times_ms.append((self.cpu_ns() - before) / 1e6 / count)

    def end(self):
        self.ask(0)
        self.process.wait()


def spread(numbers):
    """Median, p10 and p90."""
    ordered = sorted(numbers)
    return statistics.median(ordered), ordered[len(ordered) // 10], ordered[min(len(ordered) - 1, len(ordered) * 9 // 10)]


def ratio(ours, theirs):
    """The ratio of the medians, and p10 and p90 of the rounds' ratios."""
    _, low, high = spread([a / b for a, b in zip(ours, theirs)])
    return statistics.median(ours) / statistics.median(theirs), low, high


def measure(servers, rounds, per_round):
    for _ in range(rounds):
        for server in servers:
            server.measure(per_round)
    for server in servers:
        server.end()


def main(rounds, per_round, *engines):
    servers = []
    for engine in engines:
        name, command = engine.split("=", 1)
        servers.append(Server(name, shlex.split(command)))
    measure(servers, int(rounds), int(per_round))
    for server in servers:
        median, low, high = spread(server.times_ms)
        against, ratio_low, ratio_high = ratio(servers[0].times_ms, server.times_ms)
        print(f"{server.name:24} {median:8.3f} ms [{low:.3f}, {high:.3f}]  first/this {against:.2f} "
              f"[{ratio_low:.2f}, {ratio_high:.2f}]  n = {rounds} x {per_round}")


if __name__ == "__main__":
    main(*sys.argv[1:])
