#!/usr/bin/env bash
# Starts a Kubernetes cluster of the tests' own below INFRA_DIR/kubernetes, unless it runs already, and prints the path of
# its kubeconfig. What is missing for it is built first, once: 10 minutes and more. It knows no other cluster or engine.
#   export VELOZ_CHAOS_TEST_KUBECONFIG=$(tests/infra/kubernetes-up.sh)
#   tests/infra/kubernetes-up.sh runs       says by its exit code whether it does
#   tests/infra/kubernetes-up.sh stop       ends it and all in it; what is built stays
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)/kubernetes
. "$here/place.sh"

answers() { [ -e "$config" ] && kube --request-timeout=5s get --raw /readyz >/dev/null 2>&1; }

case ${1:-} in
  runs) answers; exit ;;
  stop) "$here/down.sh"; exit ;;
esac
for program in etcd containerd runc iptables nft ip busybox openssl curl nsenter /usr/lib/cni/bridge; do
  command -v $program >/dev/null || { echo "kubernetes-up.sh: no $program here; run $here/setup.sh" >&2; exit 1; }
done
[ "$(id -u)" = 0 ] || { echo "kubernetes-up.sh: needs root" >&2; exit 1; }
mkdir -p "$root"
exec 9>"$root/lock"; flock 9   # two that start at once make one cluster
if ! answers; then
  { chrt --idle 0 "$here/build.sh"; "$here/images.sh"; "$here/down.sh"; "$here/up.sh"; } >&2   # others may be at work meanwhile
fi
echo "$config"
