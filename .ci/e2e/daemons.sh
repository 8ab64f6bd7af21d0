# The daemons' own programs as separate processes on loopback; sourced after lib.sh.
# shellcheck shell=bash disable=SC2154 # lib.sh sets scratch, here and ended; the caller sets bin

# Takes ports and fills in the configuration of every role. Addresses are in `at`.
prepare_daemons() {
  local ports
  declare -gA at=()
  read -ra ports <<<"$(free_ports 12)"
  local names=(testfs origin tracker build_index proxy)
  for n in "${!names[@]}"; do at[${names[n]}]=127.0.0.1:${ports[n]}; done
  at[origin_peer]=127.0.0.1:${ports[5]}
  for agent in 1 2; do
    at[agent-${agent}_registry]=127.0.0.1:${ports[3 + 3 * agent]}
    at[agent-${agent}_server]=127.0.0.1:${ports[4 + 3 * agent]}
    at[agent-${agent}_peer]=127.0.0.1:${ports[5 + 3 * agent]}
  done
  for name in origin tracker build-index proxy agent-1 agent-2; do
    local config=$scratch/config/$name data=$scratch/data/$name
    mkdir -p "$config" "$data"
    for file in "$here/config/${name%-[12]}"/*.yaml; do
      sed -e "s|@data@|$data|g; s|@testfs@|${at[testfs]}|g; s|@origin@|${at[origin]}|g" \
        -e "s|@tracker@|${at[tracker]}|g; s|@build_index@|${at[build_index]}|g" "$file" >"$config/$(basename "$file")"
    done
  done
}

port() { echo "${at[$1]##*:}"; }

# Starts one daemon, with uber/kraken's flags and two of ours, and waits until it answers.
start_daemon() { # name [configuration [flag ...]]
  local name=$1 config=$scratch/config/$1/${2:-e2e}.yaml more=("${@:3}")
  case $name in
    testfs)
      # It keeps its files below the directory for temporary ones.
      spawn testfs env TMPDIR="$scratch/data" "$bin/kraken-testfs" --port="$(port testfs)" --bind 127.0.0.1 \
        "${more[@]}"
      answers "${at[testfs]}/health" ;;
    origin)
      spawn origin "$bin/kraken-origin" --config="$config" --blobserver-hostname=127.0.0.1 \
        --blobserver-port="$(port origin)" --peer-ip=127.0.0.1 --peer-port="$(port origin_peer)" --bind 127.0.0.1 --strict \
        "${more[@]}"
      answers "${at[origin]}/health" ;;
    tracker)
      spawn tracker "$bin/kraken-tracker" -config "$config" -port "$(port tracker)" -bind 127.0.0.1 -strict
      answers "${at[tracker]}/health" ;;
    build-index)
      spawn build-index "$bin/kraken-build-index" --config="$config" --port="$(port build_index)" --bind=127.0.0.1 --strict
      answers "${at[build_index]}/health" ;;
    proxy)
      spawn proxy "$bin/kraken-proxy" --config="$config" --port="$(port proxy)" --bind=127.0.0.1 --strict
      answers "${at[proxy]}/v2/" ;;
    agent-*)
      spawn "$name" "$bin/kraken-agent" -config="$config" -peer-ip=127.0.0.1 -peer-port="$(port "${name}_peer")" \
        -agent-server-port="$(port "${name}_server")" -agent-registry-port="$(port "${name}_registry")" -bind=127.0.0.1 -strict \
        "${more[@]}"
      answers "${at[${name}_server]}/health"
      answers "${at[${name}_registry]}/v2/" ;;
  esac
}

# Waits until the daemon that was just started answers.
answers() { # address/path
  for _ in $(seq 150); do
    curl -fsS --noproxy '*' --max-time 2 -o /dev/null "http://$1" 2>/dev/null && return
    kill -0 "${pids[$name]}" 2>/dev/null || die "$name ended while it started"
    sleep 0.1
  done
  die "$name does not answer at $1 after 15 seconds"
}

start_daemons() {
  local name
  for name in testfs origin tracker build-index proxy agent-1 agent-2; do start_daemon "$name"; done
}

# SIGTERM, which a daemon must obey with exit code 0.
stop_daemon() { # name
  stop "$1"
  [ "$ended" = 0 ] || die "$1 ended with status $ended after SIGTERM"
}

# Agents with empty disks: what they serve next, they have to fetch.
renew_agents() { # configuration [flag ...]
  local agent
  for agent in agent-1 agent-2; do
    [ -z "${pids[$agent]:-}" ] || stop_daemon "$agent"
    rm -rf "$scratch/data/$agent"
    start_daemon "$agent" "$@"
  done
}
