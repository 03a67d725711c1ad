#!/usr/bin/env bash
# tools.sh DIR [rust]: what cross.sh needs that a machine does not have, into DIR. Nothing is installed; no root is needed.
#
# zig (from PyPI, in a virtual environment): a C compiler and linker that can target an older glibc, and musl.
# rust: Debian's rustc-web with the standard library for x86-64 and aarch64 and its source, from which cargo builds the
# library for armv7 and musl: for machines that cannot download rustup's targets. rustup is left alone.
set -euo pipefail
directory=$(mkdir -p "$1" && readlink -f "$1")
zig_version=0.17.1

fetch_zig() {
  [[ -x $directory/zig/bin/python ]] && "$directory/zig/bin/pip" show ziglang 2>/dev/null | grep -qx "Version: $zig_version" && return
  python3 -m venv "$directory/zig"
  "$directory/zig/bin/pip" install --quiet --disable-pip-version-check "ziglang==$zig_version"
}

# Package lists in a folder of our own, so that a foreign architecture does not touch the machine's.
lists=$directory/lists
apt=(-qq -o Dir::State::lists="$lists" -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= -o Debug::NoLocking=1
  -o APT::Architectures::=amd64 -o APT::Architectures::=arm64)
[[ $EUID == 0 ]] && apt+=(-o APT::Sandbox::User=root)

# The package that $1 depends on and whose name begins with $2; such names carry a version.
dependency() {
  apt-cache "${apt[@]}" depends "$1" | awk -v name="$2" '$1 == "Depends:" && index($2, name) == 1 { print $2; exit }'
}

download_rust() {
  mkdir -p "$lists/partial" "$directory/packages" && cd "$directory/packages"
  apt-get "${apt[@]}" update
  local library llvm
  library=$(dependency libstd-rust-web-dev:amd64 libstd-rust-web-)
  llvm=$(dependency "${library:-none}" libllvm)
  if [[ -z $llvm ]]; then
    echo "tools.sh: rustc-web is not in this machine's package sources (Debian 12 has it, with its security suite)" >&2
    exit 1
  fi
  apt-get "${apt[@]}" download rustc-web:amd64 "${library%:*}:amd64" "${llvm%:*}:amd64" libstd-rust-web-dev:amd64 \
    libstd-rust-web-dev:arm64 rust-web-src:all
}

fetch_rust() {
  local rust=$directory/rust unpacked=$directory/unpacked
  [[ -x $rust/bin/rustc ]] && return
  download_rust
  rm -rf "$unpacked" "$rust.new" && mkdir -p "$rust.new/bin" "$rust.new/lib" "$rust.new/libexec"
  local package program
  for package in *.deb; do dpkg-deb -x "$package" "$unpacked"; done
  mv "$unpacked/usr/lib/rustlib" "$rust.new/lib/rustlib"
  mv "$unpacked"/usr/lib/x86_64-linux-gnu/*.so* "$rust.new/lib/"
  rm -f "$rust.new/lib/rustlib/src/rust" && mkdir -p "$rust.new/lib/rustlib/src"
  mv "$unpacked"/usr/src/rustc-* "$rust.new/lib/rustlib/src/rust"
  for program in rustc rustdoc; do
    mv "$unpacked/usr/bin/$program" "$rust.new/libexec/$program"
    printf '%s\n' '#!/bin/sh' 'rust=$(dirname "$(readlink -f "$0")")/..' 'export LD_LIBRARY_PATH="$rust/lib"' \
      "exec \"\$rust/libexec/$program\" \"\$@\"" > "$rust.new/bin/$program"
    chmod +x "$rust.new/bin/$program"
  done
  mv "$rust.new" "$rust"
  cd / && rm -rf "$unpacked" "$lists" "$directory/packages"
}

fetch_zig
[[ ${2-} != rust ]] || fetch_rust
