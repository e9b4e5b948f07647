#!/usr/bin/env bash
# Ends what up.sh started, whatever became of it, and removes its state. Programs, images and certificates stay.
set -uo pipefail
. "$(dirname "$0")/place.sh"

end() {  # files of pids
  local pids=() file pid
  for file in "$@"; do if pid=$(ours "$file"); then pids+=("$pid"); fi; done
  rm -f "$@"
  [ ${#pids[@]} -gt 0 ] || return 0
  kill "${pids[@]}" 2>/dev/null
  for _ in $(seq 20); do kill -0 "${pids[@]}" 2>/dev/null || return 0; sleep 0.1; done
  kill -KILL "${pids[@]}" 2>/dev/null
}
pods() { find "/sys/fs/cgroup/memory/$group" -name cgroup.procs -exec cat {} + 2>/dev/null; }

rm -f "$config"
run=$root/run
end "$run"/n*-kubelet.pid "$run"/n*-kube-proxy.pid "$run"/n*-netpol.pid "$run"/kwok.pid "$run"/kube-*.pid
for _ in $(seq 10); do
  mapfile -t left < <(pods)
  [ ${#left[@]} -gt 0 ] || break
  kill -KILL "${left[@]}" 2>/dev/null
  sleep 0.2
done
mapfile -t shims < <(pgrep -f -- "containerd-shim-runc-v2 .*-address $sockets/n[0-9]+/containerd.sock")
[ ${#shims[@]} -eq 0 ] || kill -KILL "${shims[@]}" 2>/dev/null
end "$run"/n*-containerd.pid "$run"/etcd.pid
for space in /run/netns/"$(namespace '')"*; do if [ -e "$space" ]; then ip netns delete "${space##*/}"; fi; done
ip route delete $services 2>/dev/null
ip link delete $bridge 2>/dev/null
for way in -i -o; do while iptables -D FORWARD $way $bridge -j ACCEPT 2>/dev/null; do :; done; done
sleep 0.3
for made in /sys/fs/cgroup/*/"$group"; do if [ -d "$made" ]; then find "$made" -depth -type d -exec rmdir {} + 2>/dev/null; fi; done
rm -rf "$sockets" "$root"/{etcd,nodes,log}
exit 0
