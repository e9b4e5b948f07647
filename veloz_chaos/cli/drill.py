"""`veloz-chaos drill`: what people do in a run that asks for them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from veloz_chaos.cli import operator, options, screen
from veloz_chaos.engine import confirm as confirming
from veloz_chaos.engine import journal as journals
from veloz_chaos.errors import PASSED

app = typer.Typer(
    help="Confirm what a run waits for.",
    rich_markup_mode=None,
    add_completion=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _group() -> None:
    """Confirm what a run waits for."""


@app.command()
def confirm(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Its folder or id.")],
    step: Annotated[str, typer.Argument(metavar="STEP", help="A manual step that it waits for.")],
    by: Annotated[str, typer.Option("--by", metavar="NAME", help="Who did it; without it the user's name.")] = "",
    runs: options.Runs = Path("runs"),
) -> int:
    """Say that a manual step is done."""
    folder = journals.find(runs, run)
    who = by or operator.name()
    confirming.confirm(folder, step, who)
    screen.out(f"{folder}: {step} is confirmed by {who}")
    return PASSED
