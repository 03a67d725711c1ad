"""`make bench-camera`: from a camera's frame to the saver's pixels, against OpenCV and libjpeg-turbo.

    bench CAMERA VENV PAIR FIGURES [ROUNDS]

CAMERA is the built example `camera`. Makes the virtual environment VENV with the peers (requirements.txt, 90 MB) unless it
is there, codes one photo of the pair as a camera would, and measures every way in turn: CPU time of each process, 10
frames a round. All keep the same centre square and average over areas. Then the price of plain bilinear sampling, on the
pair's labelled photos. Writes camera.md and camera.json.
"""
import datetime
import json
import pathlib
import platform
import subprocess
import sys
import venv

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "engine" / "bench"))
from compare import Server, ratio, spread  # noqa: E402  the engine's own harness

SIDE, PER_ROUND = 160, 10
# kind, width, height, peer, the most that the ratio may be
CASES = [
    ("YUYV", 640, 480, "opencv", 0.25), ("YUYV", 640, 480, "opencv_cut", None),
    ("NV12", 640, 480, "opencv", 0.25), ("NV12", 640, 480, "opencv_cut", None),
    ("YUYV", 1920, 1080, "opencv", 0.10), ("YUYV", 1920, 1080, "opencv_cut", None),
    ("NV12", 1920, 1080, "opencv", 0.10), ("NV12", 1920, 1080, "opencv_cut", None),
    ("MJPG", 640, 480, "opencv", 0.35), ("MJPG", 640, 480, "turbo_half", 0.90), ("MJPG", 640, 480, "opencv_half", None),
    ("MJPG", 1920, 1080, "opencv", None), ("MJPG", 1920, 1080, "turbo_half", None),
]
PEERS = {
    "opencv": "OpenCV, whole frame", "opencv_cut": "OpenCV, cut first",
    "opencv_half": "OpenCV, half-size decode", "turbo_half": "libjpeg-turbo, half-size decode",
}


def environment(folder):
    """The peers' Python."""
    python, wanted = folder / "bin" / "python", (HERE / "requirements.txt").read_text()
    installed = folder / "requirements.txt"
    if not installed.is_file() or installed.read_text() != wanted:
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "-q", "-r", HERE / "requirements.txt"], check=True)
        installed.write_text(wanted)
    return python


def measure(camera, python, frames, rounds):
    """A row for each case; ways that share a frame run in the same rounds."""
    rows = []
    for kind, width, height in dict.fromkeys((kind, width, height) for kind, width, height, *_ in CASES):
        file = frames / f"{kind}-{width}x{height}"
        peers = [(peer, bar) for *frame, peer, bar in CASES if frame == [kind, width, height]]
        arguments = [kind, str(width), str(height), str(file), str(SIDE), "serve"]
        ours = Server("ours", [str(camera), *arguments])
        others = [Server(peer, [str(python), str(HERE / "peer.py"), peer, *arguments]) for peer, _ in peers]
        for _ in range(rounds):
            for server in (ours, *others):
                server.measure(PER_ROUND)
        for server, (peer, bar) in zip(others, peers, strict=True):
            middle, low, high = ratio(ours.times_ms, server.times_ms)
            rows.append({
                "format": kind, "size": f"{width}x{height}", "peer": peer, "way": ours.ready.split()[1],
                "ours_cpu_ms": spread(ours.times_ms), "peer_cpu_ms": spread(server.times_ms),
                "ratio": middle, "ratio_p10": low, "ratio_p90": high, "at_most": bar,
            })
        for server in (ours, *others):
            server.end()
    return rows


def text(figure):
    short = lambda numbers: "{:.3f} [{:.3f}, {:.3f}]".format(*numbers)
    lines = [
        "# Camera to tensor", "",
        f"`{figure['command']}`, {figure['date']}, {figure['machine']}, one thread, n = {figure['rounds']} rounds of {PER_ROUND}"
        f" frames each, all ways in turn. CPU milliseconds of a frame to {SIDE} x {SIDE} u8: median [p10, p90].",
        "All keep the same centre square (0.875 of the shorter side) and average over areas (`INTER_AREA`).", "",
        "| frame | against | ours | theirs | ratio | at most | |", "| --- | --- | --- | --- | --- | --- | --- |"]
    for row in figure["rows"]:
        bar = "" if row["at_most"] is None else f"{row['at_most']:.2f}"
        verdict = "" if row["at_most"] is None else ("met" if row["ratio"] <= row["at_most"] else "**not met**")
        lines.append(f"| {row['format']} {row['size']} | {PEERS[row['peer']]} | {short(row['ours_cpu_ms'])} |"
                     f" {short(row['peer_cpu_ms'])} | {row['ratio']:.2f} [{row['ratio_p10']:.2f}, {row['ratio_p90']:.2f}] |"
                     f" {bar} | {verdict} |")
    lines += ["", f"MJPG: 4:2:2, quality 85, {', '.join(figure['jpeg_bytes'])}. Peers: {', '.join(figure['versions'])}.", "",
              "## What plain sampling costs", "",
              f"Right answers of the int8 savers on {figure['sampling']['photos']} labelled photos (one set, small: differences of one"
              " or two photos mean nothing), by how their input is made from the same photo:", "",
              "| saver | shrinks by | maker's bicubic | this runtime | OpenCV area | OpenCV bilinear |", "| --- | --- | --- | --- | --- | --- |"]
    for row in figure["sampling"]["rows"]:
        lines.append(f"| {row['saver']} | {row['shrinks_by']:.1f} | {row['maker']} | {row['ours']} | {row['area']} | {row['bilinear']} |")
    lines += ["", "The same, as the share of frames whose class is that of the maker's bicubic:", "",
              "| saver | this runtime | OpenCV area | OpenCV bilinear |", "| --- | --- | --- | --- |"]
    for row in figure["sampling"]["rows"]:
        of = lambda name: f"{row[name + '_agrees']} of {row['frames']}"
        lines.append(f"| {row['saver']} | {of('ours')} | {of('area')} | {of('bilinear')} |")
    return "\n".join(lines) + "\n"


def main(camera, folder, pair, figures, rounds="60"):
    folder, pair, camera = pathlib.Path(folder), pathlib.Path(pair), pathlib.Path(camera).resolve()
    python = environment(folder)
    frames = folder / "frames"
    frames.mkdir(exist_ok=True)
    photos = pair / "build" / "photos" / "labelled"
    made = json.loads(subprocess.check_output([python, HERE / "frames.py", photos / "imagenet_10_541.jpg", frames]))
    sampling = json.loads(subprocess.check_output([python, HERE / "sampling.py", camera, pair, photos, frames]))
    figure = {"command": "make bench-camera", "date": datetime.date.today().isoformat(), "machine": platform.machine(),
              "rounds": int(rounds), "frames_per_round": PER_ROUND, **made,
              "rows": measure(camera, python, frames, int(rounds)), "sampling": sampling}
    figures = pathlib.Path(figures)
    figures.mkdir(parents=True, exist_ok=True)
    (figures / "camera.json").write_text(json.dumps(figure, indent=1) + "\n")
    (figures / "camera.md").write_text(text(figure))
    print(text(figure))


if __name__ == "__main__":
    main(*sys.argv[1:])
