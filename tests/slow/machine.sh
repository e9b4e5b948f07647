#!/usr/bin/env bash
# Makes what `tests.slow.machine` boots, from packages: Debian's cloud kernel (control groups of version 2, netem), and a
# root file system with Docker Engine, its images, iptables, nftables and tc. Prints the folder with kernel, initrd, root.ext4.
# The images are those of the engine of DOCKER_HOST. Made once (2 min) below INFRA_DIR/machine, and again when this changes.
#   apt-get install -y --no-install-recommends qemu-system-x86 debootstrap docker.io cpio
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
infra=${INFRA_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/veloz-chaos-infra}
images=(python:3.11-slim busybox:latest ghcr.io/shopify/toxiproxy:2.12.0)
packages=(docker.io iptables nftables iproute2 kmod procps util-linux conntrack openssl)
PATH=$PATH:/usr/sbin:/sbin

for program in qemu-system-x86_64 debootstrap cpio docker mke2fs; do
  command -v $program >/dev/null || {
    echo "machine.sh: no $program here; apt-get install qemu-system-x86 debootstrap docker.io cpio e2fsprogs" >&2; exit 1; }
done
[ "$(id -u)" = 0 ] || { echo "machine.sh: needs root, for chroot and devices" >&2; exit 1; }
recipe=$({ cat "$0" "$here/init" "$here/initrd"; docker image inspect --format '{{.Id}}' "${images[@]}"; } | sha256sum | cut -c -16)
made=$infra/machine/$recipe
mkdir -p "$infra/machine"
exec 9>"$infra/machine/lock"; flock 9
if [ -d "$made" ]; then echo "$made"; exit 0; fi

work=$(mktemp -d "$infra/machine/make.XXXXXX")
cleaned() { umount -q "$work/root/proc" 2>/dev/null || true; rm -rf "$work"; }
trap cleaned EXIT
root=$work/root

"$here/../infra/images.sh" root "$root"
printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"; chmod 755 "$root/usr/sbin/policy-rc.d"
cp /etc/resolv.conf "$root/etc/resolv.conf"
mount -t proc proc "$root/proc"
inside() { chroot "$root" env DEBIAN_FRONTEND=noninteractive LC_ALL=C "$@"; }
{ inside apt-get -qq update; inside apt-get -qq install -y --no-install-recommends "${packages[@]}"; } >"$work/log" 2>&1 9>&- ||
  { tail -30 "$work/log" >&2; exit 1; }
rm -rf "$root"/var/{cache/apt/*.bin,cache/apt/archives/*.deb,lib/apt/lists/*} "$root"/usr/share/{doc,man,locale,lintian}/*
inside update-alternatives --quiet --set iptables /usr/sbin/iptables-nft

mkdir "$work/debs"
kernel=$(apt-cache depends linux-image-cloud-amd64 | awk '/Depends: linux-image/ { print $2; exit }')
(cd "$work/debs" && apt-get -qq download "$kernel" busybox-static 2>/dev/null && for deb in *.deb; do dpkg -x "$deb" .; done)
version=${kernel#linux-image-}
modules=$work/debs/lib/modules/$version
cp -a "$work/debs/lib/modules" "$root/usr/lib/"
inside depmod "$version"
umount "$root/proc"

mkdir -p "$work"/initrd/{bin,dev,root}
cp "$work/debs/bin/busybox" "$work/initrd/bin/"
cp "$here/initrd" "$work/initrd/init"
for name in virtio/virtio virtio/virtio_ring virtio/virtio_pci_modern_dev virtio/virtio_pci_legacy_dev virtio/virtio_pci block/virtio_blk; do
  cp "$modules/kernel/drivers/$name.ko" "$work/initrd/"
done
chmod 755 "$work/initrd/init"

# Their layers, as the engine stores them: an engine that nobody else sees, without a network.
install -m 755 "$here/init" "$root/sbin/init"
stored=$(mktemp -d /tmp/vc-XXXX)
docker save "${images[@]}" | INFRA_DIR=$stored unshare --net sh -c '
  host=$("$1" 9>&-) && DOCKER_HOST=$host docker load >/dev/null; code=$?; "$1" stop; exit $code' sh "$here/../infra/docker-up.sh"
umount -q "$stored/docker/data" 2>/dev/null || true
rm -rf "$root/var/lib/docker"
mv "$stored/docker/data" "$root/var/lib/docker"
rm -rf "$stored"

mkdir "$work/done"
cp "$work/debs/boot/vmlinuz-$version" "$work/done/kernel"
(cd "$work/initrd" && find . | cpio --quiet -o -H newc | gzip -1) >"$work/done/initrd"
mke2fs -q -t ext4 -O ^has_journal -d "$root" "$work/done/root.ext4" 4G >/dev/null
rm -rf "$infra"/machine/????????????????  # older makes
mv "$work/done" "$made"
echo "$made"
