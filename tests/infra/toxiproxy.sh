#!/usr/bin/env bash
# Builds the Toxiproxy server from its Go module into INFRA_DIR/bin, unless it is there already. Needs Go and network.
set -euo pipefail
infra=${INFRA_DIR:-$HOME/.cache/veloz-chaos-infra}
version=2.12.0
module=github.com/Shopify/toxiproxy/v2
server=$infra/bin/toxiproxy-server

if [ -x "$server" ]; then echo "$server"; exit 0; fi
mkdir -p "$infra/bin"
PATH=$PATH:/usr/local/go/bin CGO_ENABLED=0 GOTOOLCHAIN=local GOBIN=$infra/bin \
    go install -trimpath -ldflags "-s -w -X $module.Version=$version" "$module/cmd/server@v$version"
mv "$infra/bin/server" "$server"
echo "$server"
