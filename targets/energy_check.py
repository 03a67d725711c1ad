"""`make energy-check`: joules an inference by the Raspberry Pi 4's profile against MLPerf's published measurements.

    energy_check.py TABLE FIGURES

Leave-one-out: each model's joules are predicted from its mean latency and from the mean power of all other models of its
precision. Then the same with the coefficients that stand in targets/pi4.toml, with PowerJoular's, which know nothing of
this table, and for another runtime, to show how wrong the profile may be. Ends with 1 if the limits are not kept.
"""
import csv
import datetime
import json
import pathlib
import statistics
import sys
import tomllib

MOST_MEDIAN, MOST_WORST = 0.10, 0.25
# W of the whole board with all cores busy: PowerJoular's model of revision 1.2, 64-bit, at u = 1.
POWERJOULAR = 2.286 + 4.534


def read(path):
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    rows = list(csv.DictReader(lines, delimiter="\t"))
    return [{**row, **{key: float(row[key]) for key in ("mean_ms", "watts", "mj")}} for row in rows]


def errors(rows, watts):
    """Relative errors of `watts(row)` times the latency."""
    return [watts(row) * row["mean_ms"] / row["mj"] - 1 for row in rows]


def summary(name, rows, relative):
    sizes = [abs(error) for error in relative]
    worst = max(range(len(rows)), key=lambda index: sizes[index])
    return {"prediction": name, "n": len(rows), "median": statistics.median(sizes),
            "p90": sorted(sizes)[int(0.9 * (len(sizes) - 1))], "worst": sizes[worst], "bias": statistics.median(relative),
            "worst_model": f'{rows[worst]["model"]} ({rows[worst]["precision"]})'}


def leave_one_out(rows):
    def watts(row):
        others = [other["watts"] for other in rows if other["precision"] == row["precision"] and other is not row]
        return statistics.mean(others)
    return watts


def compare(rows, modelled):
    def profile(row):
        return modelled["full_cpu_watts"] if row["precision"] == "int8" else modelled["full_cpu_f32_watts"]

    tflite = [row for row in rows if row["runtime"] == "tflite"]
    armnn = [row for row in rows if row["runtime"] == "armnn"]
    found = []
    for precision in ("int8", "f32"):
        part = [row for row in tflite if row["precision"] == precision]
        found.append(summary(f"leave-one-out, TFLite, {precision}", part, errors(part, leave_one_out(tflite))))
    found.append(summary("leave-one-out, TFLite, all", tflite, errors(tflite, leave_one_out(tflite))))
    found.append(summary("targets/pi4.toml, TFLite, all", tflite, errors(tflite, profile)))
    found.append(summary("PowerJoular's coefficients, TFLite, all", tflite, errors(tflite, lambda _: POWERJOULAR)))
    found.append(summary("targets/pi4.toml, another runtime (ArmNN)", armnn, errors(armnn, profile)))
    return found


def text(found, date):
    def row(each):
        percent = [f"{100 * each[key]:.1f} %" for key in ("median", "p90", "worst")]
        cells = [each["prediction"], str(each["n"]), *percent, f"{100 * each['bias']:+.1f} %", each["worst_model"]]
        return "| " + " | ".join(cells) + " |"
    head = ["prediction", "models", "median error", "p90", "worst", "median bias", "worst model"]
    return "\n".join([
        "# Energy check", "",
        f"`make energy-check`, {date}: millijoules an inference on a Raspberry Pi 4 against the published table",
        "`docs/data/mlperf-rpi4.tsv` (single stream, power at the wall; derived from MLCommons results, not official MLPerf",
        "metrics). Predicted: watts x mean latency. The limits are 10 % (median) and 25 % (worst), leave-one-out.", "",
        "| " + " | ".join(head) + " |", "|" + " --- |" * len(head), *map(row, found), "",
        "TFLite is taken to have kept all four cores busy, so this tests the board's full power, not the part of the model that",
        "shares it among cores. ArmNN shows what that means: a runtime that leaves cores idle for a part of the time draws less,",
        "and a prediction from latency alone is too high. `run` does not predict from latency: it multiplies the active power of",
        "a core by the processor time that was used.", ""])


def main(table, figures):
    rows = read(pathlib.Path(table))
    root = pathlib.Path(__file__).parent
    modelled = tomllib.loads((root / "pi4.toml").read_text())["power"]["modelled"]
    found, date = compare(rows, modelled), datetime.date.today().isoformat()
    page = text(found, date)
    print(page)
    pathlib.Path(figures, "energy-check.md").write_text(page)
    figure = {"command": "make energy-check", "date": date, "table": table, "predictions": found}
    pathlib.Path(figures, "energy-check.json").write_text(json.dumps(figure, indent=1) + "\n")
    checked = found[:3]
    if any(each["median"] > MOST_MEDIAN or each["worst"] > MOST_WORST for each in checked):
        raise SystemExit("the limits of 10 % (median) and 25 % (worst) are not kept")


main(*sys.argv[1:])
