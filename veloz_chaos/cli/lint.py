"""`veloz-chaos lint`: what is wrong with a configuration, before anything fails."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from veloz_chaos.cli import choice, options, screen
from veloz_chaos.core.environment import Alerts
from veloz_chaos.errors import FAILED, PASSED, UsageError

app = options.group("Find what is wrong with alerts before anything fails.")


@app.callback()
def _root() -> None:
    """One command so far; the callback keeps its name on the command line."""


_Environment = Annotated[
    str | None,
    typer.Option("--environment", "-e", envvar="VELOZ_CHAOS_ENVIRONMENT", metavar="ENV",
                 help="Its running servers, and its own words; without it, or files, the sandbox's."),
]  # fmt: skip
_Rules = Annotated[
    list[str] | None,
    typer.Option("--rules", metavar="FILE", help="Rule files (a pattern, in quotes, too), not the running ones."),
]
_More = Annotated[list[str] | None, typer.Argument(metavar="RULES", help="More rule files.", show_default=False)]
_Config = Annotated[
    Path | None,
    typer.Option(
        "--prometheus-config", metavar="FILE", help="Jobs, intervals, and rule files if --rules is not given."
    ),
]
_Manager = Annotated[
    Path | None, typer.Option("--alertmanager-config", metavar="FILE", help="Routes, not the running ones.")
]
_Metrics = Annotated[
    list[str] | None,
    typer.Option("--metrics", metavar="[JOB=]FILE|URL", help="What a job exports; without JOB, all that there is."),
]
_Strict = Annotated[bool, typer.Option("--strict", help="Notes count too.")]


@app.command()
def alerts(
    more: _More = None,
    environment: _Environment = None,
    rules: _Rules = None,
    prometheus_config: _Config = None,
    alertmanager_config: _Manager = None,
    metrics: _Metrics = None,
    strict: _Strict = False,
    as_json: options.Json = False,
) -> int:
    """Can each alert of the document fire, in time, and reach whom it must? Exit 1 if anything is wrong."""
    from veloz_chaos.core.linting import lint
    from veloz_chaos.engine import files, linting
    from veloz_chaos.reports import linting as reports

    given = linting.Files([*(rules or ()), *(more or ())], prometheus_config, alertmanager_config, metrics or ())
    whole, found = linting.gather(given, _alerts(environment, given.any()), files.matrix())
    report = lint(whole, found)
    code = FAILED if report.defects or (strict and report.notes) else PASSED
    if as_json:
        screen.out(json.dumps(reports.as_json(report) | {"exit_code": code}, ensure_ascii=False))
    else:
        screen.out(*reports.describe(report, screen.width()))
    return code


def _alerts(name: str | None, from_files: bool) -> Alerts:
    """Where alerts are read, and the site's words. Raises UsageError."""
    from veloz_chaos.engine import files

    if name is None and from_files:
        return Alerts()
    path = choice.named(name) if name else choice.running()
    if path is None:
        raise UsageError(
            "what shall be looked at? Name an environment with -e, give --prometheus-config and --alertmanager-config, "
            "or start a sandbox: veloz-chaos sandbox up --monitoring"
        )
    found = files.environment(path).environment.alerts
    if found is None and not from_files:
        raise UsageError(
            f"{path}: it has no alerts:; write alerts: {{prometheus: URL, alertmanager: URL}}, or give --rules, "
            "--prometheus-config and --alertmanager-config"
        )
    return found or Alerts()
