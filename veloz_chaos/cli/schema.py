"""`veloz-chaos schema`: what editors need to complete and check the files."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from veloz_chaos.cli import screen
from veloz_chaos.core.nearest import did_you_mean
from veloz_chaos.errors import PASSED, UsageError
from veloz_chaos.registry import Registry
from veloz_chaos.reports import schema


def command(
    kind: Annotated[
        str, typer.Argument(metavar="KIND", help="experiment, environment, matrix or schedule.")
    ] = "experiment",
) -> int:
    """Print the JSON Schema of a kind of file, for editors."""
    if kind not in schema.KINDS:
        raise UsageError(f"there is no kind `{kind}`; {did_you_mean(kind, schema.KINDS)}")
    screen.out(json.dumps(schema.of(kind, Registry()), indent=2, ensure_ascii=False))
    return PASSED
