#!/bin/sh
# zig-cc.sh: the C compiler and linker for the target that cross.sh chose. Rust's cc crate names targets in another way
# than zig does, so its --target is dropped; so is --strip-debug, by which zig strips the names of functions too. zig's own
# checks of undefined behaviour are off: they need a library that Rust does not link.
for argument; do
  shift
  case $argument in --target=* | -Wl,--strip-debug) ;; *) set -- "$@" "$argument" ;; esac
done
exec "$ZIG_PYTHON" -m ziglang cc -target "$ZIG_TARGET" -fno-sanitize=undefined "$@"
