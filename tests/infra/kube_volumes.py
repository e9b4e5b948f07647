"""Volumes for claims of the sandbox, on a cluster that provides none by itself: folders of the machine that all of the
cluster's nodes are on."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from veloz_chaos.errors import Missing
from veloz_chaos.mechanisms import kube_api

LABEL = "veloz-chaos.test"


@contextmanager
def volumes(namespace: str, claims: Sequence[str]) -> Iterator[None]:
    """One for each claim, kept for it; gone afterwards, with what was in them. The namespace must be gone by then."""
    api = kube_api.client()
    folder = Path(tempfile.mkdtemp(prefix="veloz-chaos-volumes-"))
    folder.chmod(0o755)
    names = [f"vct-{namespace}-{claim}-{os.getpid()}" for claim in claims]
    try:
        for name, claim in zip(names, claims, strict=True):
            (folder / claim).mkdir()
            (folder / claim).chmod(0o777)
            api.post(kube_api.path("persistentvolumes"), _volume(name, namespace, claim, folder / claim))
        yield
    finally:
        for name in names:
            with suppress(Missing):
                api.delete(kube_api.path("persistentvolumes", None, name))
        shutil.rmtree(folder, ignore_errors=True)


def _volume(name: str, namespace: str, claim: str, folder: Path) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name, "labels": {LABEL: str(os.getpid())}},
        "spec": {
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain",
            "claimRef": {"namespace": namespace, "name": claim},
            "hostPath": {"path": str(folder)},
        },
    }
