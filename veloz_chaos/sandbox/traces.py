"""What `up` leaves in a directory, and how `down` removes it: these names and nothing else."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path

from veloz_chaos.errors import UsageError
from veloz_chaos.sandbox import settings as settings_file
from veloz_chaos.sandbox.settings import SERVICES, Settings, to_json

ENVIRONMENT, PROCESSES = "environment.yaml", "processes.jsonl"
DIRECTORIES = ("truth", "log", "engine", "exchange", "gateway")
FILES = (ENVIRONMENT, PROCESSES, *(f"{name}.pid" for name in (*SERVICES, "supervisor")))


def leave(directory: Path, ports: Mapping[str, int], flaws: tuple[str, ...]) -> Settings:
    """Make the directory and its settings file. Raises UsageError if somebody else is doing that right now."""
    made = [path for path in (directory, *directory.parents) if not path.exists()]
    directory.mkdir(parents=True, exist_ok=True)
    settings = Settings(directory, ports, flaws, tuple(reversed(made)))
    try:
        with open(directory / settings_file.FILE, "x") as file:
            file.write(to_json(settings))
    except FileExistsError:
        raise UsageError(f"a sandbox is being started in {directory}; wait for it or use another directory") from None
    for name in ("truth", "log"):
        (directory / name).mkdir(exist_ok=True)
    return settings


def write_environment(settings: Settings, base: Path | None) -> None:
    """The environment file; every value is JSON, which is YAML."""
    values = environment_values(settings)
    lines = ["kind: Environment", "version: 1", "name: sandbox"]
    lines += [f"uses: [{json.dumps(str(base.resolve()))}]"] if base else []
    lines += ["values:", *(f"  {name}: {json.dumps(value)}" for name, value in values.items())]
    (settings.directory / ENVIRONMENT).write_text("\n".join(lines) + "\n")


def environment_values(settings: Settings) -> dict[str, str]:
    ports = settings.ports
    urls = {name: f"http://127.0.0.1:{ports[name]}" for name in ("gateway", "exchange", "supervisor")}
    numbers = {"engine-port": str(ports["engine"]), "gateway-port": str(ports["gateway"])}
    return {"directory": str(settings.directory), **urls, "links": f"127.0.0.1:{ports['links']}", **numbers}


def remove(directory: Path) -> None:
    """Remove what `up` made, with the directories it had to create, as far as they are empty."""
    try:
        made = settings_file.read(directory).made
    except (FileNotFoundError, ValueError):
        made = ()
    if not (directory / settings_file.FILE).exists():
        return
    for name in DIRECTORIES:
        shutil.rmtree(directory / name, ignore_errors=True)
    for name in (*FILES, settings_file.FILE):
        (directory / name).unlink(missing_ok=True)
    for path in reversed(made):
        with contextlib.suppress(OSError):
            path.rmdir()
