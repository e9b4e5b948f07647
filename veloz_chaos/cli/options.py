"""Options that several commands share, and what their words mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from veloz_chaos.errors import InvalidFile, UsageError

Environment = Annotated[
    str | None,
    typer.Option("--environment", "-e", envvar="VELOZ_CHAOS_ENVIRONMENT", metavar="ENV",
                 help="File or name in environments/; without it the sandbox."),
]  # fmt: skip
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="A parameter of the experiment; may be given several times."),
]
Runs = Annotated[Path, typer.Option("--runs", metavar="DIR", help="Where runs are kept.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout, nothing else.")]
Flaws = Annotated[
    list[str] | None,
    typer.Option("--flaw", metavar="NAME", help="Seed a known weakness into the sandbox that is started for this."),
]


def group(about: str) -> typer.Typer:
    """A command of several."""
    names = {"help_option_names": ["-h", "--help"]}
    return typer.Typer(
        help=about, rich_markup_mode=None, add_completion=False, no_args_is_help=True, context_settings=names
    )


def assignments(texts: Sequence[str] | None) -> Mapping[str, Any]:
    """`k=v` with the value read as a YAML scalar. Raises UsageError."""
    return dict(map(_assignment, texts or ()))


def _assignment(text: str) -> tuple[str, Any]:
    from veloz_chaos.core.document import parse

    name, equals, value = text.partition("=")
    if not equals or not name:
        raise UsageError(f"--set {text}: write --set NAME=VALUE")
    try:
        read = parse(f"value: {value}", "--set").data["value"]
    except InvalidFile as error:
        first = error.problems[0]
        raise UsageError(f"--set {text}: {first.message}" + (f"; {first.remedy}" if first.remedy else "")) from None
    if isinstance(read, dict | list):
        raise UsageError(f"--set {text}: a parameter is one value; quote it if it is text")
    return name, read
