#!/usr/bin/env bash
# base-image.sh: makes the image that Dockerfile here begins with out of Debian's packages, for podman: for machines that cannot pull
# it, or trust packages more than images. Needs root, podman and debootstrap. MIRROR: where packages come from.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
image=$(sed -n 's/^FROM //p' "$here/Dockerfile")
for program in podman debootstrap; do
  command -v $program > /dev/null || { echo "base-image.sh: $program is needed: apt-get install $program" >&2; exit 2; }
done
if podman image exists "localhost/$image"; then
  echo "$image is there; to make it anew: podman rmi localhost/$image"
  exit 0
fi
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
debootstrap --variant=minbase --include=ca-certificates bookworm "$root" ${MIRROR:+"$MIRROR"}
tar -C "$root" -c . | podman import - "localhost/$image"
