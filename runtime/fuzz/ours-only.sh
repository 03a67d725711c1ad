#!/usr/bin/env bash
# RUSTC_WRAPPER of the fuzz targets: only this project's crates are instrumented. tract has over a million branches, which
# libFuzzer would look through after every execution.
set -euo pipefail
# CARGO_PRIMARY_PACKAGE: the target itself.
[[ -z ${CARGO_PRIMARY_PACKAGE-} && " $* " != *" --crate-name tinysaver_"* ]] || exec "$@"
kept=()
for argument; do
  case $argument in
    -Cpasses=sancov-module | -Cllvm-args=-sanitizer-coverage* | -Zsanitizer=*) ;;
    *) kept+=("$argument") ;;
  esac
done
# Quickly rather than well: little time goes there.
[[ " $* " != *" --crate-name tract_"* ]] || kept+=(-Copt-level=1)
exec "${kept[@]}"
