"""docs/figures/interop.md and interop.json: each check replaces its own part, so that they may run apart."""
import datetime
import json
import pathlib

FIGURES = pathlib.Path(__file__).resolve().parents[2] / "docs" / "figures"
PARTS = {"server": "Our server, asked by NVIDIA's client", "client": "Our client, asking Triton and MLServer",
         "kserve": "Our client, asking KServe's SDK (in a network namespace)",
         "export": "What `tinysaver export` writes"}


def write_interop(part, peers, photos, whole, rows):
    """Rows are (what, "ok" or "FAILED", detail)."""
    path = FIGURES / "interop.json"
    all_parts = json.loads(path.read_text()) if path.exists() else {}
    all_parts[part] = {"date": str(datetime.date.today()), "peers": peers, "photos": photos, "whole": whole,
                       "rows": [dict(zip(("what", "result", "detail"), row)) for row in rows]}
    FIGURES.mkdir(exist_ok=True)
    path.write_text(json.dumps(all_parts, indent=1) + "\n")
    lines = ["# Interop", "", "`make interop`: servers and a client of the Open Inference Protocol that others wrote. The base is "
             "lite2-260-f32, the classes are compared with those of the same model on the board."]
    for name, title in PARTS.items():
        if name not in all_parts:
            continue
        one = all_parts[name]
        good = sum(row["result"] == "ok" for row in one["rows"])
        lines += ["", f"## {title}", "", f"{one['date']}; {one['peers']}; {one['photos']} photos: {one['whole']} whole ones, the "
                  f"rest are parts of these. {good} of {len(one['rows'])} checks hold.", "", "| check | | |", "|---|---|---|"]
        lines += [f"| {row['what']} | {row['result']} | {row['detail']} |" for row in one["rows"]]
    (FIGURES / "interop.md").write_text("\n".join(lines) + "\n")
