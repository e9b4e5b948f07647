"""The table of commands, and what becomes of every error.

`--help` must be quick, so the one-line helps stand here and a command's module is imported only when it is called; a
test holds both together.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from veloz_chaos import __version__, errors

#: In the order of the help: `cli/<name>.py` is the command.
COMMANDS: Mapping[str, str] = {
    "run": "Run experiments and judge what the system did.",
    "plan": "Show what a run would do; touch nothing.",
    "validate": "Check files; show everything wrong with them at once.",
    "list": "List experiments, environments, faults and probes.",
    "show": "Show a run again from its journal, or an experiment in words.",
    "judge": "Judge a run again from its journal.",
    "history": "List and compare runs; bring those of other machines.",
    "matrix": "Show which rows of the response matrix are proven, where, and what is due.",
    "schedule": "Show what is due when and where, run it, check the evidence.",
    "revert": "Take out what unfinished runs left in place.",
    "abort": "End a run under way: revert first, then stop.",
    "drill": "Plan, approve and run drills; confirm what a run waits for.",
    "evidence": "Make and check evidence: runs as one file that can't change unseen.",
    "doctor": "Check whether runs can work, and be undone, on this machine.",
    "sandbox": "Start and stop the embedded trading stack.",
    "proxy": "Run fault proxies until interrupted; the faults http and dns control them.",
    "catch": "Take notifications in place of Slack, PagerDuty and webhooks.",
    "lint": "Find what is wrong with alerts before anything fails.",
    "init": "Copy the shipped experiments, environments and schedules, to be changed.",
    "schema": "Print the JSON Schema of a kind of file, for editors.",
}
_EPILOG = (
    "Exit codes: 0 passed, 1 failed, 2 wrong usage or an invalid file, 3 inconclusive, 4 refused, 5 aborted, "
    "6 something is left behind, 70 a bug of veloz-chaos."
)
_SETTINGS = {"help_option_names": ["-h", "--help"]}
#: click's own "wrong usage", wherever this version of typer keeps it.
_WrongUsage: type[Exception] = typer.BadParameter.__mro__[2]


class LazyGroup(TyperGroup):
    """Commands come from COMMANDS and are imported by name."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002
        command = load(cmd_name) if cmd_name in COMMANDS else None
        if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            signal.signal(signal.SIGINT, signal.default_int_handler)  # all is imported: what has begun is to unwind
        return command

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            from veloz_chaos.core.nearest import did_you_mean

            raise errors.UsageError(f"there is no command `{args[0]}`; {did_you_mean(args[0], COMMANDS)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def load(name: str) -> Any:
    """A command from its module: `app` where it has commands of its own, else the function `command`."""
    module = import_module(f"veloz_chaos.cli.{name}")
    made: typer.Typer | None = getattr(module, "app", None)
    if made is None:
        made = typer.Typer(add_completion=False, rich_markup_mode=None)
        made.command(name, context_settings=_SETTINGS)(module.command)
    command = typer.main.get_command(made)
    command.name = name
    return command


def _version(asked: bool) -> None:
    if asked:
        print(f"veloz-chaos {__version__}")
        raise typer.Exit


app = typer.Typer(cls=LazyGroup, add_completion=False, rich_markup_mode=None, context_settings=_SETTINGS)


@app.callback(epilog=_EPILOG)
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Chaos experiments, judged against the failure response matrix."""


def start(arguments: Sequence[str]) -> int:
    """One command; returns the exit code. Nothing that the user did wrong ends in a traceback."""
    from veloz_chaos.cli import screen

    code = errors.BUG
    try:
        code = _call(arguments)
    except errors.Error as error:
        code = screen.tell(error)
    except _WrongUsage as wrong:
        wrong.show()  # type: ignore[attr-defined]
        code = errors.USAGE
    except KeyboardInterrupt:
        screen.err("interrupted")
        code = errors.ABORTED
    except BrokenPipeError:
        code = errors.PASSED
    except Exception as error:  # noqa: BLE001  # one of two places: whatever is left is our own bug
        code = screen.bug(error)
    return screen.close(code)


def _call(arguments: Sequence[str]) -> int:
    command: Any = typer.main.get_command(app)
    if not arguments:
        arguments = ["--help"]
    try:
        with command.make_context("veloz-chaos", list(arguments)) as context:
            return int(command.invoke(context) or 0)
    except typer.Exit as done:
        return int(done.exit_code)
