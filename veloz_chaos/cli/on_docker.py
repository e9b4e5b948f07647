"""`--on docker`: the sandbox's services as containers, for `veloz-chaos sandbox`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from veloz_chaos.cli import choice, screen
from veloz_chaos.reports.table import table
from veloz_chaos.sandbox import docker


def up(flaws: Sequence[str], variant: str, monitored: bool) -> list[str]:
    docker.up(folder(), flaws=flaws, variant=variant, monitored=monitored)
    environment = "compose-child" if variant == "child" else "compose-monitored" if monitored else "compose"
    places = [f"{name}: http://127.0.0.1:{port}" for name, port in docker.ALERTS.items()] if monitored else []
    return [f"the sandbox is up on Docker: http://127.0.0.1:{docker.GATEWAY}", f"environment: {environment}", *places]


def down() -> list[str]:
    return ["the sandbox on Docker is down" if docker.down(folder()) else "no sandbox was up on Docker"]


def status(as_json: bool) -> tuple[bool, list[str]]:
    """Is it up, and what to say of it."""
    found = docker.status()
    if as_json:
        services = {name: vars(one) for name, one in found.services.items()} if found else {}
        of_all = {"flaws": found.flaws, "variant": found.variant} if found else {"flaws": [], "variant": ""}
        return found is not None, [json.dumps({"up": found is not None, **of_all, "services": services})]
    if found is None:
        return False, ["no sandbox is up on Docker; start it with: veloz-chaos sandbox up --on docker"]
    rows = [
        [name, one.state, one.health or "—", str(one.restarts), one.container] for name, one in found.services.items()
    ]
    head = table(["service", "state", "health", "restarts", "container"], rows, screen.width())
    flaws = f"flaws: {', '.join(found.flaws)}" if found.flaws else "no flaws"
    return True, [*head, f"variant: {found.variant or 'usual'}", flaws]


def folder() -> Path:
    """With the Compose files. Raises UsageError."""
    return choice.folder("compose", "compose.yaml")
