"""Go or no-go before a strike of a drill: asked in the journal, answered by a file as manual steps are."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from veloz_chaos.core import event as ev
from veloz_chaos.core.duration import nanoseconds
from veloz_chaos.engine import confirm
from veloz_chaos.engine.clock import moment, now
from veloz_chaos.errors import Refused

if TYPE_CHECKING:
    from veloz_chaos.engine.run import Run

#: What a single strike is called; in an experiment of steps it is the step's name.
STRIKE = "go"


async def ask(run: Run, name: str, faults: Sequence[str]) -> None:
    """Returns when somebody says go; looking goes on meanwhile. Raises Refused for a no-go, or nobody's word."""
    if run.go is None:
        return
    path = confirm.place(run.journal.folder, name)
    path.unlink(missing_ok=True)  # nobody's word of before counts
    deadline = now() + nanoseconds(run.go)
    run.emit(ev.GoAsked(name=name, faults=list(faults), deadline=deadline, **moment()), sync=True)
    if not await run.until(path.exists, deadline):
        run.emit(ev.GoAnswered(name=name, go=False, **moment()), sync=True)
        raise Refused(f"nobody said go for {name} within {run.go.total_seconds():g} s")
    who, go = await asyncio.to_thread(confirm.word, path)
    run.emit(ev.GoAnswered(name=name, go=go, by=who, **moment()), sync=True)
    if not go:
        raise Refused(f"no-go for {name} by {who}")
