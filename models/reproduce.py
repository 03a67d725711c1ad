"""`make reproduce`: the paper's table, test-swept and certified, for the pairs that are built.

    reproduce.py TINYSAVER FIGURES

Fashion-MNIST: the 2,000 development images choose saver and stages and make the path of thresholds, the 10,000 calibration
images certify, the 10,000 test images are looked at here only. No model was trained on any of them. ImageNet: the labelled
photos are too few to promise anything, and the tool has to say so. Writes reproduce.md and reproduce.json.
"""
import datetime
import itertools
import json
import pathlib
import subprocess
import sys
import tempfile
import tomllib

MODELS = pathlib.Path(__file__).parent
SELECTION, CALIBRATION = (48_000, 50_000), (50_000, 60_000)
DROPS_PP = (0.01, 0.1, 0.5, 1.0)
BARS = {("swept", 0.1): 85, ("swept", 0.5): 90, ("swept", 1.0): 93, ("certified", 0.5): 85}


class Tool:
    """The binary, and a folder for what it records."""

    def __init__(self, binary, folder):
        self.binary, self.folder = binary, folder

    def run(self, *arguments, may_fail=False):
        process = subprocess.run([self.binary, *map(str, arguments)], capture_output=True, text=True)
        if process.returncode and not may_fail:
            raise SystemExit(f"{' '.join(map(str, arguments))}\n{process.stderr}")
        return process

    def json(self, *arguments):
        return json.loads(self.run(*arguments, "--json").stdout)

    def record(self, pair, name, *arguments):
        path = self.folder / f"{name}.parquet"
        self.run("record", "--pair", pair, *arguments, "--out", path)
        return path


def figures_of(report, how):
    """Drop in pp to figures, or to the words of a refusal."""
    return {row["drop_pp"]: row["figures"] or row["refused"] for row in report["rows"] if row["how"] == how}


def best_stages(tool, selection, pool, base):
    """The two savers whose cascade needs the fewest operations on the selection samples for a drop of 0.5 pp."""
    def macs(savers):
        report = tool.json("evaluate", selection, "--calibration", selection, "--stages", ",".join([*savers, base]))
        return figures_of(report, "test-swept")[0.5]["macs"]

    return min(itertools.combinations(pool, 2), key=macs)


def fashion_mnist(tool, pair):
    """Every row of the table."""
    manifest = tomllib.loads((pair / "pair.toml").read_text())
    base = manifest["default"]["base"]
    images = [pair / "data" / f"{part}-images-idx3-ubyte.gz" for part in ("train", "t10k")]
    for path in images:
        if not path.is_file():
            raise SystemExit(f"{path}: is not there; fetch it with `make models-fashion`")
    models = ["--models", ",".join(model["id"] for model in manifest["model"] if model["precision"] == "int8")]
    common = [*models, "--format", "idx", "--data"]
    part = lambda name, bounds: tool.record(pair, name, *common, images[0], "--range", "{}..{}".format(*bounds))
    selection, calibration = part("selection", SELECTION), part("calibration", CALIBRATION)
    test = tool.record(pair, "test", *common, images[1])
    search = tool.json("select", selection, "--base", base, "--top", 99)["searches"][0]
    savers = [candidate["saver"] for candidate in search["candidates"] if candidate["enabled"]]
    if not savers:
        raise SystemExit("no model of the pool is worth having as a saver")
    by_cost = sorted(search["candidates"], key=lambda candidate: candidate["cost_ratio"])
    pair_args = ["--saver", savers[0], "--base", base]
    common = ["evaluate", test, "--calibration", calibration, "--fit-records", selection]
    reports = {"rcps": tool.json(*common, *pair_args), "ltt": tool.json(*common, *pair_args, "--method", "ltt")}
    pool = [candidate["saver"] for candidate in by_cost]
    if len(pool) >= 2:
        stages = [*best_stages(tool, selection, pool, base), base]
        for method in ("rcps", "ltt"):
            reports[f"stages_{method}"] = tool.json(*common, "--stages", ",".join(stages), "--method", method)
    return {"search": search, "reports": reports, "samples": {"selection": SELECTION, "calibration": CALIBRATION}}


def imagenet_lite(tool, pair):
    """What the labelled photos allow: accuracies, and a refusal."""
    default = tomllib.loads((pair / "pair.toml").read_text())["default"]
    saver, base = default["saver"], default["base"]
    truth = pair / "build" / "photos" / "labelled" / "truth.csv"
    records = tool.record(pair, "photos", "--data", truth, "--format", "csv", "--models", f"{saver},{base}", "--logits")
    arguments = ["--saver", saver, "--base", base]
    report = tool.json("evaluate", records, "--calibration", records, *arguments)
    refused = tool.run("calibrate", records, *arguments, may_fail=True)
    if refused.returncode != 1:
        raise SystemExit(f"{report['samples']} photos must not be enough for a promise:\n{refused.stdout}{refused.stderr}")
    return {"saver": saver, "base": base, "samples": report["samples"], "always_saver": report["always_saver"],
            "always_base": report["always_base"], "refusal": refused.stderr.strip().partition("parquet: ")[2]}


def cell(figures):
    if isinstance(figures, str):
        return "refused"
    interval = figures["drop_pp_95"]
    return (f"{100 * figures['macs_saved']:.1f} % (exits {100 * figures['exit_ratio']:.1f} %, drop {figures['drop_pp']:.2f} pp "
            f"[{interval['low']:.2f}, {interval['high']:.2f}])")


def fashion_lines(result):
    search, reports = result["search"], result["reports"]
    rcps = reports["rcps"]
    lines = [
        "## Fashion-MNIST", "",
        f"Always-base: {100 * rcps['always_base']['accuracy']:.2f} % of {rcps['samples']:,} test images, "
        f"{rcps['always_base']['macs'] / 1e6:.2f} MMAC. Saver chosen by `select` on images {SELECTION[0]:,} to {SELECTION[1]:,}: "
        f"`{rcps['models'][0]}`, {100 * rcps['always_saver']['accuracy']:.2f} %, {rcps['always_saver']['macs'] / 1e6:.3f} MMAC. "
        f"Certified on {CALIBRATION[1] - CALIBRATION[0]:,} other images with delta 0.05. "
        "Each cell: operations below always-base, share that does not reach the base, measured drop on test with its 95 % interval.", "",
        "| drop allowed | test-swept (the paper's way) | certified, RCPS | certified, Learn then Test |",
        "|---|---|---|---|"]
    columns = [figures_of(rcps, "test-swept"), figures_of(rcps, "certified"), figures_of(reports["ltt"], "certified")]
    lines += [f"| {drop} pp | " + " | ".join(cell(column[drop]) for column in columns) + " |" for drop in DROPS_PP]
    if "stages_ltt" in reports:
        rcps, ltt = reports["stages_rcps"], reports["stages_ltt"]
        columns = [figures_of(rcps, "test-swept"), figures_of(rcps, "certified"), figures_of(ltt, "certified")]
        lines += ["", f"Three stages, `{' / '.join(ltt['models'])}`, chosen on the same images as the saver:", "",
                  "| drop allowed | test-swept | certified by harms | certified by harms less helps |", "|---|---|---|---|"]
        lines += [f"| {drop} pp | " + " | ".join(cell(column[drop]) for column in columns) + " |" for drop in DROPS_PP]
    lines += ["", "The pool on the selection images (`select`):", "",
              "| saver | C_s/C_b | exit ratio at parity | delta cost [95 %] | best in |", "|---|---|---|---|---|"]
    for row in search["candidates"]:
        interval = row["delta_cost_95"]
        lines.append(f"| {row['saver']} | {row['cost_ratio']:.4f} | {100 * row['exit_ratio']:.1f} % | {row['delta_cost']:.3f} "
                     f"[{interval['low']:.3f}, {interval['high']:.3f}] | {100 * row['best_share']:.0f} % of draws |")
    return [*lines, "", *bar_lines(reports)]


def bar_lines(reports):
    """What was asked for beside what saver and base give (harms bounded), and three stages (harms less helps)."""
    kinds = [name for name in ("rcps", "stages_ltt") if name in reports]
    lines = ["| asked: operations below always-base | saver and base | three stages |", "|---|---|---|"]
    for (kind, drop), bar in BARS.items():
        how = "test-swept" if kind == "swept" else "certified"
        cells = []
        for name in kinds:
            figures = figures_of(reports[name], how)[drop]
            saved = 100 * figures["macs_saved"] if isinstance(figures, dict) else 0.0
            cells.append(f"{saved:.1f} %, {'met' if saved >= bar else 'not met'}")
        lines.append(f"| at least {bar} %, {how} at {drop} pp | " + " | ".join(cells) + " |")
    return lines


def imagenet_lines(result):
    accuracy = lambda end: 100 * result[end]["accuracy"]
    return ["## ImageNet-1k", "",
            f"{result['samples']} labelled photos is all there is: `{result['saver']}` has {accuracy('always_saver'):.0f} % of them right, "
            f"`{result['base']}` {accuracy('always_base'):.0f} %. That says next to nothing, and no threshold is certified on it:", "",
            f"> {result['refusal']}", "",
            "With the validation set of your own, `record --format imagenet` and the same commands fill the table; "
            "logits from PyTorch or timm come in by `import`."]


def main(binary, figures):
    result, lines = {"date": str(datetime.date.today())}, ["# The paper's table", ""]
    lines += [f"`make reproduce`, {result['date']}.", ""]
    with tempfile.TemporaryDirectory() as name:
        tool = Tool(binary, pathlib.Path(name))
        if (MODELS / "fashion-mnist" / "pair.toml").is_file():
            result["fashion_mnist"] = fashion_mnist(tool, MODELS / "fashion-mnist")
            lines += [*fashion_lines(result["fashion_mnist"]), ""]
        else:
            lines += ["## Fashion-MNIST", "", "The pair is not built.", ""]
        result["imagenet_lite"] = imagenet_lite(tool, MODELS / "imagenet-lite")
        lines += imagenet_lines(result["imagenet_lite"])
    figures = pathlib.Path(figures)
    (figures / "reproduce.md").write_text("\n".join(lines) + "\n")
    (figures / "reproduce.json").write_text(json.dumps(result, indent=1) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main(*sys.argv[1:])
