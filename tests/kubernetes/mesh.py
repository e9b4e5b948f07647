"""Chaos Mesh as the API server sees it: its CRDs, as far as tests need them, and a stand-in for its controllers.

The schemas are written here anew, from the field names, types, enumerations and required fields that the project
publishes (github.com/chaos-mesh/chaos-mesh, config/crd/bases, v1alpha1 of version 2; Apache-2.0); no text is copied.
They are strict: what they do not name is refused. As published, the status is no subresource.

The stand-in keeps the records, conditions and the finalizer as the real controllers do. What it injects is real for
`pod-kill` (the pod is deleted) and `partition` (by a NetworkPolicy); all else has no effect.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.infra import cluster
from veloz_chaos.errors import TargetError
from veloz_chaos.mechanisms import kube_policy
from veloz_chaos.mechanisms.kube_api import Api, path
from veloz_chaos.mechanisms.mesh_objects import KINDS, NETWORK, POD, STRESS

Json = dict[str, Any]
CRDS = "customresourcedefinitions.apiextensions.k8s.io"
FINALIZER = "chaos-mesh/records"
TEXT: Json = {"type": "string"}
NUMBER: Json = {"type": "integer"}
TEXTS: Json = {"type": "array", "items": TEXT}
#: Seconds between two rounds of the stand-in.
ROUND = 0.1


def _object(required: str = "", **properties: Json) -> Json:
    made: Json = {"type": "object", "properties": properties}
    return made | ({"required": required.split()} if required else {})


def _one_of(*words: str) -> Json:
    return {"type": "string", "enum": list(words)}


def _map(of: Json) -> Json:
    return {"type": "object", "additionalProperties": of}


MODE = _one_of("one", "all", "fixed", "fixed-percent", "random-max-percent")
SELECTOR = _object(namespaces=TEXTS, labelSelectors=_map(TEXT), pods=_map(TEXTS))
COMMON = {"mode": MODE, "value": TEXT, "selector": SELECTOR, "duration": TEXT}
WORKERS = {"workers": NUMBER | {"maximum": 8192}, "options": TEXTS}
LEAST_ONE = NUMBER | {"format": "int32", "minimum": 1}
SPECS: dict[str, Json] = {
    POD: _object(
        "action mode selector",
        **COMMON,
        action=_one_of("pod-kill", "pod-failure", "container-kill"),
        containerNames=TEXTS,
        gracePeriod=NUMBER | {"format": "int64", "minimum": 0},
    ),
    STRESS: _object(
        "mode selector",
        **COMMON,
        containerNames=TEXTS,
        stressors=_object(
            cpu=_object("workers", **WORKERS, load=NUMBER), memory=_object("workers", **WORKERS, size=TEXT)
        ),
    ),
    NETWORK: _object(
        "action mode selector",
        **COMMON,
        action=_one_of("netem", "delay", "loss", "duplicate", "corrupt", "partition", "bandwidth"),
        direction=_one_of("to", "from", "both", ""),
        target=_object("mode selector", mode=MODE, value=TEXT, selector=SELECTOR),
        externalTargets=TEXTS,
        delay=_object("latency", latency=TEXT, jitter=TEXT, correlation=TEXT),
        loss=_object("loss", loss=TEXT, correlation=TEXT),
        bandwidth=_object("buffer limit rate", rate=TEXT, limit=LEAST_ONE, buffer=LEAST_ONE),
    ),
}
EVENT = _object("operation timestamp type", message=TEXT, operation=TEXT, timestamp=TEXT, type=TEXT)
RECORD = _object(
    "id phase selectorKey", id=TEXT, phase=TEXT, selectorKey=TEXT, events={"type": "array", "items": EVENT}
)
STATUS = _object(
    "experiment",
    conditions={"type": "array", "items": _object("status type", type=TEXT, status=TEXT, reason=TEXT)},
    experiment=_object(desiredPhase=_one_of("Run", "Stop"), containerRecords={"type": "array", "items": RECORD}),
)


def crd(kind: str) -> Json:
    plural = kind.lower()
    schema = _object("spec", apiVersion=TEXT, kind=TEXT, metadata={"type": "object"}, spec=SPECS[kind], status=STATUS)
    version = {"name": "v1alpha1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    names = {"kind": kind, "listKind": f"{kind}List", "plural": plural, "singular": plural}
    spec = {"group": "chaos-mesh.org", "scope": "Namespaced", "names": names, "versions": [version]}
    meta = {"name": KINDS[kind], "labels": {cluster.LABEL: "mesh"}}
    return {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": meta, "spec": spec}


def known(api: Api) -> list[Json]:
    """The CRDs of these kinds that the cluster has."""
    return [one for one in api.listed(path(CRDS)).items if one["metadata"]["name"] in KINDS.values()]


def forbid_real(api: Api) -> None:
    """Where the real Chaos Mesh is, a stand-in beside it would be in its way."""
    if any(cluster.LABEL not in (one["metadata"].get("labels") or {}) for one in known(api)):
        pytest.skip("Chaos Mesh itself is installed here: no stand-in beside it")


def uninstall(api: Api) -> None:
    for one in known(api):
        with suppress(TargetError):
            api.delete(path(CRDS, name=one["metadata"]["name"]))
    while known(api):
        time.sleep(ROUND)


@contextmanager
def installed(api: Api) -> Iterator[None]:
    forbid_real(api)
    uninstall(api)
    try:
        for kind in KINDS:
            api.post(path(CRDS), crd(kind))
        end = time.monotonic() + 30
        while not all(_serves(api, kind) for kind in KINDS):
            assert time.monotonic() < end
            time.sleep(ROUND)
        yield
    finally:
        uninstall(api)


def _serves(api: Api, kind: str) -> bool:
    with suppress(TargetError):
        api.listed(path(KINDS[kind], "default"))
        return True
    return False


@dataclass
class Controller:
    """`idle`: it does nothing. `blind`: it selects no pod. `failing`: no daemon injects. `hanging`: nor recovers.
    `powerless`: it injects by its own word alone."""

    api: Api
    namespace: str
    idle: bool = False
    blind: bool = False
    failing: bool = False
    hanging: bool = False
    powerless: bool = False
    seen: list[Json] = field(default_factory=list)

    def round(self) -> None:
        for kind in [] if self.idle else KINDS:
            for thing in self.api.listed(path(KINDS[kind], self.namespace)).items:
                self._reconcile(kind, thing)

    def _reconcile(self, kind: str, thing: Json) -> None:
        meta, status = thing["metadata"], thing.get("status") or {}
        held = meta.get("finalizers") or []
        if meta.get("deletionTimestamp"):
            if FINALIZER in held and not self.hanging:
                self._recover(kind, thing)
                self._write(kind, thing, finalizers=[one for one in held if one != FINALIZER])
            return
        if FINALIZER not in held:
            self.seen.append(thing)
            self._write(kind, thing, finalizers=[*held, FINALIZER])
            return
        experiment = status.get("experiment") or {}
        records = experiment.get("containerRecords") or self._selected(thing)
        phase = "Stop" if self._is_over(thing) else "Run"
        self._step(kind, thing, records, phase)
        told = {
            "Selected": bool(records),
            "AllInjected": bool(records) and all(one["phase"] == "Injected" for one in records),
            "AllRecovered": all(one["phase"] == "Not Injected" for one in records),
            "Paused": False,
        }
        conditions = [{"type": key, "status": str(value)} for key, value in told.items()]
        wanted = {"conditions": conditions, "experiment": {"desiredPhase": phase, "containerRecords": records}}
        if wanted != status:
            self._write(kind, thing, status=wanted)

    def _step(self, kind: str, thing: Json, records: list[Json], phase: str) -> None:
        for record in records:
            if phase == "Stop" and record["phase"] == "Injected" and not self.hanging:
                self._recover(kind, thing)
                record["phase"] = "Not Injected"
            elif phase == "Run" and record["phase"] == "Not Injected" and self.failing:
                said = {"message": "no daemon answers", "operation": "Apply", "type": "Failed", "timestamp": "now"}
                record["events"] = [said]
            elif phase == "Run" and record["phase"] == "Not Injected":
                self._inject(thing, record)
                record["phase"] = "Injected"

    def _selected(self, thing: Json) -> list[Json]:
        if self.blind:
            return []
        spec = thing["spec"]
        names = spec["selector"]["pods"][self.namespace]
        there = [one["metadata"]["name"] for one in self.api.listed(path("pods", self.namespace)).items]
        suffix = "".join(f"/{one}" for one in (spec.get("containerNames") or [])[:1])
        return [
            {"id": f"{self.namespace}/{name}{suffix}", "phase": "Not Injected", "selectorKey": "."}
            for name in names
            if name in there
        ]

    def _is_over(self, thing: Json) -> bool:
        """A kill strikes once, whatever its duration."""
        if thing["kind"] == POD:
            return False
        number, unit = re.fullmatch(r"([\d.]+)(us|ms|s)", thing["spec"]["duration"]).groups()  # type: ignore[union-attr]
        length = float(number) * {"us": 1e-6, "ms": 1e-3, "s": 1.0}[unit]
        made = datetime.fromisoformat(thing["metadata"]["creationTimestamp"])
        return (datetime.now(UTC) - made).total_seconds() > length

    def _inject(self, thing: Json, record: Json) -> None:
        action, name = thing["spec"].get("action"), record["id"].split("/")[1]
        if self.powerless:
            return
        if action == "pod-kill":
            grace = {"gracePeriodSeconds": thing["spec"]["gracePeriod"]}
            self.api.delete(path("pods", self.namespace, name), grace)
        if action == "partition":
            labels = self.api.get(path("pods", self.namespace, name))["metadata"]["labels"]
            cut = kube_policy.cut("stand-in", self._policy(thing), {"matchLabels": {"app": labels["app"]}}, None)
            self.api.post(path("networkpolicies.networking.k8s.io", self.namespace), cut)

    def _recover(self, kind: str, thing: Json) -> None:
        if kind == NETWORK:
            with suppress(TargetError):
                where = path("networkpolicies.networking.k8s.io", self.namespace, self._policy(thing))
                self.api.delete(where)

    @staticmethod
    def _policy(thing: Json) -> str:
        return f"stand-in-{thing['metadata']['uid'][:8]}"

    def _write(self, kind: str, thing: Json, **what: Any) -> None:
        body = {"metadata": {"finalizers": what["finalizers"]}} if "finalizers" in what else what
        with suppress(TargetError):  # changed or gone meanwhile: the next round sees it
            self.api.patch(path(KINDS[kind], self.namespace, thing["metadata"]["name"]), body)


@contextmanager
def controlled(api: Api, namespace: str) -> Iterator[Controller]:
    """The stand-in at work in one namespace; whatever still hangs there is let go at the end."""
    controller, stop = Controller(api, namespace), threading.Event()

    def work() -> None:
        while not stop.wait(ROUND):
            with suppress(TargetError):
                controller.round()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield controller
    finally:
        stop.set()
        thread.join(20)
        for kind in KINDS:
            for one in api.listed(path(KINDS[kind], namespace)).items:
                with suppress(TargetError):
                    where = path(KINDS[kind], namespace, one["metadata"]["name"])
                    api.patch(where, {"metadata": {"finalizers": None}})
                    api.delete(where)
