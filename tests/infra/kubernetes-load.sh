#!/usr/bin/env bash
# kubernetes-load.sh IMAGE…: images of the tests' Docker Engine into every node of the tests' cluster, which pulls none.
# Pods name them in full, docker.io/library/NAME:TAG, with imagePullPolicy Never or IfNotPresent. What a node has, it keeps.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/kubernetes/place.sh"
export DOCKER_HOST=${VELOZ_CHAOS_TEST_DOCKER:-unix://${root%/*}/docker/docker.sock}

full() {  # the name that the node knows it by
  local name=$1
  case ${name##*/} in *:*) ;; *) name+=:latest ;; esac
  case $name in
    *.*/* | *:*/* | localhost/*) echo "$name" ;;
    */*) echo "docker.io/$name" ;;
    *) echo "docker.io/library/$name" ;;
  esac
}
has() {  # node, image's full name, its id: one image under both
  [ "$(node "$1" images ls "name==$2" "name==$3" | awk 'NR > 1 { print $3 }' | sort | uniq -c | awk '{ print $1 }')" = 2 ]
}

compgen -G "$sockets/n*/containerd.sock" >/dev/null || {
  echo "kubernetes-load.sh: the tests' cluster does not run; start it by tests/infra/kubernetes-up.sh" >&2; exit 1; }
exec 9>"$root/load.lock"; flock 9
archive=$root/load.tar
trap 'rm -f "$archive"' EXIT
for image in "$@"; do
  id=$(docker image inspect --format '{{.Id}}' "$image")
  wanting=()
  for socket in "$sockets"/n*/containerd.sock; do
    number=${socket#"$sockets/n"} number=${number%%/*}
    has "$number" "$(full "$image")" "$id" || wanting+=("$number")
  done
  [ ${#wanting[@]} -gt 0 ] || continue
  docker save --output "$archive" "$image"
  loading=()
  for number in "${wanting[@]}"; do
    {
      node "$number" images remove "$(full "$image")" >/dev/null 2>&1 || true  # or the node does not take note of the new id
      node "$number" images import --snapshotter overlayfs "$archive" >/dev/null
    } & loading+=($!)
  done
  for pid in "${loading[@]}"; do wait "$pid"; done
done
