"""Runs of a history on paper: short journals as runners leave them, judged or not."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.unit.cli_runs import Paper, events, write
from veloz_chaos.core import event as ev
from veloz_chaos.core.history import of
from veloz_chaos.core.judge import judge
from veloz_chaos.core.told import told
from veloz_chaos.engine import journal

DAY = 86_400.0


def lay(runs: Path, day: float, paper: Paper | None = None, *, kept: bool = True, **plan: Any) -> Path:
    """One run, `day` days after the first; `plan` changes its plan. Its looks are left out unless it is not judged."""
    paper = paper or Paper()
    paper = replace(paper, run=f"{int(day * 1000) % 2**32:08x}" if paper.run == Paper().run else paper.run)
    found = [_moved(event, day, plan) for event in events(paper)]
    if kept and paper.ended:
        judged = ev.RunJudged(**told(judge(of(events(paper)))), at=found[-1].at, wall=found[-1].wall)
        found = [found[0], *(e for e in found if "fault" in e.event), found[-1], judged]
    folder = write(runs, paper, f"{day:09.3f}-{found[0].plan.experiment}")  # type: ignore[union-attr]
    (folder / journal.FILE).write_text("".join(ev.write(event) + "\n" for event in found))
    return folder


def _moved(event: ev.Event, day: float, plan: dict[str, Any]) -> ev.Event:
    moved = event.model_copy(update={"wall": event.wall + day * DAY})
    if isinstance(moved, ev.RunStarted) and plan:
        moved = moved.model_copy(update={"plan": moved.plan.model_copy(update=plan)})
    return moved


def append(folder: Path, *more: ev.Event) -> None:
    with (folder / journal.FILE).open("a") as file:
        file.write("".join(ev.write(event) + "\n" for event in more))


def newer(folder: Path) -> None:
    lines = (folder / journal.FILE).read_text().splitlines()
    first = json.loads(lines[0]) | {"format": ev.FORMAT + 1, "from-the-future": True}
    (folder / journal.FILE).write_text("\n".join([json.dumps(first, separators=(",", ":")), *lines[1:]]) + "\n")
