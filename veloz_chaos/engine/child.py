"""Processes of our own that a run starts beside itself: the very code that runs here, whatever lies in the folder."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

_CODE = Path(__file__).parents[2]


def start(arguments: Sequence[str], log: Path, lock: int) -> subprocess.Popen[bytes]:
    """A hidden command in a session of its own, with pipes to it and from it; it inherits the environment's lock."""
    paths = [str(_CODE), *filter(None, [os.environ.get("PYTHONPATH")])]
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "veloz_chaos", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log.open("wb"),
        start_new_session=True,
        pass_fds=[lock],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
    )
