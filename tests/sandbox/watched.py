"""A sandbox with monitoring as tests use it: what fired by Prometheus's own word, and whom the Alertmanager told."""

from __future__ import annotations

import math
import time
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.sandbox.stack import Stack, call, processes_of, until
from veloz_chaos.sandbox import control, monitoring
from veloz_chaos.sandbox.settings import MONITORS

TEMPLATES = Path(__file__).parents[2] / "environments" / "monitoring"


class Watched(Stack):
    def prometheus(self, what: str) -> Any:
        return call(f"{self.sandbox.alerts['prometheus']}/api/v1/{what}").json

    def watches(self) -> bool:
        """Its targets have answered and its rules were evaluated since it was started."""
        return monitoring.watches(self.prometheus("targets?state=active"), self.prometheus("rules"))

    def alerts(self) -> list[dict[str, Any]]:
        """Pending and firing."""
        return list(self.prometheus("alerts")["data"]["alerts"])

    def firing(self) -> dict[str, dict[str, str]]:
        """Failure (or, of an alert that names none, its name) -> labels."""
        fire = [one["labels"] for one in self.alerts() if one["state"] == "firing"]
        return {labels.get("failure") or labels["alertname"]: labels for labels in fire}

    def labels(self, failure: str) -> dict[str, str]:
        """Of what fires; none while it does not."""
        return self.firing().get(failure, {})

    def fired_since(self, wall: float) -> set[str]:
        """Whatever fired in any evaluation."""
        seconds = math.ceil(time.time() - wall)
        expression = f'last_over_time(ALERTS{{alertstate="firing"}}[{seconds}s])'
        series = self.prometheus(f"query?query={urllib.parse.quote(expression)}")["data"]["result"]
        return {one["metric"].get("failure") or one["metric"]["alertname"] for one in series}

    def caught(self, after: int = 0) -> list[dict[str, Any]]:
        path = f"/api/notifications?after={after}"
        return list(call(self.sandbox.alerts["catcher"] + path).json["notifications"])

    def told(self, failure: str, action: str, after: int) -> set[str]:
        """The channels that were told so of a failure."""
        return {one["name"] for one in self.caught(after) if one["action"] == action and failure in one["failures"]}


def start(directory: Path, *flaws: str, **options: Any) -> Watched:
    base = TEMPLATES.parent / "sandbox.yaml"
    return Watched(control.up(directory, free_ports=True, flaws=flaws, base=base, monitored=TEMPLATES, **options))


@contextmanager
def started(directory: Path, *flaws: str, **options: Any) -> Iterator[Watched]:
    """Up while it lasts; then nothing of it is left."""
    stack = start(directory, *flaws, **options)
    pids = [stack.pid(name) for name in MONITORS]
    try:
        yield stack
    finally:
        control.down(directory)
    until(lambda: gone(directory, pids))
    assert not directory.exists()


def gone(directory: Path, pids: list[int]) -> bool:
    return not processes_of(directory) and not any(Path(f"/proc/{pid}/cmdline").exists() for pid in pids)
