# Shared by the end-to-end scripts: one scratch directory, the processes that were started, all gone at exit.
# shellcheck shell=bash
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
scratch=$(mktemp -d)
mkdir "$scratch/log"
cluster_pid=''
declare -A pids=()
foreground=''
exec {terminal}>&2 # a signal may come while standard error leads elsewhere

die() { echo "$(basename "$0"): $*" >&2; exit 1; }

# Everything ends, in the order that spares waiting: asked first, made to after ten seconds.
cleanup() {
  local status=$? pid
  exec 2>&"$terminal"
  trap '' INT TERM HUP
  [ -z "$cluster_pid" ] || pids[cluster]=$cluster_pid
  [ -z "$foreground" ] || pids[foreground]=$foreground
  for pid in "${pids[@]}"; do kill -TERM "$pid" 2>/dev/null || true; done
  for name in "${!pids[@]}"; do finish "$name"; done
  [ "$status" = 0 ] || show_logs
  rm -rf "$scratch"
  exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# The last of what each process has said, for who reads why it failed.
show_logs() {
  local log
  for log in "$scratch"/log/*; do
    [ -s "$log" ] || continue
    echo "-- $(basename "$log"):"
    tail -n "${LOG_LINES:-12}" "$log" | cut -c -400
  done >&2
}

# Starts a process that runs until `stop` or the end of the script.
spawn() { # name command...
  local name=$1
  shift
  "$@" >>"$scratch/log/$name" 2>&1 &
  pids[$name]=$!
}

# Waits for a process that has been asked to end; its exit status is in `ended`. Bash's own word on it is left out.
finish() { # name
  local pid=${pids[$1]}
  {
    for _ in $(seq 100); do
      kill -0 "$pid" || break
      sleep 0.1
    done
    kill -9 "$pid" || true
    ended=0
    wait "$pid" || ended=$?
  } 2>/dev/null
  unset "pids[$1]"
}

stop() { # name [signal]
  kill "-${2:-TERM}" "${pids[$1]}" 2>/dev/null || true
  finish "$1"
}

# Runs a command so that a signal to the script ends it at once; it has five minutes, or LIMIT seconds.
run() { # command...
  timeout "${LIMIT:-300}" "$@" &
  foreground=$!
  local status=0
  wait "$foreground" || status=$?
  foreground=''
  [ "$status" != 124 ] || echo "timed out: $*" >&2
  return "$status"
}

# Tries a command until it succeeds, for half a minute.
await() { # what command...
  local what=$1
  shift
  for _ in $(seq 150); do
    "$@" >/dev/null 2>&1 && return
    sleep 0.2
  done
  die "$what: nothing within 30 seconds"
}

# So many free ports. They lie below those that the kernel gives to outgoing connections, so that a daemon that was killed
# finds its port free again.
free_ports() { # count
  python3 - "$1" <<'PY'
import random, socket, sys
found = []
for port in random.sample(range(18000, 32000), 14000):
    if len(found) == int(sys.argv[1]):
        break
    with socket.socket() as one:
        try:
            one.bind(("127.0.0.1", port))
            found.append(port)
        except OSError:
            pass
print(*found)
PY
}

# The seconds from a moment of `date +%s.%N` to another or to now.
since() { # moment [moment]
  python3 -c 'import sys; print(f"{float(sys.argv[2]) - float(sys.argv[1]):.1f}")' "$1" "${2:-$(date +%s.%N)}"
}

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
