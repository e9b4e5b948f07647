"""`veloz-chaos judge`: the verdict again, from the journal alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from veloz_chaos import __version__
from veloz_chaos.cli import options, recorded, screen
from veloz_chaos.core.document import validate
from veloz_chaos.core.judge import limited
from veloz_chaos.core.matrix import ResponseMatrix
from veloz_chaos.engine import files
from veloz_chaos.engine import journal as journals
from veloz_chaos.errors import UsageError
from veloz_chaos.reports import document, verdict


def command(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run's folder or id.")],
    matrix: Annotated[
        Path | None, typer.Option("--matrix", metavar="FILE", help="By the limits of this response matrix.")
    ] = None,
    today: Annotated[bool, typer.Option("--today", help="By today's response matrix.")] = False,
    runs: options.Runs = Path("runs"),
    as_json: options.Json = False,
) -> int:
    """Judge a run again from its journal."""
    if matrix is not None and today:
        raise UsageError("--matrix and --today name two matrices; give one of them")
    found = recorded.complete(journals.find(runs, run))
    limits = validate(ResponseMatrix, files.document(matrix)) if matrix else files.matrix() if today else None
    judgement = found.judged(limits)
    plan = found.plan
    if limits is not None:
        plan = limited(plan, limits)
    if as_json:
        one = document.run(judgement, plan, str(found.folder), found.started.at)
        screen.out(json.dumps(document.document([one], judgement.exit_code, __version__), ensure_ascii=False))
    else:
        screen.out(*verdict.report(judgement, plan, str(found.folder), screen.width()))
    return judgement.exit_code
