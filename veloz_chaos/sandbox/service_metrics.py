"""The platform's metrics: what it tells of its services, and they can't tell while they are dead.

As kube-state-metrics and cAdvisor do: whether each service runs, how often and of what it died; and of the gateway, the
one with limits, how far these are used up. Of processes the supervisor tells all of it. Of containers and pods the
watcher tells who died, and of a container how much CPU it wants; the gateway itself tells what is seen from within.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from veloz_chaos.sandbox.limits import LIMITED, OOM, Used
from veloz_chaos.sandbox.metrics import series

#: Of what a service dies: by a signal, for its memory, by itself.
REASONS = ("killed", OOM, "exited")


class Told(NamedTuple):
    """`gone`: of what it died, as long as it does not serve again."""

    name: str
    up: bool
    restarts: int
    gone: str
    deaths: Mapping[str, int]


def reason(last_exit: str) -> str:
    """As a label; `last_exit` as in /status."""
    return "exited" if last_exit.startswith("exit ") else last_exit


def told(name: str, state: str, restarts: int, last_exit: str, deaths: Counter[str]) -> Told:
    return Told(name, state == "healthy", restarts, "" if state == "healthy" else reason(last_exit), deaths)


def text(services: Sequence[Told], used: Used) -> str:
    return of_services(services) + of_limits(used)


def of_services(services: Sequence[Told]) -> str:
    lines = [
        *series("veloz_service_up", "gauge", [(_of(one.name), int(one.up)) for one in services]),
        *series("veloz_service_restarts_total", "counter", [(_of(one.name), one.restarts) for one in services]),
        *series("veloz_service_deaths_total", "counter", [(of, one.deaths[why]) for of, why, one in _each(services)]),
        *series("veloz_service_gone", "gauge", [(of, int(one.gone == why)) for of, why, one in _each(services)]),
    ]
    return "\n".join(lines) + "\n"


def of_limits(used: Used) -> str:
    return of_space(used) + of_cpu(used.cpu, used.cpu_limit)


def of_space(used: Used) -> str:
    lines = [
        *_limited("veloz_memory_used_bytes", "gauge", used.memory),
        *_limited("veloz_memory_limit_bytes", "gauge", "+Inf" if used.memory_limit is None else used.memory_limit),
        *_limited("veloz_volume_free_bytes", "gauge", used.free, volume="logs"),
        *_limited("veloz_volume_size_bytes", "gauge", used.size, volume="logs"),
    ]
    return "\n".join(lines) + "\n"


def of_cpu(wanted: float, limit: float) -> str:
    """Seconds, and CPUs."""
    lines = [
        *_limited("veloz_cpu_wanted_seconds_total", "counter", round(wanted, 3)),
        *_limited("veloz_cpu_limit_cpus", "gauge", limit),
    ]
    return "\n".join(lines) + "\n"


def _each(services: Sequence[Told]) -> Iterator[tuple[str, str, Told]]:
    return ((_of(one.name, reason=why), why, one) for one in services for why in REASONS)


def _limited(name: str, kind: str, value: float | str, **labels: str) -> list[str]:
    return series(name, kind, [(_of(LIMITED, **labels), value)])


def _of(service: str, **labels: str) -> str:
    return "{" + ",".join(f'{name}="{value}"' for name, value in {"service": service, **labels}.items()) + "}"
