"""`veloz-chaos plan`: the dry run."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from veloz_chaos.cli import choice, options, screen
from veloz_chaos.engine import files
from veloz_chaos.engine.conduct import Request, planned, unallowed
from veloz_chaos.errors import PASSED, REFUSED
from veloz_chaos.registry import Registry
from veloz_chaos.reports.planned import as_json as plan_as_json
from veloz_chaos.reports.planned import describe


def command(
    experiment: Annotated[str, typer.Argument(metavar="EXPERIMENT", help="File or name in experiments/.")],
    environment: options.Environment = None,
    settings: options.Settings = None,
    placebo: Annotated[bool, typer.Option("--placebo", help="Everything but the fault.")] = False,
    seed: Annotated[int, typer.Option("--seed", help="Decides every random choice.")] = 0,
    flaw: options.Flaws = None,
    as_json: options.Json = False,
) -> int:
    """Show what a run would do; touch nothing."""
    path = files.find("experiments", experiment)
    asked = options.assignments(settings)
    with choice.environment(environment, flaw or (), backups=choice.destroys([path])) as place:
        request, registry = Request(path, place, asked, seed, placebo), Registry()
        made = planned(request, registry)
        reasons = unallowed(request, registry, made)
    screen.out(*([json.dumps(plan_as_json(made), ensure_ascii=False)] if as_json else describe(made, screen.width())))
    screen.err(*(["", "a run would be refused:", *reasons] if reasons else []))
    return REFUSED if reasons else PASSED
