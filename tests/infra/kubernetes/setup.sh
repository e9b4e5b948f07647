#!/usr/bin/env bash
# Installs the Debian packages that the tests' cluster needs, those that are missing.
set -euo pipefail
missing=()
for package in etcd-server containerd runc containernetworking-plugins iptables nftables iproute2 busybox-static \
  openssl curl procps util-linux; do
  dpkg -s "$package" >/dev/null 2>&1 || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
