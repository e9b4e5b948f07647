#!/usr/bin/env bash
# node.sh NUMBER NODES: starts the node n<NUMBER> of so many. Pods have addresses in 10.244.<NUMBER>.0/24.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/place.sh"
number=$1 nodes=$2 inside=${3:-}
name=n$number
at=$root/nodes/$name
socket=$sockets/$name/containerd.sock
space=$(namespace "$number")

if [ "$inside" = inside ]; then   # in the node's network namespace, and a mount namespace of its own
  mount --make-rshared /
  start "$name-containerd" containerd --config "$at/containerd.toml"
  await "$name-containerd" 30 node "$number" version
  for archive in "$images"/*.tar; do
    node "$number" images import --snapshotter overlayfs "$archive" >>"$root/log/$name-import.log" 2>&1
  done
  start "$name-kubelet" "$bin/kubelet" --config="$at/kubelet.yaml" --kubeconfig="$pki/$name.kubeconfig" \
    --root-dir="$at/kubelet" --cert-dir="$at/kubelet/pki" --hostname-override="$name" --node-ip="$net.$((10 + number))"
  start "$name-kube-proxy" "$bin/kube-proxy" --config="$at/proxy.yaml"
  start "$name-netpol" "$bin/netpol" -kubeconfig "$config" -node "$name"
  exit
fi

mkdir -p "$at"/{cni/net.d,cni/ipam,kubelet,logs,manifests,plugins} "$sockets/$name"
ip netns add "$space"
ip link add "velozk$number" type veth peer name eth0 netns "$space"
ip link set "velozk$number" master $bridge up
ip -n "$space" address add "$net.$((10 + number))/24" dev eth0
ip -n "$space" link set eth0 up
ip -n "$space" link set lo up
ip -n "$space" route add default via $net.1
for other in $(seq "$nodes"); do
  [ "$other" = "$number" ] || ip -n "$space" route add "10.244.$other.0/24" via "$net.$((10 + other))"
done
ip netns exec "$space" sysctl -qw net.ipv4.ip_forward=1
# A connection that a dead pod never answered keeps its way to that pod, by default for two minutes; one machine that asks
# all day comes round to the same port earlier, and is sent there again. (Where a kernel has no such setting, so be it.)
ip netns exec "$space" sysctl -qw net.netfilter.nf_conntrack_tcp_timeout_syn_sent=2 || true
ip route replace "10.244.$number.0/24" via "$net.$((10 + number))"

for hierarchy in cpu cpuacct cpuset memory devices freezer blkio pids systemd; do
  mkdir -p "/sys/fs/cgroup/$hierarchy/$group/$name"
done
for made in "$group" "$group/$name"; do  # a new one has no processor and no memory
  for file in cpus mems; do cat "/sys/fs/cgroup/cpuset/cpuset.$file" >"/sys/fs/cgroup/cpuset/$made/cpuset.$file"; done
done

cat >"$at/cni/net.d/10-bridge.conflist" <<END
{"cniVersion": "1.0.0", "name": "bridge", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isGateway": true, "isDefaultGateway": true, "ipMasq": false, "hairpinMode": true,
   "ipam": {"type": "host-local", "dataDir": "$at/cni/ipam", "ranges": [[{"subnet": "10.244.$number.0/24"}]]}},
  {"type": "portmap", "capabilities": {"portMappings": true}, "snat": true}]}
END
cat >"$at/containerd.toml" <<END
version = 2
root = "$at/containerd"
state = "$sockets/$name/state"
oom_score = 0
disabled_plugins = [$(printf '"io.containerd.snapshotter.v1.%s", ' btrfs zfs devmapper aufs)]
[grpc]
  address = "$socket"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "registry.local/pause:3.10"
  restrict_oom_score_adj = true
  disable_apparmor = true
  tolerate_missing_hugetlb_controller = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$at/cni/net.d"
END
cat >"$at/kubelet.yaml" <<END
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
failCgroupV1: false
cgroupDriver: cgroupfs
cgroupRoot: /$group/$name
containerRuntimeEndpoint: unix://$socket
oomScoreAdj: 0
failSwapOn: false
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $pki/ca.crt}}
authorization: {mode: Webhook}
clusterDNS: [$dns]
clusterDomain: cluster.local
podLogsDir: $at/logs
staticPodPath: $at/manifests
volumePluginDir: $at/plugins
imageGCHighThresholdPercent: 100  # no image can be pulled again
evictionHard: {memory.available: 100Mi, nodefs.available: 1%, imagefs.available: 1%, nodefs.inodesFree: 1%}
nodeStatusUpdateFrequency: 5s
END
cat >"$at/proxy.yaml" <<END
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
clientConnection: {kubeconfig: $pki/kube-proxy.kubeconfig}
mode: nftables
clusterCIDR: 10.244.0.0/16
hostnameOverride: $name
oomScoreAdj: 0
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
END
exec nsenter --net="/run/netns/$space" unshare --mount --propagation private "$here/node.sh" "$number" "$nodes" inside
