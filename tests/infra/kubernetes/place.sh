# shellcheck shell=bash disable=SC2034
# Where the tests' cluster lives, its addresses, and what its scripts share. To be sourced.
root=${INFRA_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/veloz-chaos-infra}/kubernetes
bin=$root/bin               # what build.sh makes
images=$root/images         # what images.sh makes
pki=$root/pki
config=$pki/admin.kubeconfig
sockets=/run/veloz-k8s      # short: a socket's path has 107 bytes at most
group=veloz-k8s             # of the pods, in every hierarchy of control groups
bridge=velozk0              # the nodes' network: .1 is the host, .11 the first node
net=10.200.0
services=10.96.0.0/16
dns=10.96.0.10
PATH=$PATH:/usr/sbin:/sbin

namespace() { echo "veloz-k8s-n$1"; }                     # of the node with this number
ours() {  # the pid in this file, if a process of this cluster has it
  local pid; pid=$(cat "$1" 2>/dev/null) && grep -qzF -- "$root/" "/proc/$pid/cmdline" 2>/dev/null && echo "$pid"
}
start() {  # name, command…: in the background; log/ gets its output, run/ its pid
  local name=$1; shift
  # What a shell starts in the background ignores INT, and would pass that on to every pod.
  setsid env --default-signal=INT,QUIT "$@" >"$root/log/$name.log" 2>&1 </dev/null 9>&- &
  echo $! >"$root/run/$name.pid"
}
await() {  # name of the log, seconds, command…: until it succeeds
  local name=$1 end=$((SECONDS + $2)); shift 2
  until "$@" >/dev/null 2>&1; do
    [ $SECONDS -lt $end ] || { echo "no success in time: $*; the end of $root/log/$name.log:" >&2; tail -5 "$root/log/$name.log" >&2; exit 1; }
    sleep 0.2
  done
}
kube() { "$bin/kubectl" --kubeconfig "$config" "$@"; }
node() {  # number, words of ctr…
  local number=$1; shift
  ctr --address "$sockets/n$number/containerd.sock" --namespace k8s.io "$@"
}
