"""What the emulated board said, judged: a list of what is wrong."""

import json

from board_root import FORMATS


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
