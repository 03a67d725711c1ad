"""What a photo's size and quality cost: bytes on the network, and how often the base then sees another class.

usage: bench_photos.py TINYSAVER PHOTOS
Cuts pictures of 640 x 480 out of the demo photos, as a camera would see them, and asks the base for each: on this board,
and behind `serve` with photos of several sizes and qualities. Writes docs/figures/photos.md and photos.json.
"""
import datetime
import json
import pathlib
import random
import subprocess
import sys
import tempfile

from PIL import Image, ImageOps

from check_server import serving

FIGURES = pathlib.Path(__file__).resolve().parents[2] / "docs" / "figures"
SETTINGS = [("exact", None, None)] + [(f"{scale} x, {quality}", scale, quality)
                                      for scale in (1, 1.5, 2) for quality in (75, 85, 90, 95)]
CUTS = 12


def cut(photos, folder):
    """Frames as a camera sees them: parts of the photos, saved without loss."""
    chance, count = random.Random(1), 0
    for path in sorted(pathlib.Path(photos).rglob("*")):
        if path.suffix not in (".jpg", ".png", ".webp"):
            continue
        image = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
        for number in range(CUTS):
            share = chance.uniform(0.6, 1.0)
            size = [int(axis * share) for axis in image.size]
            left, top = (chance.randint(0, whole - part) for whole, part in zip(image.size, size))
            part = image.crop((left, top, left + size[0], top + size[1]))
            if chance.random() < 0.5:
                part = ImageOps.mirror(part)
            ImageOps.fit(part, (640, 480), Image.BICUBIC).save(folder / f"{path.stem}-{number:02}.png")
            count += 1
    return count


def run(binary, folder, base, *arguments):
    command = [binary, "run", "--json", "--source", folder, "--threshold", "1", "--base", base, *arguments]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    records = [json.loads(line) for line in lines]
    return {record["source"]: record for record in records[:-1]}, records[-1]


def main():
    binary, photos = sys.argv[1:3]
    rows = []
    with tempfile.TemporaryDirectory() as folder, serving(binary) as address:
        count = cut(photos, pathlib.Path(folder))
        base = sys.argv[3] if len(sys.argv) > 3 else "lite2-260-f32"
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
    (FIGURES / "photos.md").write_text("\n".join(lines) + "\n")
    (FIGURES / "photos.json").write_text(json.dumps({"date": str(datetime.date.today()), "n": count, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
