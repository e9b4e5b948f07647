"""The log of one start of a container, as an API server streams it, without a server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.unit.test_mechanism_docker_log import AT, STAMP
from veloz_chaos.mechanisms.kube_log import Logs
from veloz_chaos.mechanisms.log_tail import PART, Line

LONG = "x" * (6 * PART)
RUNNING = {"name": "app", "containerID": "containerd://c1", "state": {"running": {}}}


def read(data: bytes) -> Sequence[Line]:
    async def get(_: str) -> dict[str, Any]:
        return {"metadata": {"name": "p"}, "spec": {}, "status": {"containerStatuses": [RUNNING]}}

    async def stream(_: str, __: Any) -> AsyncIterator[bytes]:
        yield data

    @asynccontextmanager
    async def connected() -> AsyncIterator[Any]:
        yield SimpleNamespace(get=get, stream=stream)

    logs = Logs(cast(Any, SimpleNamespace(namespace="n")), cast(Any, SimpleNamespace(connected=connected)))

    async def lines() -> Sequence[Line]:
        return [line async for line in logs.lines("p/app/c1")]

    return asyncio.run(lines())


@pytest.mark.parametrize("end", ["", "\n"])
def test_parts_that_the_server_joined_are_among_those_asked_for(end: str) -> None:
    found = read(f"{STAMP} short\n{STAMP} {LONG}{end}".encode())
    assert [line for line in found if line[2] is not None] == [(1, AT, "short"), *([(1, AT, LONG)] if end else [])]
    assert len(found) >= 1 + 6
