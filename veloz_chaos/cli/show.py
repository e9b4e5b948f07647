"""`veloz-chaos show`: a run told again from its journal, or an experiment in words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from veloz_chaos import __version__
from veloz_chaos.cli import options, recorded, screen
from veloz_chaos.engine import files
from veloz_chaos.engine import journal as journals
from veloz_chaos.errors import PASSED, UsageError
from veloz_chaos.reports import document, experiment, verdict
from veloz_chaos.reports.narrative import Narrator


def command(
    name: Annotated[str, typer.Argument(metavar="RUN|EXPERIMENT", help="A run's folder or id, or an experiment.")],
    looks: Annotated[bool, typer.Option("--looks", help="Every look, not only what changed.")] = False,
    runs: options.Runs = Path("runs"),
    as_json: options.Json = False,
) -> int:
    """Show a run again from its journal, or an experiment in words."""
    folder = _run(runs, name)
    if folder is None:
        _experiment(files.find("experiments", name), as_json=as_json)
        return PASSED
    found = recorded.read(folder)
    if as_json:
        one = document.run(found.judged(), found.plan, str(folder), found.started.at)
        screen.out(json.dumps(document.document([one], PASSED, __version__), ensure_ascii=False))
        return PASSED
    narrator = Narrator(every=looks)
    screen.out(*filter(None, map(narrator.tell, found.events)), "")
    if found.history.ended is None:
        alive = recorded.under_way(found.started)
        screen.out("the run is still under way" if alive else f"the run has no end; veloz-chaos revert {folder}")
    else:
        screen.out(*verdict.report(found.judged(), found.plan, str(folder), screen.width()))
    return PASSED


def _run(runs: Path, name: str) -> Path | None:
    """None if it is no run; an experiment's own name is never one."""
    try:
        return journals.find(runs, name)
    except UsageError:
        if Path(name).suffix in (".yaml", ".yml") or name in files.names("experiments"):
            return None
        if "/" in name or not files.names("experiments"):
            raise
    return None


def _experiment(path: Path, *, as_json: bool) -> None:
    parsed, _, parameters = files.experiment(path)
    matrix = files.matrix(path)
    if parsed.failure not in matrix.rows:
        raise UsageError(f"{path}: the response matrix has no row `{parsed.failure}`")
    if as_json:
        screen.out(json.dumps(parsed.model_dump(mode="json", by_alias=True, exclude_none=True), ensure_ascii=False))
    else:
        screen.out(*experiment.describe(parsed, matrix.limits(parsed.failure), parameters, screen.width()))
