"""Volumes for claims of the sandbox, on a cluster that provides none by itself: folders of the machine that all of the
cluster's nodes are on. They are bound to one all the same, as a disk is: a node that has had no pod with a claim yet
may be refused that claim at first, and asks again only after 15 s."""

from __future__ import annotations

import json
import os
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
    with tempfile.TemporaryDirectory(prefix="veloz-chaos-volumes-", ignore_cleanup_errors=True) as place:
        folder = Path(place)
        folder.chmod(0o755)
        for claim in claims:
            (folder / claim).mkdir()
            (folder / claim).chmod(0o777)
        there = ["get", "nodes", "-l", "!veloz-chaos/test-node", "-o", "name"]  # that a machine is behind
        node = cluster.run(config, *there).split()[0]  # one for all: a pod may claim several
        made = [_volume(namespace, claim, folder / claim, node) for claim in claims]
        names = [one["metadata"]["name"] for one in made]
        try:
            cluster.run(
                config, "apply", "-f", "-", given=json.dumps({"apiVersion": "v1", "kind": "List", "items": made})
            )
            yield
        finally:
            cluster.run(config, "delete", "persistentvolume", *names, "--ignore-not-found", "--timeout=30s")


def _volume(namespace: str, claim: str, folder: Path, node: str) -> dict[str, Any]:
    host = {"key": "kubernetes.io/hostname", "operator": "In", "values": [node.removeprefix("node/")]}
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
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [host]}]}},
        },
    }
