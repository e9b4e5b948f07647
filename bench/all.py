"""Every bench, one after the other (about four hours on two cores)."""

from __future__ import annotations

import subprocess
import sys

BENCHES = (
    ["starting"],
    ["validating"],
    ["linting"],
    ["overhead"],
    ["truth"],
    ["truth", "--busy"],
    ["killed"],
    ["memory"],
    ["audit"],
    ["history"],
    ["http_proxy"],
    ["catching"],
    ["alerts"],
    ["workload"],
    ["workload", "--bare"],
    ["experiments"],
    ["drill"],
    ["docker"],
    ["kubernetes"],
)


def main() -> None:
    for bench in BENCHES:
        print("===", *bench, flush=True)
        subprocess.run([sys.executable, "-m", f"bench.{bench[0]}", *bench[1:]], check=True)


if __name__ == "__main__":
    main()
