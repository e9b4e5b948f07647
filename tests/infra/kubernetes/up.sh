#!/usr/bin/env bash
# up.sh [NODES]: starts etcd, the control plane and NODES nodes (3), of what build.sh and images.sh made.
# A node is a network namespace with a containerd, a kubelet, a kube-proxy and an enforcer of network policies of its own.
# What a cluster before left must be gone: down.sh.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/place.sh"
nodes=${1:-3}
[ -d /sys/fs/cgroup/memory ] || { echo "up.sh: needs control groups of version 1 (systemd.unified_cgroup_hierarchy=0)" >&2; exit 1; }
mkdir -p "$root"/{run,log}
"$here/pki.sh" "$nodes"

sysctl -qw net.ipv4.ip_forward=1
ip link add $bridge type bridge
ip address add $net.1/24 dev $bridge
ip link set $bridge up
# Bridged packets go through the host's rules, where an engine of containers may have shut the door.
iptables -I FORWARD -i $bridge -j ACCEPT
iptables -I FORWARD -o $bridge -j ACCEPT

start etcd etcd --name etcd --data-dir "$root/etcd" --unsafe-no-fsync \
  --listen-client-urls http://127.0.0.1:23790 --advertise-client-urls http://127.0.0.1:23790 \
  --listen-peer-urls http://127.0.0.1:23800 --initial-advertise-peer-urls http://127.0.0.1:23800 \
  --initial-cluster etcd=http://127.0.0.1:23800 --quota-backend-bytes 4294967296
await etcd 30 curl --fail --silent --noproxy '*' http://127.0.0.1:23790/health
start kube-apiserver "$bin/kube-apiserver" --etcd-servers=http://127.0.0.1:23790 \
  --advertise-address=$net.1 --bind-address=0.0.0.0 --secure-port=6443 --service-cluster-ip-range=$services \
  --client-ca-file="$pki/ca.crt" --tls-cert-file="$pki/apiserver.crt" --tls-private-key-file="$pki/apiserver.key" \
  --kubelet-client-certificate="$pki/kubelet-client.crt" --kubelet-client-key="$pki/kubelet-client.key" \
  --kubelet-preferred-address-types=InternalIP \
  --service-account-key-file="$pki/sa.pub" --service-account-signing-key-file="$pki/sa.key" \
  --service-account-issuer=https://kubernetes.default.svc.cluster.local \
  --requestheader-client-ca-file="$pki/ca.crt" --requestheader-allowed-names=front-proxy \
  --requestheader-username-headers=X-Remote-User --requestheader-group-headers=X-Remote-Group \
  --requestheader-extra-headers-prefix=X-Remote-Extra- \
  --proxy-client-cert-file="$pki/front-proxy.crt" --proxy-client-key-file="$pki/front-proxy.key" \
  --enable-aggregator-routing=true --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction \
  --allow-privileged=true --max-requests-inflight=1600 --max-mutating-requests-inflight=800
await kube-apiserver 120 kube get --raw /readyz
controlling() {  # name, options…
  local name=$1 own=$pki/$1.kubeconfig; shift
  start "$name" "$bin/$name" --kubeconfig="$own" --authentication-kubeconfig="$own" --authorization-kubeconfig="$own" \
    --leader-elect=false --bind-address=127.0.0.1 --cert-dir="$root/run/$name" --kube-api-qps=300 --kube-api-burst=600 "$@"
}
controlling kube-controller-manager --use-service-account-credentials=true --root-ca-file="$pki/ca.crt" \
  --service-account-private-key-file="$pki/sa.key" \
  --cluster-signing-cert-file="$pki/ca.crt" --cluster-signing-key-file="$pki/ca.key"
controlling kube-scheduler
kube apply -f "$here/coredns.yaml" >/dev/null

starting=()
for number in $(seq "$nodes"); do "$here/node.sh" "$number" "$nodes" & starting+=($!); done
for pid in "${starting[@]}"; do wait "$pid"; done
ip route add $services via $net.11   # the services' addresses from the host: through the first node
for number in $(seq "$nodes"); do await "n$number-kubelet" 120 kube wait --for=condition=Ready "node/n$number" --timeout=2s; done
await n1-kubelet 60 kube --namespace kube-system rollout status deployment/coredns --timeout=5s
