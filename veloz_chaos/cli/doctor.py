"""`veloz-chaos doctor`: can runs work here, and can they be undone? Finds out by doing, where doing harms nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from veloz_chaos.cli import choice, diagnosis, options, screen
from veloz_chaos.cli.diagnosis import Check
from veloz_chaos.engine import files
from veloz_chaos.errors import FAILED, PASSED
from veloz_chaos.reports.planned import labelled


def command(environment: options.Environment = None, runs: options.Runs = Path("runs")) -> int:
    """Check whether runs can work, and be undone, on this machine."""
    checks = [*diagnosis.machine(runs), *diagnosis.guardian()]
    screen.out(*_lines(checks))
    if environment is not None:
        read = files.environment(choice.named(environment)).environment
        reached, found = diagnosis.reach(read)
        for on, faults in reached:
            screen.out("", on, *labelled(faults, screen.width()))
        short, roles = diagnosis.allowed(read)
        screen.out("", *_lines([*found, *short]), *(["", *roles] if roles else []))
        checks += [*found, *short]
    bad = sum(check.state == "bad" for check in checks)
    screen.out("", f"{bad} problem{'' if bad == 1 else 's'}" if bad else "all is well")
    return FAILED if bad else PASSED


def _lines(checks: list[Check]) -> list[str]:
    return [line for check in checks for line in _line(check)]


def _line(check: Check) -> Iterator[str]:
    from veloz_chaos.reports.verdict import wrapped

    words = {"good": "ok  ", "note": "note", "bad": "BAD "}
    first, *rest = wrapped(f"{check.what}: {check.found}", screen.width() - 6) or [""]
    yield f"{words[check.state]}  {first}"
    yield from (f"      {line.strip()}" for line in rest)
