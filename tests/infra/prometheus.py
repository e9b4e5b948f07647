"""The real Prometheus and Alertmanager, with their tools that check files."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests.infra.require import absent
from veloz_chaos.sandbox import monitoring


def require() -> None:
    """Skips the test, or fails it, where they are not installed."""
    if monitoring.programs() is None or not (shutil.which("promtool") and shutil.which("amtool")):
        absent("prometheus", "no Prometheus and Alertmanager; apt-get install prometheus prometheus-alertmanager")


def check(folder: Path) -> list[str]:
    """What is wrong with the files of a monitoring, by the tools' own word."""
    return [
        f"{' '.join(command)}: {done.stdout}{done.stderr}"
        for command in (
            ["promtool", "check", "config", "prometheus.yml"],
            ["promtool", "check", "rules", "rules.yml"],
            ["amtool", "check-config", "alertmanager.yml"],
        )
        if (done := subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)).returncode
    ]
