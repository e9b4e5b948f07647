"""image.py FOLDER OUT NAME: an archive of an image with one layer, the folder. The same bytes for the same folder."""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import platform
import tarfile
from pathlib import Path
from typing import Any

PATHS = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
OCI = "application/vnd.oci.image"
MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("name")
    parser.add_argument("--entrypoint")
    parser.add_argument("--command")
    parser.add_argument("--user")
    wanted = parser.parse_args()
    own = {"Entrypoint": wanted.entrypoint, "Cmd": wanted.command}
    run = {key: [word] for key, word in own.items() if word} | ({"User": wanted.user} if wanted.user else {})
    wanted.out.write_bytes(archive(wanted.name, layer(wanted.folder), run))


def layer(folder: Path) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path in sorted(folder.rglob("*")):
            tar.add(path, arcname=str(path.relative_to(folder)), recursive=False, filter=_owned_by_root)
    return packed.getvalue()


def archive(name: str, content: bytes, run: dict[str, Any]) -> bytes:
    blobs: list[bytes] = []

    def blob(kind: str, data: bytes) -> dict[str, Any]:
        blobs.append(data)
        return {"mediaType": f"{OCI}.{kind}", "digest": _digest(data), "size": len(data)}

    config = {
        "architecture": MACHINES[platform.machine()],
        "os": "linux",
        "config": {"Env": [PATHS], "WorkingDir": "/", **run},
        "rootfs": {"type": "layers", "diff_ids": [_digest(content)]},
    }
    parts = {"config": blob("config.v1+json", _json(config)), "layers": [blob("layer.v1.tar", content)]}
    manifest = blob("manifest.v1+json", _json({"schemaVersion": 2, "mediaType": f"{OCI}.manifest.v1+json", **parts}))
    manifest["annotations"] = {"io.containerd.image.name": name}
    files = {f"blobs/{_digest(data).replace(':', '/')}": data for data in blobs}
    files["oci-layout"] = _json({"imageLayoutVersion": "1.0.0"})
    files["index.json"] = _json({"schemaVersion": 2, "manifests": [manifest]})
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for path, data in files.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return packed.getvalue()


def _owned_by_root(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.mtime = entry.uid = entry.gid = 0
    entry.uname = entry.gname = "root"
    return entry


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, sort_keys=True).encode()


if __name__ == "__main__":
    main()
