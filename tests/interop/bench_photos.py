"""What a photo's size and quality cost: bytes on the network, and how often the base then sees another class.

usage: bench_photos.py TINYSAVER PHOTOS [BASE]
Cuts pictures of 640 x 480 out of the demo photos, as a camera would see them, and asks the base for each: on this board,
and behind `serve` with photos of several sizes and qualities. Writes docs/figures/photo-cost.md and photo-cost.json.
"""
import datetime
import json
import pathlib
import subprocess
import sys
import tempfile

from check_server import serving
from photos import cut

FIGURES = pathlib.Path(__file__).resolve().parents[2] / "docs" / "figures"
SETTINGS = [("exact", None, None)] + [(f"{scale} x, {quality}", scale, quality)
                                      for scale in (1, 1.5, 2) for quality in (75, 85, 90, 95)]
CUTS = 4
BASE = "lite2-260-int8"  # the pair's default


def run(binary, folder, base, *arguments):
    command = [binary, "run", "--json", "--source", folder, "--threshold", "1", "--base", base, *arguments]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    records = [json.loads(line) for line in lines]
    return {record["source"]: record for record in records[:-1]}, records[-1]


def main():
    binary, photos = sys.argv[1:3]
    rows = []
    base = sys.argv[3] if len(sys.argv) > 3 else BASE
    with tempfile.TemporaryDirectory() as folder, serving(binary, "--model", base) as address:
        count = cut(photos, folder, CUTS)
        here, _ = run(binary, folder, base)
        for name, scale, quality in SETTINGS:
            how = ["--offload-exact"] if scale is None else [
                "--offload-photo-scale", str(scale), "--offload-jpeg-quality", str(quality)]
            there, end = run(binary, folder, base, "--no-local-base", "--deadline-ms", "60000",
                             "--offload", f"grpc://{address}/{base}", *how)
            assert {record["exit"] for record in there.values()} == {"base_remote"}, end
            same = sum(there[path]["class"] == record["class"] for path, record in here.items())
            sure = [path for path, record in here.items() if record["probability"] > 0.5]
            same_sure = sum(there[path]["class"] == here[path]["class"] for path in sure)
            rows.append({"photos": name, "bytes": end["offload"]["sent_bytes"] / count, "same": same,
                         "sure": len(sure), "same_sure": same_sure})
            print(rows[-1], flush=True)
    lines = ["# What photos cost", "",
             f"{datetime.date.today()}, {base}; {count} pictures of 640 x 480 cut out of the {count // CUTS} demo photos; the "
             "base's class for what was sent against its class for the exact pixels. `make bench-photos`.", "",
             "| photos: size, quality | bytes a frame | same class | same, where the base is more than half sure |", "|---|---|---|---|"]
    lines += [f"| {row['photos']} | {row['bytes']:.0f} | {100 * row['same'] / count:.1f} % | "
              f"{100 * row['same_sure'] / row['sure']:.1f} % of {row['sure']} |" for row in rows]
    FIGURES.mkdir(exist_ok=True)
    (FIGURES / "photo-cost.md").write_text("\n".join(lines) + "\n")
    (FIGURES / "photo-cost.json").write_text(json.dumps({"date": str(datetime.date.today()), "n": count, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
