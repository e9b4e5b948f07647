"""Pods of a real cluster: how fast they are killed and found, and what a killed runner leaves.

    python -m bench.kubernetes [kill] [survey] [many] [killed] [--rounds 20] [--runs 30] [--pods 5000] [--seed 1]

Without names: all of them. Each keeps its rows in bench/results/kubernetes-NAME.jsonl. The cluster is the tests' own
(tests/infra/kubernetes-up.sh); `survey` and `many` want its KWOK (tests/infra/kubernetes/kwok.sh NODES PODS).
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from bench import stand
from tests.infra import cluster
from tests.infra.cluster import Namespace
from tests.kubernetes.pods import Pods, first_process, pods, until
from veloz_chaos.core import event as ev
from veloz_chaos.engine import journal as journals
from veloz_chaos.mechanisms.kube_api import path
from veloz_chaos.targets import kubernetes

Row = dict[str, Any]
#: Seconds after the baseline within which a run is killed; pods killed at once.
LATEST, AT_ONCE = 6.0, 200
SCALE = "scale"


def ms(seconds: float) -> float:
    return round(seconds * 1000, 3)


# --- kill ----------------------------------------------------------------------------------------------------------


def kill(options: argparse.Namespace) -> Iterator[Row]:
    """In turn: our deletion of a pod, and kubectl's, from its start to its end less a start that asks for nothing."""
    with cluster.namespace() as space:
        for number in range(options.rounds):
            for how in ("ours", "kubectl"):
                space.pods("app", 1)
                target = chosen(space)
                target.alive()  # connected, as in a run
                begun = time.monotonic()
                if how == "ours":
                    target.kill("KILL")
                    took = time.monotonic() - begun
                else:
                    took = requested(space, target.beside.pod)
                yield {"round": number, "how": how, "ms": ms(took)}
                until(partial(_is_gone, space, target.beside.pod))


def _is_gone(space: Namespace, pod: str) -> bool:
    return f"pod/{pod}" not in space.kubectl("get", "pods", "-o", "name").split()


def chosen(space: Namespace) -> kubernetes.Part:
    selector = kubernetes.Selector(namespace=space.name, selector={"app": "app"}, kubeconfig=space.config)
    return kubernetes.find("app", selector)[0]


def requested(space: Namespace, pod: str) -> float:
    """Seconds that kubectl's own requests for a deletion took, as it tells by -v=6: without its start-up."""
    program = [cluster.program(), "--kubeconfig", space.config, "-n", space.name]
    command = [*program, "delete", "pod", pod, "--wait=false", "--grace-period=0", "-v=6"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    took = [line.rpartition("milliseconds=")[2].split()[0] for line in said.splitlines() if "milliseconds=" in line]
    return sum(map(float, took)) / 1000


def tell_kill(rows: list[Row]) -> None:
    for how in ("ours", "kubectl"):
        print(f"{how}: {stand.spread(row['ms'] for row in rows if row['how'] == how)} ms")


# --- survey --------------------------------------------------------------------------------------------------------

SURVEY = """
import resource, sys, time
from veloz_chaos.targets import kubernetes
begun = time.monotonic()
selector = kubernetes.Selector(namespace=sys.argv[1], selector={"app": "fake"}, kubeconfig=sys.argv[2])
found = kubernetes.find("fake", selector)
took = time.monotonic() - begun
print(len(found), took, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def survey(options: argparse.Namespace) -> Iterator[Row]:  # noqa: ARG001
    """All of the fake pods are found by their label, in a process of its own."""
    config = cluster.require()
    for number in range(5):
        command = [sys.executable, "-c", SURVEY, SCALE, config]
        found, took, memory = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        yield {"round": number, "pods": int(found), "s": round(float(took), 3), "mb": round(int(memory) / 1024, 1)}


def tell_survey(rows: list[Row]) -> None:
    print(f"{rows[0]['pods']} pods: {stand.spread(row['s'] for row in rows)} s; {max(row['mb'] for row in rows)} MB")


# --- many ----------------------------------------------------------------------------------------------------------


def many(options: argparse.Namespace) -> Iterator[Row]:  # noqa: ARG001
    """Two hundred of the fake pods deleted at once: by our targets, and by as many plain requests."""
    config = cluster.require()
    selector = kubernetes.Selector(namespace=SCALE, selector={"app": "fake"}, kubeconfig=config)
    for number in range(3):
        for how in ("plain", "ours"):
            targets = kubernetes.find("fake", selector)[:AT_ONCE]
            strike: Callable[[Any], object] = plain if how == "plain" else (lambda one: one.kill("KILL"))
            with ThreadPoolExecutor(AT_ONCE) as threads:
                begun = time.monotonic()
                list(threads.map(strike, targets))
                took = time.monotonic() - begun
            yield {"round": number, "how": how, "pods": len(targets), "s": round(took, 3)}
            time.sleep(5)


def plain(target: kubernetes.Part) -> object:
    where = path("pods", target.beside.namespace, target.beside.pod)
    return target.beside.api.delete(where, {"gracePeriodSeconds": 1})


def tell_many(rows: list[Row]) -> None:
    for how in ("plain", "ours"):
        print(f"{how}: {stand.spread(row['s'] for row in rows if row['how'] == how)} s for {rows[0]['pods']} pods")


# --- killed --------------------------------------------------------------------------------------------------------


def killed(options: argparse.Namespace) -> Iterator[Row]:
    """SIGKILL of the runner at a random moment of a partition: until neither rule nor helper is left."""
    chance = random.Random(options.seed)
    with pods() as lab, tempfile.TemporaryDirectory(prefix="veloz-chaos-bench-") as folder:
        for number in range(options.runs):
            lab.settle()
            yield _killed(lab, Path(folder), number, chance.uniform(0.0, LATEST))


def _killed(lab: Pods, folder: Path, number: int, moment: float) -> Row:
    runs, pid = folder / str(number), first_process(lab.pod())
    runner = subprocess.Popen(
        [*stand.PRODUCT, "run", *files(lab, folder), "--runs", str(runs), "-q"], stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, cwd=stand.ROOT,
    )  # fmt: skip
    until(lambda: any(isinstance(one, ev.BaselineEnded) for one in events(runs)))
    time.sleep(moment)
    hurt = bool(lab.traces())
    runner.kill()
    since = time.monotonic()
    runner.wait()
    gone = after(lambda: not lab.traces(), since, 30)
    alone = after(lambda: not lab.running(), since, 30)
    time.sleep(2)
    return {
        "moment_s": round(moment, 3), "rules_when_killed": hurt, "gone_after_s": gone, "no_helper_after_s": alone,
        "left": lab.traces(), "same_pod": first_process(lab.pod()) == pid,
    }  # fmt: skip


def after(true: Callable[[], object], since: float, patience: float) -> float | None:
    while time.monotonic() < since + patience:
        if true():
            return round(time.monotonic() - since, 3)
        time.sleep(0.02)
    return None


def events(runs: Path) -> list[ev.Event]:
    for file in runs.glob("*/journal.jsonl"):
        return list(journals.read(file.parent))
    return []


def files(lab: Pods, folder: Path) -> list[str]:
    link = {**lab.common, "selector": {"app": "app"}, "to": "other:80"}
    look = {"every": "200ms", "timeout": "2s"}
    probe = {"kubernetes": {"namespace": lab.space.name, "owner": "deployment/app", "kubeconfig": lab.space.config}}
    environment = {
        "kind": "Environment", "version": 1, "name": "bench", "tier": "development",
        "links": {"app->other": {"kubernetes-link": link}}, "probes": {"served": {**probe, **look}},
    }  # fmt: skip
    experiment = {
        "kind": "Experiment", "version": 1, "name": "bench", "title": "bench", "failure": "network-partition",
        "allowed-on": ["development"], "steady-state": ["served"], "baseline": "1s",
        "fault": {"partition": {"link": "app->other", "for": "3s"}},
        "blast-radius": {"count": 1, "percent": "100%", "last-replica": True},
        "expect": {"impact": "none", "recovery": {"hold": "1s"}},
    }  # fmt: skip
    written = folder / "experiment.yaml", folder / "environment.yaml"
    for file, data in zip(written, (experiment, environment), strict=True):
        file.write_text(yaml.safe_dump(data))
    return [str(written[0]), "-e", str(written[1])]


def tell_killed(rows: list[Row]) -> None:
    times = [row["gone_after_s"] for row in rows if row["gone_after_s"] is not None]
    print(f"killed {len(rows)} runs, {sum(row['rules_when_killed'] for row in rows)} with the fault in place")
    print(
        f"gone after s: {stand.spread(times)}; within 5 s {sum(t <= 5 for t in times)}; never {len(rows) - len(times)}"
    )
    print(f"a helper still there in the end: {sum(row['no_helper_after_s'] is None for row in rows)}")
    print(f"something left or back after 2 s: {sum(bool(row['left']) for row in rows)}")


BENCHES = {"kill": (kill, tell_kill), "survey": (survey, tell_survey), "many": (many, tell_many)}
BENCHES |= {"killed": (killed, tell_killed)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[*BENCHES, []], default=[])
    for name, value in (("rounds", 20), ("runs", 30), ("seed", 1)):
        parser.add_argument(f"--{name}", type=int, default=value)
    options = parser.parse_args()
    os.environ["KUBECONFIG"] = cluster.require()
    for name in options.names or BENCHES:
        bench, tell = BENCHES[name]
        rows = []
        for row in bench(options):
            rows.append(row)
            print(json.dumps(row), flush=True)
        stand.keep(f"kubernetes-{name}", rows)
        tell(rows)


if __name__ == "__main__":
    main()
