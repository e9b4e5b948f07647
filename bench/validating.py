"""Validating 1,000 experiment files, a whole process.

python -m bench.validating [--files 1000] [--runs 5]
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
import time
from pathlib import Path

from bench import stand


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    shipped = [p for p in sorted((stand.ROOT / "experiments").glob("*.yaml")) if p.stem != "response-matrix"]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(options.files):
            source = shipped[number % len(shipped)]
            (Path(folder) / f"{source.stem}-{number}.yaml").write_text(source.read_text())
        files = [str(path) for path in sorted(Path(folder).iterdir())]
        for _ in range(options.runs):
            started = time.monotonic()
            done = subprocess.run(
                [*stand.PRODUCT, "validate", *files], capture_output=True, cwd=stand.ROOT, check=False
            )
            rows.append({"files": len(files), "exit": done.returncode, "wall_s": round(time.monotonic() - started, 3)})
            print(rows[-1], flush=True)
    print("wall, s:", stand.spread(row["wall_s"] for row in rows))
    print(stand.keep("validating", rows))


if __name__ == "__main__":
    main()
