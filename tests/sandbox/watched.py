"""A sandbox with monitoring as tests use it: what fired by Prometheus's own word, and whom the Alertmanager told."""

from __future__ import annotations

import math
import time
import urllib.parse
from pathlib import Path
from typing import Any

from tests.sandbox.stack import Stack, call
from veloz_chaos.sandbox import control

TEMPLATES = Path(__file__).parents[2] / "environments" / "monitoring"


class Watched(Stack):
    def query(self, expression: str) -> list[dict[str, Any]]:
        path = f"/api/v1/query?query={urllib.parse.quote(expression)}"
        return list(call(self.sandbox.alerts["prometheus"] + path).json["data"]["result"])

    def alerts(self) -> list[dict[str, Any]]:
        """Pending and firing."""
        return list(call(self.sandbox.alerts["prometheus"] + "/api/v1/alerts").json["data"]["alerts"])

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
        series = self.query(f'last_over_time(ALERTS{{alertstate="firing"}}[{seconds}s])')
        return {one["metric"].get("failure") or one["metric"]["alertname"] for one in series}

    def caught(self, after: int = 0) -> list[dict[str, Any]]:
        path = f"/api/notifications?after={after}"
        return list(call(self.sandbox.alerts["catcher"] + path).json["notifications"])

    def told(self, failure: str, action: str, after: int) -> set[str]:
        """The channels that were told so of a failure."""
        return {one["name"] for one in self.caught(after) if one["action"] == action and failure in one["failures"]}


def start(directory: Path, *flaws: str, **options: Any) -> Watched:
    return Watched(control.up(directory, free_ports=True, flaws=flaws, monitored=TEMPLATES, **options))
