#!/bin/bash
# Virtual environments for the interop checks, beside this script: one for each requirements-NAME.txt.
# Triton's wheel needs Debian's own Python 3.11: its stub links the system's libpython3.11 but would load another
# interpreter's standard library.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
for name in client mlserver triton kserve; do
  venv=$here/.venv-$name
  wanted=$here/requirements-$name.txt
  if cmp -s "$wanted" "$venv/made-of.txt"; then continue; fi
  python=python3
  if [ "$name" = triton ]; then python=/usr/bin/python3.11; fi
  if ! "$python" --version > /dev/null 2>&1; then
    echo "$python is needed for $name (Debian 12: apt-get install python3.11-venv libpython3.11)" >&2
    exit 2
  fi
  rm -rf "$venv"
  "$python" -m venv "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check -r "$wanted"
  cp "$wanted" "$venv/made-of.txt"
done
