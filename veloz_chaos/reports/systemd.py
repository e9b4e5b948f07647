"""A schedule as systemd timers, each with its service. A missed one is caught up on (`Persistent`), and the guardian
outlives a runner that dies (`KillMode=process`)."""

from __future__ import annotations

from veloz_chaos.core.schedule import Entry
from veloz_chaos.core.trigger import calendar
from veloz_chaos.reports.exported import Export, plain


def render(export: Export) -> dict[str, str]:
    made: dict[str, str] = {}
    for entry in export.schedule.entries:
        unit = f"veloz-chaos-{plain(entry)}"
        made[f"{unit}.timer"] = _text([*export.head, *_timer(export, entry)])
        made[f"{unit}.service"] = _text(_service(export, entry))
    return made


def _text(lines: list[str]) -> str:
    return "\n".join(lines) + "\n"


def _timer(export: Export, entry: Entry) -> list[str]:
    return [
        "[Unit]",
        f"Description={entry.experiment} on {entry.environment}, every {entry.every}",
        "",
        "[Timer]",
        *(f"OnCalendar={calendar(t)}" for t in export.triggers(entry)),
        "AccuracySec=1s",
        "Persistent=true",
        "",
        "[Install]",
        "WantedBy=timers.target",
    ]


def _service(export: Export, entry: Entry) -> list[str]:
    words = " ".join(["/usr/bin/env", "veloz-chaos", *export.arguments(entry)])
    return [
        "[Unit]",
        f"Description={entry.experiment} on {entry.environment}, by the schedule {export.name}",
        "Wants=network-online.target",
        "After=network-online.target",
        "",
        "[Service]",
        "Type=oneshot",
        f"WorkingDirectory={export.directory.replace('%', '%%')}",
        f"ExecStart={words.replace('%', '%%')}",
        "KillMode=process",
        "TimeoutStartSec=infinity",
        "TimeoutStopSec=180",
    ]
