"""What an environment says of the cluster that its runs are known to, wherever they are started."""

from __future__ import annotations

from typing import Annotated

from pydantic import StringConstraints

from veloz_chaos.core.model import Written

Namespace = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$", max_length=63)]
ObjectName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$", max_length=200)]


class LeasePlace(Written):
    """Whoever holds it runs on the environment, and nobody else."""

    namespace: Namespace
    name: ObjectName = "veloz-chaos"


class MirrorPlace(Written):
    """What undoes a run is kept there, so that another machine can."""

    namespace: Namespace


class Cluster(Written):
    """`kubernetes: {lease: {…}, mirror: {…}, context: …}`. A mirror needs a lease: only that tells a run under way from
    one whose machine is gone."""

    lease: LeasePlace
    mirror: MirrorPlace | None = None
    context: str | None = None
    kubeconfig: str | None = None
