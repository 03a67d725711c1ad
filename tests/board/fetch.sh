#!/usr/bin/env bash
# fetch.sh DIR: Debian's arm64 kernel with its modules and a static busybox for an emulated ARM board, into DIR. Nothing
# is installed, no root is needed, and package lists are kept in DIR, so that this machine's stay as they are.
set -euo pipefail
directory=$(mkdir -p "$1" && readlink -f "$1")

for program in qemu-system-aarch64 cpio /sbin/depmod; do
  command -v "$program" > /dev/null || { echo "fetch.sh: no $program here: apt-get install qemu-system-arm cpio kmod" >&2; exit 1; }
done

# board ARCHITECTURE METAPACKAGE: the newest kernel that METAPACKAGE depends on.
board() {
  local architecture=$1 root=$directory/$1 lists=$directory/lists-$1 packages=$directory/packages-$1
  [[ -e $root/complete ]] && return
  local apt=(-qq -o "Dir::State::lists=$lists" -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= -o Debug::NoLocking=1
    -o "APT::Architectures::=$architecture")
  [[ $EUID == 0 ]] && apt+=(-o APT::Sandbox::User=root)
  rm -rf "$root" && mkdir -p "$root" "$lists/partial" "$packages" && cd "$packages"
  # One suite's index may be stale; the package's own is what counts.
  apt-get "${apt[@]}" update || true
  local kernel
  kernel=$(apt-cache "${apt[@]}" depends "$2:$architecture" | awk '/Depends: linux-image/ { sub(/:.*/, "", $2); print $2; exit }')
  [[ -n $kernel ]] || { echo "fetch.sh: no $2 for $architecture in this machine's package sources" >&2; exit 1; }
  apt-get "${apt[@]}" download "$kernel:$architecture" "busybox-static:$architecture"
  local package
  for package in *.deb; do dpkg-deb -x "$package" "$root"; done
  /sbin/depmod -b "$root" "$(ls "$root/lib/modules")"
  cd / && rm -rf "$lists" "$packages"
  touch "$root/complete"
}

board arm64 linux-image-arm64
