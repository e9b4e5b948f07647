"""A manual step is confirmed by a file in the run's folder, as a drill's go is: whoever may write there may say it."""

from __future__ import annotations

import json
import os
from pathlib import Path

from veloz_chaos.core import drill
from veloz_chaos.core import event as ev
from veloz_chaos.core.history import of
from veloz_chaos.engine import journal as journals
from veloz_chaos.errors import UsageError


def place(folder: Path, step: str) -> Path:
    return folder / f"{step}.confirmed"


def who(path: Path) -> str:
    """Who confirmed; a file that somebody made by hand need not say."""
    try:
        return str(json.loads(path.read_text())["by"])[:200]
    except (OSError, ValueError, KeyError, TypeError):
        return "somebody"


def word(path: Path) -> tuple[str, bool]:
    """Who spoke, and whether it was go; what can't be read is none."""
    try:
        return who(path), json.loads(path.read_text()).get("go", True) is True
    except (OSError, ValueError, AttributeError):
        return who(path), False


def confirm(folder: Path, step: str, by: str, *, go: bool = True) -> str:
    """Who was to confirm it, if that is somebody else: names are only believed, so nobody is refused. Raises UsageError
    unless the step is a manual one that is waited for, or a strike that waits for a go."""
    events = journals.read(folder)
    first = events[0] if events else None
    if not isinstance(first, ev.RunStarted):
        raise UsageError(f"{folder}: the journal does not begin with the start of a run")
    history = of(events)
    if history.ended is None and history.waiting_for_go == step:
        _say(place(folder, step), {"by": by, "go": go})
        return ""
    if not go:
        raise UsageError(f"{folder}: nothing waits for a go for `{step}`")
    if any(one.name == step and one.inject for one in first.plan.steps) and history.ended is None:
        raise UsageError(f"{folder}: nothing waits for a go for `{step}` now; confirm it when the run asks")
    planned = {one.name: one for one in first.plan.steps if one.manual is not None}
    if step not in planned:
        manual = ", ".join(planned) or "it has none"
        go_ = f"; a go is waited for: {history.waiting_for_go}" if history.waiting_for_go else ""
        raise UsageError(f"{folder}: `{step}` is no manual step of this run; its manual steps: {manual}{go_}")
    record = history.steps.get(step)
    if history.ended is not None:
        raise UsageError(f"{folder}: the run has ended ({history.ended.cause}); nothing waits for `{step}`")
    if record is None:
        raise UsageError(f"{folder}: `{step}` has not begun; confirm it when the run asks for it")
    if record.ended is not None:
        raise UsageError(f"{folder}: `{step}` is over ({record.outcome}); nothing waits for it")
    _say(place(folder, step), {"by": by})
    approved = next((one for one in events if isinstance(one, ev.RunApproved)), None)
    return drill.instead(first.plan, drill.roles_of(approved.document), step, by) if approved else ""


def _say(path: Path, said: dict[str, object]) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_text(json.dumps(said) + "\n")
        beside.rename(path)
    except OSError as error:
        raise UsageError(f"{path} can't be written: {error.strerror}") from None
