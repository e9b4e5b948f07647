#!/usr/bin/env bash
# kwok.sh NODES PODS: so many fake nodes, and fake pods on them, beside the real ones of the tests' cluster, for scale.
# They are in the namespace `scale`; KWOK is built when it is first asked for (6 minutes). `kwok.sh stop` takes all away.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/place.sh"
KWOK=0.7.0

if [ "${1:-}" = stop ]; then
  kube delete namespace scale --ignore-not-found --wait=true
  if pid=$(ours "$root/run/kwok.pid"); then kill "$pid"; fi
  kube delete node --selector type=kwok --ignore-not-found
  exit
fi
nodes=$1 pods=$2
if [ ! -x "$bin/kwok" ]; then
  . "$here/../go.sh" 25
  GOMODCACHE=$root/build/modules GOCACHE=$root/build/cache GOBIN=$bin GOFLAGS='-modcacherw -trimpath' \
    go install -ldflags '-s -w' "sigs.k8s.io/kwok/cmd/kwok@v$KWOK"
  rm -rf "$root/build"
fi
ours "$root/run/kwok.pid" >/dev/null || start kwok "$bin/kwok" --kubeconfig="$config" --manage-all-nodes=false \
  --manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake --cidr=10.250.0.1/16 --node-ip=10.250.0.1 \
  --node-lease-duration-seconds=40
begun=$SECONDS
for number in $(seq "$nodes"); do
  cat <<END
---
apiVersion: v1
kind: Node
metadata: {name: kwok-$number, labels: {type: kwok, kubernetes.io/hostname: kwok-$number}, annotations: {kwok.x-k8s.io/node: fake}}
spec: {taints: [{key: kwok.x-k8s.io/node, value: fake, effect: NoSchedule}]}
status: {allocatable: {cpu: "32", memory: 256Gi, pods: "500"}, capacity: {cpu: "32", memory: 256Gi, pods: "500"}}
END
done | kube apply -f - >/dev/null
kube apply -f - >/dev/null <<END
apiVersion: v1
kind: Namespace
metadata: {name: scale}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: fake, namespace: scale}
spec:
  replicas: $pods
  selector: {matchLabels: {app: fake}}
  template:
    metadata: {labels: {app: fake}}
    spec:
      tolerations: [{key: kwok.x-k8s.io/node, operator: Exists}]
      nodeSelector: {type: kwok}
      containers: [{name: fake, image: fake}]
END
kube --namespace scale rollout status deployment/fake --timeout=600s >/dev/null
echo "$pods fake pods on $nodes fake nodes, Ready after $((SECONDS - begun)) s"
