"""What a run prints by --json, and what tests ask of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from veloz_chaos.engine import files
from veloz_chaos.sandbox.flaws import FLAWS

ROOT = Path(__file__).parent.parent.parent
ALL = files.names("experiments")
#: What destroys, and needs backups of a real PostgreSQL: tried by test_disaster.py.
DISASTERS = [name for name in ALL if files.experiment(files.find("experiments", name))[0].irreversible]
EXPERIMENTS = [name for name in ALL if name not in DISASTERS]
EXPECT_AN_ALERT = [name for name in EXPERIMENTS if files.experiment(files.find("experiments", name))[0].expect.alert]
PAIRS = [(experiment, flaw, row) for flaw, row in FLAWS.items() for experiment in row.caught_by]
CAUGHT = [(experiment, flaw) for experiment, flaw, row in PAIRS if experiment in EXPERIMENTS and not row.monitored]
#: Of the monitoring, where it is started.
CAUGHT_BY_ALERT = [(experiment, flaw) for experiment, flaw, row in PAIRS if row.monitored]

#: What is judged of an alert.
ALERT = {f"alert: {what}" for what in ("raised", "severity", "channels", "resolved", "noise")}

#: One flaw for each experiment.
SEEDED = dict(CAUGHT)
#: One experiment for each flaw of the monitoring.
ALARMED = {
    "alert-wrong-severity": "engine-crash",
    "alert-wrong-channel": "exchange-failure",
    "alert-never-fires": "network-partition",
    "alert-never-resolves": "network-partition",
    "alert-storm": "network-partition",
}
#: What is another matter in a container or a pod: how it dies, and links by a helper.
FEW = ["pod-kill", "engine-crash", "network-partition"]
#: With EVERY=1 (`make experiments`) all that there is to try; else what shows the most in the time of a build.
EVERY = os.environ.get("EVERY") == "1"


def judged(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """The document of the only run."""
    assert done.stdout, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == document["exit_code"], done.stderr
    return dict(document["runs"][0])


def typed(experiment: str, runs: Path, *options: str) -> dict[str, Any]:
    """One run, as a user types it, with no environment but what the options say; its document."""
    command = [sys.executable, "-m", "veloz_chaos", "run", experiment, "--runs", str(runs), "--json", "-q", *options]
    return judged(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False))


def asked(run: Callable[[], subprocess.CompletedProcess[str]]) -> dict[str, Any]:
    """Of a run where a dozen containers share few cores: one that could not be judged for want of looks is asked again,
    as a user would do it. A verdict, whatever it is, stands."""
    for _ in range(3):
        result = judged(run())
        if result["verdict"] not in ("refused", "inconclusive"):
            break
    return result


def having(result: dict[str, Any], verdict: str) -> list[str]:
    return [finding["expectation"] for finding in result["findings"] if finding["verdict"] == verdict]


def require_caught(flaw: str, experiment: str, result: dict[str, Any]) -> None:
    """By the expectation that it concerns, and by no other."""
    assert FLAWS[flaw].agrees(experiment, having(result, "failed")), told(result)
    assert result["exit_code"] == 1, told(result)


def told(result: dict[str, Any]) -> str:
    """What a test prints when it fails."""
    lines = [f"{f['verdict']}: {f['expectation']}: {f['reason']}" for f in result["findings"]]
    return "\n".join([result["verdict"], *result["reasons"], *lines])
