"""Every experiment on the sandbox: N healthy rounds (no false alarm, how long a round takes), then every flaw once.

    python -m bench.experiments [--rounds 10] [--no-flaws] [--on docker]

A round runs all experiments one after the other on one sandbox, as `veloz-chaos run a b c …` does. A flaw counts as
caught when the expectations that `veloz-chaos sandbox flaws` names fail, and no other. `--on docker`: on containers.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench import stand
from veloz_chaos.engine import files
from veloz_chaos.sandbox import monitoring
from veloz_chaos.sandbox.flaws import FLAWS


def run(experiments: list[str], runs: Path, *options: str) -> dict[str, Any]:
    """What `--json` prints for them."""
    command = [*stand.PRODUCT, "run", *experiments, "--runs", str(runs), "--json", "-q", *options]
    done = subprocess.run(command, cwd=stand.ROOT, capture_output=True, text=True, check=False)
    document: dict[str, Any] = json.loads(done.stdout)
    return document


@contextmanager
def containers(wanted: bool, *options: str) -> Iterator[list[str]]:
    """What to add to a run that is to hit the sandbox's containers, which are up meanwhile; nothing for the others."""
    if not wanted:
        yield list(options)
        return
    sandbox = [*stand.PRODUCT, "sandbox"]
    subprocess.run([*sandbox, "up", "--on", "docker", *options], cwd=stand.ROOT, check=True, capture_output=True)
    try:
        yield ["-e", "compose"]
    finally:
        subprocess.run([*sandbox, "down", "--on", "docker"], cwd=stand.ROOT, check=True, capture_output=True)


def failed(result: dict[str, Any]) -> list[str]:
    return [f["expectation"] for f in result["findings"] if f["verdict"] == "failed"]


def rounds(count: int, runs: Path, docker: bool) -> Iterator[dict[str, Any]]:
    names = [name for name in files.names("experiments") if not docker or not destroys(name)]
    for number in range(count):
        with containers(docker) as options:
            began = time.monotonic()
            document = run(names, runs, *options)
        took = round(time.monotonic() - began, 1)
        verdicts = {result["experiment"]: result["verdict"] for result in document["runs"]}
        wrong = {result["experiment"]: result["findings"] for result in document["runs"] if result["exit_code"]}
        yield {"kind": "round", "round": number, "seconds": took, "verdicts": verdicts, "wrong": wrong}


def destroys(name: str) -> bool:
    return files.experiment(files.find("experiments", name))[0].irreversible


def flaws(runs: Path, docker: bool) -> Iterator[dict[str, Any]]:
    for flaw, row in FLAWS.items():
        if row.monitored and (docker or not monitoring.programs()):
            print(flaw, "left out: it wants Prometheus and Alertmanager, beside processes", flush=True)
            continue
        for experiment in (name for name in row.caught_by if not docker or not destroys(name)):
            with containers(docker, "--flaw", flaw) as options:
                result = run([experiment], runs, *options)["runs"][0]
            found = failed(result)
            yield {
                "kind": "flaw", "flaw": flaw, "experiment": experiment, "expectations": row.caught_by[experiment],
                "failed": found, "caught": row.agrees(experiment, found),
            }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--no-flaws", action="store_true")
    parser.add_argument("--on", choices=["docker"])
    options = parser.parse_args()
    docker = options.on == "docker"
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for row in rounds(options.rounds, Path(folder), docker):
            rows.append(row)
            print(row["round"], row["seconds"], "s", row["verdicts"], flush=True)
        for row in () if options.no_flaws else flaws(Path(folder), docker):
            rows.append(row)
            print(row["flaw"], row["experiment"], row["failed"], flush=True)
    report(rows)
    print(stand.keep("experiments-docker" if docker else "experiments", rows))


def report(rows: list[dict[str, Any]]) -> None:
    healthy = [row for row in rows if row["kind"] == "round"]
    seeded = [row for row in rows if row["kind"] == "flaw"]
    alarms = sum(verdict == "failed" for row in healthy for verdict in row["verdicts"].values())
    unsure = sum(verdict not in ("failed", "passed") for row in healthy for verdict in row["verdicts"].values())
    print(f"{len(healthy)} healthy rounds: {alarms} false alarms, {unsure} without a verdict")
    if healthy:
        print("seconds a round:", stand.spread(row["seconds"] for row in healthy))
    print(f"flaws caught: {sum(row['caught'] for row in seeded)} of {len(seeded)}")


if __name__ == "__main__":
    main()
