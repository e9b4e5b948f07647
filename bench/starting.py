"""`veloz-chaos --help` against `chaos --help` (Chaos Toolkit 1.19 from PyPI, in its own environment), in turn.

python -m bench.starting [--runs 20]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
import venv
from pathlib import Path

from bench import stand

PEER = "chaostoolkit==1.19.0"


def peer() -> Path:
    """The peer's command; installed once, outside the checkout."""
    cache = os.environ.get("INFRA_DIR") or str(Path.home() / ".cache" / "veloz-chaos-infra")
    folder = Path(cache) / "chaostoolkit"
    command = folder / "bin" / "chaos"
    if not command.exists():
        venv.create(folder, with_pip=True)
        subprocess.run([folder / "bin" / "python", "-m", "pip", "install", "-q", PEER], check=True)
    return command


def seconds(command: list[str]) -> float:
    started = time.monotonic()
    subprocess.run(command, capture_output=True, check=True)
    return time.monotonic() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20)
    options = parser.parse_args()
    ours = [str(Path(sys.executable).with_name("veloz-chaos")), "--help"]
    theirs = [str(peer()), "--help"]
    seconds(ours), seconds(theirs)
    rows = [{"ours_s": seconds(ours), "theirs_s": seconds(theirs)} for _ in range(options.runs)]
    ratios = [row["ours_s"] / row["theirs_s"] for row in rows]
    print("veloz-chaos --help, s:", stand.spread(row["ours_s"] for row in rows))
    print("chaos --help, s:      ", stand.spread(row["theirs_s"] for row in rows))
    print(f"ratio: median {statistics.median(ratios):.3f}  max {max(ratios):.3f}")
    print(stand.keep("starting", rows))


if __name__ == "__main__":
    main()
