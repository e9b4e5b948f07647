"""Pods of a real cluster: how fast they are killed and found, and what a killed runner leaves.

    python -m bench.kubernetes [kill] [survey] [many] [killed] [truth] [lost] [--rounds 20] [--runs 30] [--seed 1]

Without names: all of them. Each keeps its rows in bench/results/kubernetes-NAME.jsonl. The cluster is the tests' own
(tests/infra/kubernetes-up.sh); `survey` and `many` want its KWOK (tests/infra/kubernetes/kwok.sh NODES PODS), the
others want it stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from bench import stand
from tests.infra import cluster
from tests.infra.cluster import Namespace
from tests.kubernetes import deployed
from tests.kubernetes.pods import Pods, first_process, image, pods, processes, settled, until
from veloz_chaos.core import event as ev
from veloz_chaos.core import history as histories
from veloz_chaos.core.measure import measure
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
#: A command's time and memory, as its parent sees them.
COMMAND = """
import resource, subprocess, sys, time
begun = time.monotonic()
done = subprocess.run(sys.argv[1:], capture_output=True, text=True)
took = time.monotonic() - begun
assert not done.returncode, done.stdout + done.stderr
print(len(done.stdout.splitlines()), took, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def survey(options: argparse.Namespace) -> Iterator[Row]:  # noqa: ARG001
    """All of the fake pods are found by their label, in a process of its own; and the whole command `plan`, which picks
    from them."""
    config = cluster.require()
    with tempfile.TemporaryDirectory(prefix="veloz-chaos-bench-") as folder:
        planned = [*stand.PRODUCT, "plan", *written(Path(folder), "gateway-crash", **_crowd(config))]
        for number in range(5):
            for what, command in (("survey", [SURVEY, SCALE, config]), ("plan", [COMMAND, *planned])):
                told = subprocess.run([sys.executable, "-c", *command], capture_output=True, text=True, check=True)
                found, took, memory = told.stdout.split()
                numbers = {"s": round(float(took), 3), "mb": round(int(memory) / 1024, 1)}
                yield {"round": number, "what": what, ("pods" if what == "survey" else "lines"): int(found), **numbers}


def _crowd(config: str) -> dict[str, Row]:
    fake = {"namespace": SCALE, "selector": {"app": "fake"}, "kubeconfig": config, "helpers": SCALE}
    probe = {"kubernetes": {"namespace": SCALE, "owner": "deployment/fake", "kubeconfig": config}}
    look = {"every": "1s", "timeout": "900ms"}
    return {
        "experiment": {"fault": {"kill": {"service": "fake", "pick": 1}}},
        "environment": {
            "services": {"fake": {"kubernetes": fake}},
            "permit": {"helpers": {"node": True}},
            "probes": {"served": {**probe, **look}},
        },
    }


def tell_survey(rows: list[Row]) -> None:
    for what in ("survey", "plan"):
        own = [row for row in rows if row["what"] == what]
        print(f"{what}: {stand.spread(row['s'] for row in own)} s; {max(row['mb'] for row in own)} MB")


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
    return written(
        folder, "network-partition",
        experiment={
            "fault": {"partition": {"link": "app->other", "for": "3s"}},
            "expect": {"impact": "none", "recovery": {"hold": "1s"}},
        },
        environment={
            "permit": {"helpers": {"node": True}},
            "links": {"app->other": {"kubernetes-link": link}},
            "probes": {"served": {**probe, **look}},
        },
    )  # fmt: skip


def written(folder: Path, failure: str, experiment: Row, environment: Row) -> list[str]:
    """An experiment and its environment; one steady-state probe, `served`."""
    head = {"version": 1, "name": "bench"}
    experiment = {
        "kind": "Experiment", **head, "title": "bench", "failure": failure, "allowed-on": ["development"],
        "steady-state": ["served"], "baseline": "1s", "expect": {"recovery": {"hold": "1s"}},
        "blast-radius": {"count": 1, "percent": "100%", "last-replica": True},
    } | experiment  # fmt: skip
    environment = {"kind": "Environment", **head, "tier": "development"} | environment
    paths = folder / "experiment.yaml", folder / "environment.yaml"
    for path_, data in zip(paths, (experiment, environment), strict=True):
        path_.write_text(json.dumps(data))
    return [str(paths[0]), "-e", str(paths[1])]


def tell_killed(rows: list[Row]) -> None:
    times = [row["gone_after_s"] for row in rows if row["gone_after_s"] is not None]
    print(f"killed {len(rows)} runs, {sum(row['rules_when_killed'] for row in rows)} with the fault in place")
    print(
        f"gone after s: {stand.spread(times)}; within 5 s {sum(t <= 5 for t in times)}; never {len(rows) - len(times)}"
    )
    print(f"a helper still there in the end: {sum(row['no_helper_after_s'] is None for row in rows)}")
    print(f"something left or back after 2 s: {sum(bool(row['left']) for row in rows)}")


# --- truth ---------------------------------------------------------------------------------------------------------

#: Warms up for half a second to two, then is ready; writes down when it first served somebody. Ends at once on TERM.
SERVED = """
import http.server, os, random, signal, time
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
warm = time.monotonic() + random.uniform(0.5, 2)
served = []
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        ready = time.monotonic() >= warm
        if self.path == "/" and ready and not served:
            served.append(True)
            print("served", time.clock_gettime_ns(time.CLOCK_BOOTTIME), flush=True)
        self.send_response(200 if ready else 503)
        self.send_header("Content-Length", "0")
        self.end_headers()
        self.close_connection = False
    def log_message(self, *_):
        pass
http.server.ThreadingHTTPServer(("", 8080), Answer).serve_forever()
"""
#: Asks for it again and again from within the cluster, so that it serves as soon as it is within reach. It closes its
#: connections itself: what waits for late packets of them is then not the server, which would let no other client come
#: through the node's address and by the same port for a minute.
ASKS = """
import http.client, sys, time
while True:
    try:
        asking = http.client.HTTPConnection(sys.argv[1], timeout=0.25)
        asking.request("GET", "/")
        asking.getresponse().read()
        asking.close()
    except OSError:
        pass
    time.sleep(0.02)
"""
#: Pods of a stranger beside ours, which come and go all the time.
STRANGERS, BUSY = 3, 2.0


def truth(options: argparse.Namespace) -> Iterator[Row]:
    """A pod is killed in a busy namespace: the measured instant of recovery against when its replacement served its
    first request by its own log, and which pod the API server's reports were paired with."""
    with cluster.namespace() as space, tempfile.TemporaryDirectory(prefix="veloz-chaos-bench-") as name:
        environment = _served(space)
        with _busy(space):
            for number in range(options.runs):
                folder = Path(name) / str(number)
                folder.mkdir()
                experiment = {
                    "fault": {"kill": {"service": "app", "pick": "one"}},
                    "expect": {"detection": ["reported"], "recovery": {"hold": "1s"}},
                }
                asked = [*written(folder, "gateway-crash", experiment, environment), "--runs", str(folder / "runs")]
                done = subprocess.run(
                    [*stand.PRODUCT, "run", *asked, "-q"], capture_output=True, text=True, cwd=stand.ROOT
                )
                yield {
                    "round": number,
                    "exit": done.returncode,
                    **_against_truth(space, folder / "runs", done.stdout + done.stderr),
                }


def _served(space: Namespace) -> Row:
    ready = {"httpGet": {"path": "/ready", "port": 8080}, "periodSeconds": 1}
    serving = {"ports": [{"containerPort": 8080}], "readinessProbe": ready}
    made = cluster.deployment("app", image=image(), command=["python3", "-c", SERVED], container=serving)
    port = {"port": 80, "targetPort": 8080}
    service = {"selector": {"app": "app"}, "type": "NodePort", "ports": [port]}
    space.apply([made, {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "app"}, "spec": service}])
    space.ready("app")
    nodes = json.loads(space.kubectl("get", "nodes", "-o", "json"))["items"]
    host = next(one["address"] for one in nodes[0]["status"]["addresses"] if one["type"] == "InternalIP")
    address = f"http://{host}:{space.get('service', 'app')['spec']['ports'][0]['nodePort']}/"
    space.pods("asks", image=image(), command=["python3", "-c", ASKS, address.split("/")[2]])
    place = {"namespace": space.name, "owner": "deployment/app", "kubeconfig": space.config}
    reported = {"kubernetes": place, "ok": "json.ready < json.desired", "every": "100ms", "timeout": "400ms"}
    served = {"http": {"get": address}, "ok": "status == 200", "every": "50ms", "timeout": "250ms"}
    return {"services": {"app": {"kubernetes": place}}, "probes": {"served": served, "reported": reported}}


@contextmanager
def _busy(space: Namespace) -> Iterator[None]:
    over = threading.Event()
    space.pods("app-stranger", STRANGERS)

    def stir() -> None:
        while not over.wait(BUSY):
            space.kubectl("delete", "pods", "-l", "app=app-stranger", "--wait=false", "--grace-period=1")

    stirring = threading.Thread(target=stir)
    stirring.start()
    try:
        yield
    finally:
        over.set()
        stirring.join()


def _against_truth(space: Namespace, runs: Path, said: str) -> Row:
    told = events(runs)
    pod = next((one for one in space.all("pods", "app=app") if "deletionTimestamp" not in one["metadata"]), None)
    recovery = measure(histories.of(told)).recovery if told else None
    if recovery is None or pod is None:
        return {"measured": False, "said": said}
    name = str(pod["metadata"]["name"])
    served = int(space.kubectl("logs", name).split()[1])
    paired = [one.detail for one in told if isinstance(one, ev.TargetReported) and one.what == "started"]
    return {
        "measured": True, "inside": recovery.holds(served), "width_ms": round(recovery.width / 1e6, 1),
        "served_after_ms": round((served - recovery.at_least) / 1e6, 1),
        "paired": paired, "rightly": paired == [name],
    }  # fmt: skip


def tell_truth(rows: list[Row]) -> None:
    measured = [row for row in rows if row["measured"]]
    inside, rightly = (sum(row[key] for row in measured) for key in ("inside", "rightly"))
    print(
        f"recovery: truth inside {inside} of {len(rows)}; width ms: {stand.spread(row['width_ms'] for row in measured)}"
    )
    print(f"paired with its own replacement {rightly} of {len(rows)}, {STRANGERS} strangers replaced every {BUSY:g} s")


# --- lost ----------------------------------------------------------------------------------------------------------

#: Of the partition; its helper ends by itself 70 s after it.
HOLD = 20.0


def lost(options: argparse.Namespace) -> Iterator[Row]:  # noqa: ARG001
    """The node of the runner's Job is cut off from everybody while its partition is in place: when the fault is gone,
    and whether the next Job, when the node is back, closes that run."""
    struck = ("app", "other")
    deployed.image()
    with deployed.deployed() as made:
        lab = settled(made.system, made.system)
        made.on(*deployed.cut(lab, f"{HOLD:g}s"))
        for number in range(3):
            made.start_elsewhere({lab.pod(one)["spec"]["nodeName"] for one in struck})
            until(lab.traces, 120)
            begun = time.monotonic()
            with _cut_off(made):
                gone = after(lambda: not lab.traces(), begun, 240)
                (left,) = made.lost()
            for one in struck:
                lab.settle(one)
            made.start()
            ended = made.ended()
            closed = not made.lost() and left.removeprefix("veloz-chaos-") in made.said()
            yield {"round": number, "gone_after_s": gone, "next_job": ended, "closed": closed}


@contextmanager
def _cut_off(made: deployed.Deployed) -> Iterator[None]:
    """Its own processes are dead when the node is back."""
    pod = made.pod()
    wire = pod["spec"]["nodeName"].replace("n", "velozk")
    subprocess.run(["ip", "link", "set", wire, "down"], check=True)
    try:
        yield
    finally:
        for pid in processes(pod):
            os.kill(pid, signal.SIGKILL)
        subprocess.run(["ip", "link", "set", wire, "up"], check=True)
        cluster.run(cluster.require(), "wait", "--for=condition=Ready", "nodes", "--all", "--timeout=120s", wait=150)


def tell_lost(rows: list[Row]) -> None:
    times = [row["gone_after_s"] for row in rows if row["gone_after_s"] is not None]
    print(f"gone after s: {stand.spread(times)} (hold {HOLD:g} s); never {len(rows) - len(times)}")
    print(f"closed by the next Job: {sum(row['closed'] for row in rows)} of {len(rows)}")


BENCHES = {"kill": (kill, tell_kill), "survey": (survey, tell_survey), "many": (many, tell_many)}
BENCHES |= {"killed": (killed, tell_killed), "truth": (truth, tell_truth), "lost": (lost, tell_lost)}


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
