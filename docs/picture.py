"""Draws standard input as a terminal window: `make picture` makes docs/run.svg of a real run with it."""

import html
import sys

lines = [line.rstrip("\n") for line in sys.stdin]
width, step = 8.2 * max(map(len, lines)) + 40, 18
print(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {step * len(lines) + 40}" role="img">')
print("<title>A run of tinysaver</title>")
print('<rect width="100%" height="100%" rx="8" fill="#16191f"/>')
print('<g font-family="ui-monospace,Menlo,Consolas,monospace" font-size="13.5">')
for row, line in enumerate(lines):
    colour = "#d6dae2"
    if line.startswith("$"):
        colour = "#7fd1ff"
    elif "base_local" in line:
        colour = "#ffc66d"
    elif "WRONG" in line:
        colour = "#ff8a80"
    print(f'<text x="20" y="{30 + row * step}" fill="{colour}">{html.escape(line).replace(" ", chr(160))}</text>')
print("</g></svg>")
