"""Volumes for claims of the sandbox, on a cluster that provides none by itself: folders of the machine that all of the
cluster's nodes are on."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.infra import cluster
from tests.infra.cluster import LABEL


@contextmanager
def volumes(config: str, namespace: str, claims: Sequence[str]) -> Iterator[None]:
    """One for each claim, kept for it; gone afterwards, with what was in them. The namespace must be gone by then."""
    folder = Path(tempfile.mkdtemp(prefix="veloz-chaos-volumes-"))
    folder.chmod(0o755)
    made = [_volume(namespace, claim, folder / claim) for claim in claims]
    try:
        for claim in claims:
            (folder / claim).mkdir()
            (folder / claim).chmod(0o777)
        cluster.run(config, "apply", "-f", "-", given=json.dumps({"apiVersion": "v1", "kind": "List", "items": made}))
        yield
    finally:
        names = [one["metadata"]["name"] for one in made]
        cluster.run(config, "delete", "persistentvolume", *names, "--ignore-not-found", "--timeout=30s")
        shutil.rmtree(folder, ignore_errors=True)


def _volume(namespace: str, claim: str, folder: Path) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": f"vct-{namespace}-{claim}-{os.getpid()}", "labels": {LABEL: str(os.getpid())}},
        "spec": {
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain",
            "claimRef": {"namespace": namespace, "name": claim},
            "hostPath": {"path": str(folder)},
        },
    }
