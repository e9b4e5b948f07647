#!/usr/bin/env bash
# Makes the images of the tests' cluster as OCI archives, of what build.sh made and Debian's packages hold; no registry.
#   registry.local/{pause:3.10,coredns:v1}   what the cluster itself runs
#   registry.local/app:v1                    what tests run: HTTP on 8080; /healthz, /readyz, /unready, /alloc?mb=, /work
#   registry.local/tools:v1                  busybox, ip, tc, iptables, nft, curl
# Nothing to do if they are there, of these programs.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/place.sh"
recipe=$(cat "$0" "$here/image.py" "$bin/recipe" | sha256sum)
if [ "$(cat "$images/recipe" 2>/dev/null)" = "$recipe" ]; then exit 0; fi
rm -rf "$images"; mkdir -p "$images"
work=$(mktemp -d "$root/images.XXXX")
trap 'rm -rf "$work"' EXIT

image() {  # name of the archive, of the image, options of image.py
  local archive=$1 name=$2; shift 2
  python3 "$here/image.py" "$work/$archive" "$images/$archive.tar" "$name" "$@"
}
with_libraries() {  # program: into tools, with the shared libraries that it loads
  local library
  cp -L --remove-destination "$1" "$tools/bin/"
  for library in $(ldd "$1" | grep -oE '/[^ ]+'); do
    mkdir -p "$tools$(dirname "$library")"; cp -Ln "$library" "$tools$library"
  done
}

for name in pause coredns app; do mkdir "$work/$name"; cp "$bin/$name" "$work/$name/"; done
tools=$work/tools
mkdir -p "$tools"/{bin,tmp,root,etc,proc,sys}
cp "$(command -v busybox)" "$tools/bin/busybox"
for applet in $("$tools/bin/busybox" --list); do [ -e "$tools/bin/$applet" ] || ln -s busybox "$tools/bin/$applet"; done
for program in ip tc xtables-nft-multi nft curl; do with_libraries "$(command -v $program)"; done
for name in iptables iptables-save; do ln -s xtables-nft-multi "$tools/bin/$name"; done
extensions=$(dirname "$(find /usr/lib /lib -name libxt_standard.so -print -quit)")
mkdir -p "$tools$extensions"; cp -r "$extensions/." "$tools$extensions/"
echo 'root:x:0:0:root:/root:/bin/sh' >"$tools/etc/passwd"

image pause registry.local/pause:3.10 --entrypoint /pause --user 65535:65535
image coredns registry.local/coredns:v1 --entrypoint /coredns
image app registry.local/app:v1 --entrypoint /app
image tools registry.local/tools:v1 --command /bin/sh
echo "$recipe" >"$images/recipe"
