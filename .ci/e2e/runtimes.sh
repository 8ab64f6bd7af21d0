# containerd and dockerd of our own, beside whatever the machine runs; sourced after lib.sh.
# shellcheck shell=bash disable=SC2154 # lib.sh sets scratch

# All that they mount is seen by nobody else and goes with them; a /run of their own keeps the machine's clean. It becomes
# the process, for signals to reach it.
apart() { exec unshare --mount --propagation private sh -c 'mount -t tmpfs tmpfs /run && exec "$@"' sh "$@"; }

start_runtimes() {
  local dir=$scratch/runtimes
  containerd_sock=$dir/containerd.sock docker_sock=$dir/docker.sock
  mkdir -p "$dir"
  cat >"$dir/containerd.toml" <<TOML
version = 2
root = "$dir/containerd"
state = "$dir/containerd-state"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
address = "$containerd_sock"
TOML
  echo '{}' >"$dir/daemon.json" # or it reads the machine's
  spawn containerd apart containerd --log-level warn --config "$dir/containerd.toml"
  await containerd ctr --address "$containerd_sock" version
  # No containers are run: it needs neither a bridge nor rules of a firewall.
  spawn dockerd apart dockerd --log-level warn --config-file "$dir/daemon.json" --containerd "$containerd_sock" --host "unix://$docker_sock" \
    --data-root "$dir/docker" --exec-root "$dir/docker-state" --pidfile "$dir/docker.pid" \
    --bridge none --iptables=false --ip6tables=false --ip-forward=false --ip-masq=false \
    --exec-opt native.cgroupdriver=cgroupfs
  export DOCKER_CONFIG=$dir/client DOCKER_HOST=unix://$docker_sock
  await dockerd docker version
}

# The directory of containerd's blobs.
containerd_blobs() { echo "$scratch/runtimes/containerd/io.containerd.content.v1.content/blobs/sha256"; }
