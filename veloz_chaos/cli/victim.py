"""A runner that does nothing but start its guardian and wait to be killed: `doctor` starts it to see what survives."""

from __future__ import annotations

import os
import socket
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path

from veloz_chaos import __version__
from veloz_chaos.core.event import RunStarted
from veloz_chaos.core.matrix import Limits
from veloz_chaos.core.plan import Plan
from veloz_chaos.engine.clock import moment
from veloz_chaos.engine.guardian import Guardian
from veloz_chaos.engine.journal import Journal
from veloz_chaos.engine.secrets import Secrets
from veloz_chaos.mechanisms import proc
from veloz_chaos.mechanisms.proc import boot_id

_SECOND = timedelta(seconds=1)


def main(folder: Path) -> None:
    journal = Journal.create(folder, Secrets(), lambda _: None)
    journal.append(_started(), sync=True)
    with tempfile.TemporaryFile() as lock:
        Guardian.start(folder, lock.fileno()).await_ready()
        print("ready", flush=True)
        time.sleep(60)


def _started() -> RunStarted:
    return RunStarted(
        run="doctor", version=__version__, boot_id=boot_id(), host=socket.gethostname(), pid=os.getpid(),
        pid_start=proc.start_time(os.getpid()), plan=_plan(), **moment(),
    )  # fmt: skip


def _plan() -> Plan:
    limits = Limits(row="none", title="none", detection=None, recovery=None, give_up=_SECOND, manual_action="none")
    return Plan(
        experiment="doctor", title="doctor", environment="none", tier="development", limits=limits, baseline=_SECOND,
        hold=_SECOND, settle=_SECOND, faults=[], probes={}, steady_state=[], lock="doctor",
    )  # fmt: skip


if __name__ == "__main__":
    main(Path(sys.argv[1]))
