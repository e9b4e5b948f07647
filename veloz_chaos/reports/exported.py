"""A schedule as the ready files of other schedulers: each maps a file's name to its text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from veloz_chaos.core.duration import show
from veloz_chaos.core.schedule import Entry, Schedule
from veloz_chaos.core.trigger import Trigger, cron, triggers

#: What fires on more days than one is due on says so, so that a lost history does not run it on each of them.
LATE = "12h"
#: Each entry has a scheduler of its own there: so long it waits for those of the others.
QUEUE = "6h"


@dataclass(frozen=True)
class Export:
    name: str
    schedule: Schedule
    #: where the schedule, the environments and the runs are
    directory: str
    #: the schedule's file, as it is written
    text: str = ""
    image: str = ""
    #: not all of the schedule's entries
    part: bool = False

    @property
    def whole(self) -> str:
        """The words for all entries that are exported."""
        words = [self.name, *(word for entry in self.schedule.entries if self.part for word in ("--entry", entry.id))]
        return " ".join(words)

    @property
    def times(self) -> Mapping[tuple[str, str], list[str]]:
        """The entries to start, by cron's five fields and their zone."""
        found: dict[tuple[str, str], list[str]] = {}
        for entry in self.schedule.entries:
            for t in self.triggers(entry):
                found.setdefault((cron(t), t.zone), []).append(entry.id)
        return found

    @property
    def wait(self) -> str:
        """The words where one scheduler runs all of it: jitter is waited for."""
        longest = max((entry.jitter for entry in self.schedule.entries if entry.jitter), default=None)
        return "" if longest is None else f" --wait {show(longest)}"

    def triggers(self, entry: Entry) -> list[Trigger]:
        return triggers(self.schedule, entry)

    def arguments(self, entry: Entry, file: str = "") -> list[str]:
        """`schedule run` of one entry. `file`: where the schedule is there."""
        words = ["schedule", "run", file or self.name, "--entry", entry.id, "--queue", QUEUE]
        if entry.jitter is not None:
            words += ["--wait", show(entry.jitter)]
        first, *ends = self.triggers(entry)
        return words if first.exact and not ends else [*words, "--late", LATE]

    @property
    def head(self) -> list[str]:
        """What each file begins with."""
        return [
            f"# The schedule {self.name}, by `veloz-chaos schedule export`. It may well start when nothing is due:",
            "# `schedule run` looks what is, and does nothing else.",
        ]


def plain(entry: Entry) -> str:
    """A name that every scheduler takes: `pod-kill-staging`."""
    return "".join(c if c.isalnum() or c == "-" else "-" for c in entry.id.lower()).strip("-")


def printed(made: Mapping[str, str]) -> list[str]:
    """One file as it is; several, each under its name."""
    if len(made) == 1:
        return next(iter(made.values())).splitlines()
    return [line for name, text in made.items() for line in [f"# --- {name}", *text.splitlines(), ""]]


def _cron(export: Export) -> dict[str, str]:
    from veloz_chaos.reports import crontab

    return crontab.render(export)


def _systemd(export: Export) -> dict[str, str]:
    from veloz_chaos.reports import systemd

    return systemd.render(export)


def _github(export: Export) -> dict[str, str]:
    from veloz_chaos.reports import github

    return github.render(export)


def _gitlab(export: Export) -> dict[str, str]:
    from veloz_chaos.reports import gitlab

    return gitlab.render(export)


def _kubernetes(export: Export) -> dict[str, str]:
    from veloz_chaos.reports import cronjobs

    return cronjobs.render(export)


FORMATS: Mapping[str, Callable[[Export], dict[str, str]]] = {
    "cron": _cron,
    "systemd": _systemd,
    "github": _github,
    "gitlab": _gitlab,
    "kubernetes": _kubernetes,
}
