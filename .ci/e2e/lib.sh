# Shared by the end-to-end scripts: one scratch directory, one `kraken dev` cluster, both gone at exit.
# shellcheck shell=bash
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
scratch=$(mktemp -d)
cluster_pid=''

cleanup() {
  if [ -n "$cluster_pid" ] && kill -0 "$cluster_pid" 2>/dev/null; then
    kill -INT "$cluster_pid"
    wait "$cluster_pid" || true
  fi
  rm -rf "$scratch"
}
trap cleanup EXIT

die() { echo "$(basename "$0"): $*" >&2; exit 1; }

# Starts a cluster on free ports and waits until its own proof is done.
start_cluster() { # kraken [argument ...]
  "$@" dev --port-base 0 --data-dir "$scratch/cluster" >"$scratch/cluster.log" 2>&1 &
  cluster_pid=$!
  for _ in $(seq 600); do
    [ -s "$scratch/cluster/cluster.json" ] && return
    kill -0 "$cluster_pid" 2>/dev/null || { cat "$scratch/cluster.log" >&2; die 'the cluster ended early'; }
    sleep 0.2
  done
  cat "$scratch/cluster.log" >&2
  die 'the cluster was not ready in two minutes'
}

# One address of the cluster, e.g. `address proxy` or `address agents 0 registry`.
address() {
  python3 - "$scratch/cluster/cluster.json" "$@" <<'PY'
import json, sys
value = json.load(open(sys.argv[1]))
for key in sys.argv[2:]:
    value = value[int(key)] if isinstance(value, list) else value[key]
print(value)
PY
}
