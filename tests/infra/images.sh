#!/usr/bin/env bash
# Makes the base images that the tests' Dockerfiles and compose files name, from packages, without an image registry.
#   python:3.11-slim                      Debian with Python 3.11, pip and apt-get; both take packages from where this host does
#   busybox:latest                        Debian's static busybox under all of its names
#   ghcr.io/shopify/toxiproxy:2.12.0      the server and its command line that toxiproxy.sh builds
# Into the engine of DOCKER_HOST. An image that is there already stays, unless an older version of this script made it.
#   tests/infra/images.sh root FOLDER     only unpacks that Debian, before it becomes the image of Python
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
infra=${INFRA_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/veloz-chaos-infra}
work=$infra/images
packages=python3.11,python3.11-venv,python3-pip,ca-certificates
root=$work/debian-$(cksum <<<"$packages" | cut -d ' ' -f 1).tar
bundle=/etc/ssl/certs/ca-certificates.crt
label=veloz-chaos.recipe
PATH=$PATH:/usr/sbin:/sbin

need() {
  command -v "$1" >/dev/null || { echo "images.sh: no $1 here; apt-get install --no-install-recommends $2" >&2; exit 1; }
}
debian() {  # the tar of a small Debian, made once (70 s)
  [ ! -f "$root" ] || return 0
  need debootstrap debootstrap
  local mirror
  mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Codename: bookworm' 'Created-By: Packages' 2>/dev/null | head -1 || true)
  rm -rf "$work/root"
  debootstrap --variant=minbase --include=$packages bookworm "$work/root" ${mirror:+"$mirror"} \
    >"$work/debootstrap.log" 2>&1 || { tail -5 "$work/debootstrap.log" >&2; exit 1; }
  rm -rf "$work"/root/var/{cache/apt/*.bin,cache/apt/archives/*.deb,lib/apt/lists/*,log/bootstrap.log} \
    "$work"/root/usr/share/{doc,man,locale,lintian}/*
  tar -C "$work/root" --exclude='./dev/*' -cf "$root.part" .
  rm -rf "$work/root"
  mv "$root.part" "$root"
}
packages_like_here() {  # the image at $1 takes packages by apt and pip as this host does, and trusts whom it trusts
  local at=$1 certificate
  mkdir -p "$at"/etc/apt/{apt.conf.d,sources.list.d} "$at/usr/local/share/ca-certificates"
  rm -f "$at/etc/apt/sources.list"
  for file in /etc/apt/sources.list /etc/apt/sources.list.d/debian.sources; do
    if [ -f "$file" ]; then cp "$file" "$at$file"; fi
  done
  apt-config dump 2>/dev/null | grep -E '^Acquire::(Check|http|https|Retries)' >"$at/etc/apt/apt.conf.d/90host" || true
  if [ -f /etc/pip.conf ]; then cp /etc/pip.conf "$at/etc/pip.conf"; fi
  [ -f "$bundle" ] || return 0
  awk -v out="$at/usr/local/share/ca-certificates" '/BEGIN CERT/ { file = sprintf("%s/host-%03d.crt", out, ++n) } file { print > file }' "$bundle"
  for certificate in "$at"/usr/local/share/ca-certificates/host-*.crt; do  # keep those that Debian has not
    if grep -qxF -- "$(sed -n 3p "$certificate")" "$at$bundle"; then rm "$certificate"; fi
  done
  chroot "$at" update-ca-certificates >/dev/null 2>&1
}
unpacked() {  # that Debian, into the folder at $1, which must be new
  debian
  mkdir "$1"
  tar -C "$1" -xf "$root"
  mknod -m 666 "$1/dev/null" c 1 3; mknod -m 666 "$1/dev/urandom" c 1 9
  packages_like_here "$1"
}
python_image() {
  local at=$work/python
  unpacked "$at"
  # Where the real image has them; `site-packages` because Dockerfiles name it.
  rm -f "$at/usr/lib/python3.11/EXTERNALLY-MANAGED"
  mkdir -p "$at/usr/local/lib/python3.11/dist-packages"
  ln -s dist-packages "$at/usr/local/lib/python3.11/site-packages"
  for name in python python3 python3.11; do ln -sf /usr/bin/python3.11 "$at/usr/local/bin/$name"; done
  for name in pip pip3 pip3.11; do ln -sf /usr/bin/pip3 "$at/usr/local/bin/$name"; done
  printf '#!/bin/sh\nexit 101\n' >"$at/usr/sbin/policy-rc.d"; chmod 755 "$at/usr/sbin/policy-rc.d"  # no service starts
  echo 'DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/*.bin || true"; };' >"$at/etc/apt/apt.conf.d/docker-clean"
  imported "$at" python:3.11-slim -c 'CMD ["python3"]' -c 'ENV LANG=C.UTF-8' -c 'ENV PYTHON_VERSION=3.11' \
    -c 'ENV PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin'
}
busybox_image() {
  local at=$work/busybox applet
  mkdir -p "$at"/{bin,etc,tmp,root,var/tmp,usr/bin,home,dev}
  (cd "$work" && rm -rf deb && mkdir deb && cd deb && apt-get download -q busybox-static >/dev/null 2>&1 && dpkg -x busybox-static_*.deb .)
  cp "$work/deb/bin/busybox" "$at/bin/"
  for applet in $("$at/bin/busybox" --list); do [ -e "$at/bin/$applet" ] || ln "$at/bin/busybox" "$at/bin/$applet"; done
  chmod 1777 "$at/tmp" "$at/var/tmp"
  printf 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/home:/bin/false\n' >"$at/etc/passwd"
  printf 'root:x:0:\nnogroup:x:65534:\n' >"$at/etc/group"
  rm -rf "$work/deb"
  imported "$at" busybox:latest -c 'CMD ["sh"]'
}
toxiproxy_image() {
  local at=$work/toxiproxy
  mkdir "$at"
  "$here/toxiproxy.sh" >/dev/null
  cp "$infra/bin/toxiproxy-server" "$at/toxiproxy"
  cp "$infra/bin/toxiproxy-cli" "$at/toxiproxy-cli"
  imported "$at" ghcr.io/shopify/toxiproxy:2.12.0 -c 'ENTRYPOINT ["/toxiproxy"]' -c 'CMD ["-host=0.0.0.0"]' -c 'EXPOSE 8474'
}
imported() {  # folder, name, changes…: into the engine, under the label of this recipe
  local at=$1 name=$2; shift 2
  tar -C "$at" --numeric-owner --exclude='./dev/*' -c . | docker import "$@" -c "LABEL $label=$recipe" - "$name" >/dev/null
}
wanted() {  # not in the engine, or an older make of ours
  local has
  has=$(docker image inspect --format "{{index .Config.Labels \"$label\"}}/" "$1" 2>/dev/null) || return 0
  [ "$has" != / ] && [ "$has" != "$recipe/" ]
}
made() {  # name, maker
  if ! wanted "$1"; then echo "$1 is there"; return; fi
  rm -rf "$work"/{python,busybox,toxiproxy}
  local before=$SECONDS
  "$2"
  rm -rf "$work"/{python,busybox,toxiproxy}
  echo "$1 made in $((SECONDS - before)) s"
}

mkdir -p "$work"
exec 9>"$work/lock"; flock 9   # two that make them at once make them once
[ "$(id -u)" = 0 ] || { echo "images.sh: needs root, for chroot and devices" >&2; exit 1; }
if [ "${1:-}" = root ]; then unpacked "$2"; exit; fi
need docker docker.io
recipe=$({ cat "$0" "$here/toxiproxy.sh" "$bundle" /etc/pip.conf /etc/apt/sources.list{,.d/debian.sources} 2>/dev/null || true; } |
  sha256sum | cut -c -16)
made python:3.11-slim python_image
made busybox:latest busybox_image
made ghcr.io/shopify/toxiproxy:2.12.0 toxiproxy_image
