#!/usr/bin/env bash
# glibc-floor.sh BINARY [NEWEST ALLOWED]: the glibc that a binary asks for, by its symbols' versions.
set -euo pipefail
# A static binary names no version.
floor=$(readelf --version-info "$1" | grep -o 'GLIBC_[0-9][0-9.]*' | sort -Vu | tail -1 || true)
floor=${floor#GLIBC_}
if [[ -z $floor ]]; then
  readelf --dynamic "$1" | grep -q NEEDED && { echo "glibc-floor.sh: $1 names no glibc version, but needs libraries" >&2; exit 1; }
  echo "$1: static, no glibc"
elif [[ -n ${2-} && $(printf '%s\n' "$floor" "$2" | sort -V | tail -1) != "$2" ]]; then
  echo "glibc-floor.sh: $1 needs glibc $floor, newer than $2" >&2
  exit 1
else
  echo "$1: needs glibc $floor"
fi
