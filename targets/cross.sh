#!/usr/bin/env bash
# cross.sh TRIPLE COMMAND [ARGUMENTS]: `cargo COMMAND` for another target, by the first way that this machine has:
#   container  the program `cross`, where docker or podman answers (targets/Cross.toml)
#   rustup     rustup's standard library, where `rustup target add TRIPLE` was done
#   debian     Debian's compiler and library, unpacked by tools.sh
# COMMAND `tools` only fetches what is needed. CROSS_WAY forces one, CROSS_TOOLS is where tools.sh puts things, CROSS_GLIBC the
# oldest glibc that the binary has to run with, QEMU_CPU the processor that `test` and `run` emulate.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
triple=${1:?"cross.sh TRIPLE COMMAND [ARGUMENTS]"} command=${2:?"cross.sh TRIPLE COMMAND [ARGUMENTS]"}
shift 2
tools=${CROSS_TOOLS:-$here/../target/cross}
glibc=${CROSS_GLIBC:-2.27} # JetPack 4

way() {
  if command -v cross > /dev/null && { docker info || podman info; } > /dev/null 2>&1; then
    echo container
  elif rustup target list --installed 2> /dev/null | grep -qx "$triple"; then
    echo rustup
  else
    echo debian
  fi
}

case $triple in
  aarch64-unknown-linux-gnu) zig=aarch64-linux-gnu.$glibc qemu=qemu-aarch64-static root=/usr/aarch64-linux-gnu cpu=cortex-a53 ;;
  aarch64-unknown-linux-musl) zig=aarch64-linux-musl qemu=qemu-aarch64-static root=/ cpu=cortex-a53 ;;
  armv7-unknown-linux-gnueabihf) zig=arm-linux-gnueabihf.$glibc qemu=qemu-arm-static root=/usr/arm-linux-gnueabihf cpu=cortex-a7 ;;
  *) echo "cross.sh: no recipe for '$triple'; targets/README.md lists the targets" >&2; exit 2 ;;
esac

export QEMU_CPU=${QEMU_CPU:-$cpu}
chosen=${CROSS_WAY:-$(way)}
if [[ $chosen == container ]]; then
  [[ $command != tools ]] || exit 0
  export CROSS_CONFIG=$here/Cross.toml
  exec cross "$command" --target "$triple" "$@"
fi

options=()
"$here/tools.sh" "$tools" "$([[ $chosen == debian ]] && echo rust)"
[[ $command != tools ]] || exit 0
if [[ $chosen == debian ]]; then
  export RUSTC=$tools/rust/bin/rustc RUSTDOC=$tools/rust/bin/rustdoc
  # Debian has no library for the other targets: cargo builds it from the source beside the compiler. That needs
  # RUSTC_BOOTSTRAP, which is the same for all targets: build scripts look at it, and would run anew at each change.
  export RUSTC_BOOTSTRAP=1
  [[ -d $tools/rust/lib/rustlib/$triple/lib ]] || options=(-Zbuild-std)
fi
name=${triple^^} name=${name//-/_}
export ZIG_PYTHON=$tools/zig/bin/python ZIG_TARGET=$zig
export "CARGO_TARGET_${name}_LINKER=$here/zig-cc.sh" "CC_${triple//-/_}=$here/zig-cc.sh"
export "CARGO_TARGET_${name}_RUNNER=$qemu -L $root"
# 32-bit boards with NEON only: the portable loops become NEON.
[[ $triple != armv7-* ]] || export "CARGO_TARGET_${name}_RUSTFLAGS=-Ctarget-cpu=cortex-a7"
# zig brings its own start files and C library.
[[ $triple != *-musl ]] || export "CARGO_TARGET_${name}_RUSTFLAGS=-Clink-self-contained=no" "CARGO_TARGET_${name}_RUSTDOCFLAGS=-Clink-self-contained=no"
exec cargo "$command" "${options[@]}" --target "$triple" "$@"
