#!/usr/bin/env bash
# Builds Kubernetes, a slim CoreDNS and the tests' own programs from Go modules into INFRA_DIR/kubernetes/bin.
# Nothing to do if they are there, of these versions and sources. Cold: some 20 minutes of processor time, and GBs on the way.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/place.sh"
KUBE=1.35.4     # its staging modules are 0.35.4
COREDNS=1.12.2  # asks for hardly anything newer than this Kubernetes does, so that most is compiled once for both
commands=(kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy kubectl)
own=(netpol coredns app pause)

recipe=$(cat <(echo "$KUBE $COREDNS ${commands[*]}") "$here"/*/main.go | sha256sum)
if [ "$(cat "$bin/recipe" 2>/dev/null)" = "$recipe" ]; then exit 0; fi
. "$here/../go.sh" 25
work=$root/build
export GOMODCACHE=$work/modules GOCACHE=$work/cache GOFLAGS='-mod=mod -modcacherw -trimpath -buildvcs=false'
mkdir -p "$work/out" "$bin"
for name in "${own[@]}"; do cp -r "$here/$name" "$work/"; done
cd "$work"
go mod download "k8s.io/kubernetes@v$KUBE"
mod=$GOMODCACHE/cache/download/k8s.io/kubernetes/@v/v$KUBE.mod
{
  echo "module cluster"
  grep -E '^(go|godebug) ' "$mod"
  echo "require k8s.io/kubernetes v$KUBE"
  echo "require github.com/coredns/coredns v$COREDNS"
  awk -v version="v0.${KUBE#1.}" '$2 == "v0.0.0" && !seen[$1]++ { print "replace " $1 " => " $1 " " version }' "$mod"
} >go.mod
rm -f go.sum
stamp='-s -w'
for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
  stamp+=" -X $package.gitVersion=v$KUBE -X $package.gitMajor=1 -X $package.gitMinor=$(cut -d . -f 2 <<<$KUBE)"
done
go build -ldflags "$stamp" -o out/ "${commands[@]/#/k8s.io/kubernetes/cmd/}" "${own[@]/#/./}"
mv -f out/* "$bin/"
echo "$recipe" >"$bin/recipe"
rm -rf "$work"
