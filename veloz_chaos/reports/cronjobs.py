"""A schedule as CronJobs of Kubernetes, one for each entry, with the schedule itself and a claim for the runs. What
they may do there, the environment's ConfigMap and the namespace are those of `deploy/kubernetes`."""

from __future__ import annotations

from typing import Any

import yaml

from veloz_chaos.core.schedule import Entry
from veloz_chaos.core.trigger import Trigger, cron
from veloz_chaos.reports.exported import Export, plain

_NAMESPACE, _IMAGE = "veloz-chaos", "veloz-chaos:latest"
#: CronJobs' names leave room for what is added to their Jobs'.
_LONGEST = 52
_ENVIRONMENT = "/etc/veloz-chaos/environment.yaml"
_SCHEDULES = "/etc/veloz-chaos-schedules"
_RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


def render(export: Export) -> dict[str, str]:
    made: list[dict[str, Any]] = [
        _claim(),
        _schedule(export),
        *(
            _cron_job(export, entry, n, t)
            for entry in export.schedule.entries
            for n, t in enumerate(export.triggers(entry), 1)
        ),
    ]
    text = "\n".join(export.head) + "\n" + yaml.dump_all(made, Dumper=_Plain, sort_keys=False, width=120)
    return {f"{export.name}-cronjobs.yaml": text}


class _Plain(yaml.SafeDumper):
    """Without anchors; text of several lines as such."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True

    def represent_str(self, data: str) -> yaml.ScalarNode:
        style = "|" if "\n" in data else None
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=style)


_Plain.add_representer(str, _Plain.represent_str)


def _schedule(export: Export) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": f"veloz-chaos-schedule-{export.name}", "namespace": _NAMESPACE},
        "data": {f"{export.name}.yaml": export.text},
    }


def _claim() -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "veloz-chaos-runs", "namespace": _NAMESPACE},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "5Gi"}}},
    }


def _cron_job(export: Export, entry: Entry, n: int, t: Trigger) -> dict[str, Any]:
    """The `n`th of this entry, from 1."""
    number = f"-{n}" if n > 1 else ""
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": plain(entry)[: _LONGEST - len(number)].strip("-") + number, "namespace": _NAMESPACE},
        "spec": {
            "schedule": cron(t),
            "timeZone": "Etc/UTC" if t.zone == "UTC" else t.zone,
            "concurrencyPolicy": "Forbid",
            "startingDeadlineSeconds": int(entry.patience.total_seconds()),
            "successfulJobsHistoryLimit": 10,
            "failedJobsHistoryLimit": 10,
            "jobTemplate": {"spec": {"backoffLimit": 0, "template": {"spec": _pod(export, entry)}}},
        },
    }


def _pod(export: Export, entry: Entry) -> dict[str, Any]:
    words = [
        *export.arguments(entry, f"{_SCHEDULES}/{export.name}.yaml"),
        "--environment",
        _ENVIRONMENT,
        "--runs",
        "/runs",
    ]
    return {
        "serviceAccountName": "veloz-chaos",
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 180,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "runAsGroup": 65532,
            "fsGroup": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "initContainers": [_container(export, "revert", ["revert", "--environment", _ENVIRONMENT, "--runs", "/runs"])],
        "containers": [_container(export, "run", words)],
        "volumes": [
            {"name": "environment", "configMap": {"name": "veloz-chaos-environment"}},
            {"name": "schedules", "configMap": {"name": f"veloz-chaos-schedule-{export.name}"}},
            {"name": "runs", "persistentVolumeClaim": {"claimName": "veloz-chaos-runs"}},
            {"name": "tmp", "emptyDir": {}},
        ],
    }


def _container(export: Export, name: str, arguments: list[str]) -> dict[str, Any]:
    return {
        "name": name,
        "image": export.image or _IMAGE,
        "args": arguments,
        "securityContext": dict(_RESTRICTED),
        "resources": {"requests": {"cpu": "250m", "memory": "256Mi"}, "limits": {"memory": "512Mi"}},
        "volumeMounts": [
            {"name": "environment", "mountPath": "/etc/veloz-chaos", "readOnly": True},
            {"name": "schedules", "mountPath": _SCHEDULES, "readOnly": True},
            {"name": "runs", "mountPath": "/runs"},
            {"name": "tmp", "mountPath": "/tmp"},
        ],
    }
