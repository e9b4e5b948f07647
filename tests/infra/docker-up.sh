#!/usr/bin/env bash
# Starts a Docker Engine of the tests' own below INFRA_DIR/docker, unless it runs already, and prints its DOCKER_HOST.
# Its data, its state, its addresses and its configuration are apart from those of any other engine on the machine.
#   export DOCKER_HOST=$(tests/infra/docker-up.sh)
#   tests/infra/docker-up.sh runs       says by its exit code whether it does
#   tests/infra/docker-up.sh stop       ends it and its containers; what it stores stays
set -euo pipefail
D=${INFRA_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/veloz-chaos-infra}/docker
socket=$D/docker.sock
PATH=$PATH:/usr/sbin:/sbin

answers() { curl --silent --fail --max-time 5 --output /dev/null --unix-socket "$socket" http://engine/_ping; }
runs() {  # the pid in this file, if it is that of a process with this word in its command line
  local pid; pid=$(cat "$1" 2>/dev/null) && grep -qzF -- "$2" "/proc/$pid/cmdline" 2>/dev/null && echo "$pid"
}
engine() { runs "$D/docker.pid" "$D/data"; }
bridge() {  # of its own, since docker0 may be another engine's
  ip link show veloz0 >/dev/null 2>&1 || ip link add veloz0 type bridge
  ip address replace 172.29.0.1/24 dev veloz0
  ip link set veloz0 up
}
start() {
  mkdir -p "$D"
  echo '{}' >"$D/daemon.json"
  [ ${#D} -le 65 ] || { echo "docker-up.sh: $D is too long for the engine's sockets (65 bytes); set INFRA_DIR" >&2; exit 1; }
  # A pid of before a crash may be somebody else's by now, whom the engine would take for its own.
  engine >/dev/null || rm -f "$D/docker.pid"
  runs "$D/exec/containerd/containerd.pid" "$D/exec" >/dev/null || rm -f "$D/exec/containerd/containerd.pid"
  bridge
  setsid dockerd --config-file "$D/daemon.json" --data-root "$D/data" --exec-root "$D/exec" --pidfile "$D/docker.pid" \
    --host "unix://$socket" --bridge veloz0 --default-address-pool base=172.30.0.0/16,size=24 \
    --exec-opt native.cgroupdriver=cgroupfs >"$D/dockerd.log" 2>&1 </dev/null 9>&- &
  for _ in $(seq 600); do
    answers && return
    kill -0 $! 2>/dev/null || break
    sleep 0.1
  done
  echo "docker-up.sh: the engine does not answer; the end of $D/dockerd.log:" >&2
  tail -5 "$D/dockerd.log" >&2
  exit 1
}
stop() {
  local pid; pid=$(engine) || return 0
  kill "$pid"
  for _ in $(seq 300); do kill -0 "$pid" 2>/dev/null || return 0; sleep 0.1; done
  kill -KILL "$pid"
}

case ${1:-} in
  runs) answers; exit ;;
  stop) stop; exit ;;
esac
for program in dockerd iptables ip curl; do
  command -v $program >/dev/null || {
    echo "docker-up.sh: no $program here; apt-get install --no-install-recommends docker.io iptables iproute2 curl" >&2; exit 1; }
done
[ "$(id -u)" = 0 ] || { echo "docker-up.sh: needs root" >&2; exit 1; }
mkdir -p "$D"
exec 9>"$D/lock"; flock 9   # two that start at once make one engine
answers || start
echo "unix://$socket"
