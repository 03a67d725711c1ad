#!/bin/bash
# The board's client against KServe's SDK, whose server binds all interfaces: both in a network namespace of their own.
# usage (as root): check_kserve.sh TINYSAVER PHOTOS KSERVE_PYTHON CLIENT_PYTHON
set -eu
here=$(cd "$(dirname "$0")" && pwd)
if [ "${IN_NAMESPACE:-}" != 1 ]; then
  IN_NAMESPACE=1 exec unshare -n "$0" "$@"
fi
ip link set lo up
python=$(cd "$(dirname "$3")" && pwd)/$(basename "$3")
log=$(mktemp)
(cd "$here" && exec "$python" kserve_peer.py) > "$log" 2>&1 &
server=$!
trap 'kill $server; wait $server 2> /dev/null || true; rm -f "$log"' EXIT
"$4" "$here/check_client.py" "$1" "$2" --kserve || { tail -20 "$log"; exit 1; }
