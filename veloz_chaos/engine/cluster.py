"""What a run is to the cluster that its environment names: the holder of a lease. Imported only where there is one."""

from __future__ import annotations

import getpass
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from veloz_chaos.core import event as ev
from veloz_chaos.core.cluster import Cluster
from veloz_chaos.errors import Error, Refused, TargetError
from veloz_chaos.mechanisms import kube_lease
from veloz_chaos.mechanisms.kube_api import Api, Forbidden, Place, client
from veloz_chaos.mechanisms.kube_lease import Lease, Wait


def place(cluster: Cluster) -> Place:
    return Place(cluster.context or None, cluster.kubeconfig or None)


def server(cluster: Cluster) -> Api:
    return client(place(cluster))


def holder(who: str, host: str) -> str:
    """`who`: `run 1a2b3c4d`, `revert`. The same for a run's guardian."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        user = str(os.getuid())
    return f"{who} ({user}@{host})"


@contextmanager
def leased(cluster: Cluster, holder: str, *, wait: Wait | None = None) -> Iterator[Lease]:
    """Raises Refused, with the holder's name, or what the server says."""
    lease = _take(cluster, holder, wait=wait)
    try:
        yield lease
    finally:
        lease.release()


def _take(cluster: Cluster, holder: str, *, wait: Wait | None) -> Lease:
    asked = cluster.lease
    try:
        return kube_lease.take(server(cluster), asked.namespace, asked.name, holder, wait=wait)
    except TargetError as error:
        raise Refused(f"the lease {asked.namespace}/{asked.name} can't be taken: {error}") from error


def forbidden(refusal: Refused) -> bool:
    """Is it for want of a right that a lease can't be taken?"""
    return isinstance(refusal.__cause__, Forbidden)


@contextmanager
def kept(started: ev.RunStarted) -> Iterator[None]:
    """The dead runner's lease, on in its name, so that nobody starts before its faults are out. Costs no time, and
    whatever comes of it, the body runs."""
    cluster = started.plan.cluster
    if cluster is None:
        yield
        return
    with ThreadPoolExecutor(1, thread_name_prefix="lease") as thread:
        taking = thread.submit(_take, cluster, holder(f"run {started.run}", started.host), wait=None)
        try:
            yield
        finally:
            try:
                taking.result().release()
            except Error as error:
                print(error, file=sys.stderr)
