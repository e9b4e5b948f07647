"""The table of commands, the speed of the help, and what becomes of errors."""

from __future__ import annotations

import inspect
import json
import signal
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from veloz_chaos import __version__, errors
from veloz_chaos.cli import screen
from veloz_chaos.cli.app import COMMANDS

ROOT = Path(__file__).parents[2]


def call(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "veloz_chaos", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=150, check=False)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_table_agrees_with_each_command(name: str) -> None:
    module = import_module(f"veloz_chaos.cli.{name}")
    app = getattr(module, "app", None)
    said = app.info.help if app else inspect.getdoc(module.command)
    assert said is not None
    assert said.splitlines()[0] == COMMANDS[name]
    assert (module.__doc__ or "").startswith(f"`veloz-chaos {name}`")


def test_every_command_has_its_file_and_every_file_its_place_in_the_table() -> None:
    files = {path.stem for path in (ROOT / "veloz_chaos/cli").glob("*.py")}
    modules = {name: import_module(f"veloz_chaos.cli.{name}") for name in files - {"app"}}
    commands = {name for name, module in modules.items() if hasattr(module, "command") or hasattr(module, "app")}
    assert commands == set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str) -> None:
    answer = call(name, "--help")
    assert answer.returncode == 0, answer.stderr
    assert COMMANDS[name] in answer.stdout


def test_help_imports_nothing_heavy() -> None:
    """Time differs from machine to machine; what takes it does not."""
    code = (
        "import sys; from veloz_chaos.cli.app import start; start(['--help']);"
        "heavy = ('pydantic', 'yaml', 'rich', 'asyncio', 'aiohttp', 'veloz_chaos.core.plan');"
        "print([name for name in heavy if name in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert answer.stdout.splitlines()[-1] == "[]"
    assert all(name in answer.stdout for name in COMMANDS)


def test_the_guardian_needs_no_command_line() -> None:
    code = "import sys; import veloz_chaos.__main__, veloz_chaos.cli._guardian; print('typer' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert answer.stdout.strip() == "False"


def test_version() -> None:
    assert call("--version").stdout == f"veloz-chaos {__version__}\n"


def test_an_unknown_command_is_told_what_was_meant() -> None:
    answer = call("vaildate")
    assert answer.returncode == 2
    assert answer.stderr == "there is no command `vaildate`; did you mean `validate`?\n"


def test_wrong_options_are_wrong_usage() -> None:
    answer = call("run", "--no-such-option")
    assert answer.returncode == 2
    assert "No such option" in answer.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run", "engine-crsh"), "there is no experiment `engine-crsh`; did you mean `engine-crash`?"),
        (("run", "engine-crash", "-e", "sandbx"), "there is no environment `sandbx`; did you mean `sandbox`?"),
        (("run", "engine-crash", "--set", "signal"), "--set signal: write --set NAME=VALUE"),
        (
            ("run", "engine-crash", "--set", "signal=on"),
            "--set signal=on: `on` is read as true; write true or quote it",
        ),
        (("plan", "no/such.yaml"), "no/such.yaml: no such file"),
        (("run", "engine-crash", "-e", "sandbox", "--flaw", "health-lies"), "leave -e out"),
        (("sandbox", "up", "--flaw", "health-lie", "--dir", "/nonexistent/x"), "did you mean 'health-lies'?"),
        (("judge", "no-such-run"), "there is no run `no-such-run`"),
        (("schema", "matrx"), "there is no kind `matrx`; did you mean `matrix`?"),
        (("revert", "--all", "x"), "exclude each other"),
    ],
)
def test_what_the_user_did_wrong_is_said_in_plain_lines(arguments: tuple[str, ...], message: str) -> None:
    answer = call(*arguments)
    assert answer.returncode == 2
    assert message in answer.stderr
    assert "Traceback" not in answer.stderr
    assert answer.stdout == ""


def interrupted_at(module: str, handler: Any, *arguments: str) -> tuple[int, str]:
    """The exit code, and what is told after Ctrl-C came as that module had just been imported."""
    process = subprocess.Popen(
        [sys.executable, "-X", "importtime", "-m", "veloz_chaos", *arguments],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd=ROOT,
        preexec_fn=lambda: signal.signal(signal.SIGINT, handler),
    )  # fmt: skip
    assert process.stderr is not None
    assert any(line.rstrip().endswith(f" {module}") for line in process.stderr)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    return process.returncode, "".join(line for line in told.splitlines(True) if not line.startswith("import time:"))


@pytest.mark.parametrize("module", ["veloz_chaos.cli", "typer.core", "typer", "pydantic", "asyncio.events"])
def test_an_interrupt_while_it_starts_is_told_in_a_word(module: str, tmp_path: Path) -> None:
    runs = ("--runs", str(tmp_path / "runs"))
    assert interrupted_at(module, signal.default_int_handler, "run", "engine-crash", *runs) == (5, "interrupted\n")


def test_an_interrupt_that_is_ignored_stays_ignored() -> None:
    assert interrupted_at("veloz_chaos.cli", signal.SIG_IGN, "run", "--help") == (0, "")


def test_a_bug_is_one_line_and_a_file(tmp_path: Path) -> None:
    code = (
        "import sys, veloz_chaos.cli.app as app\n"
        "def broken(arguments): raise ZeroDivisionError('oh')\n"
        "app._call = broken\n"
        "sys.exit(app.start(['list']))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={"TMPDIR": str(tmp_path)},
    )
    assert answer.returncode == 70
    assert answer.stderr.startswith("this is a bug of veloz-chaos: ZeroDivisionError: oh")
    (written,) = tmp_path.glob("veloz-chaos-bug-*.txt")
    assert "Traceback" in written.read_text()


def test_a_reader_that_leaves_is_no_error() -> None:
    command = f"{sys.executable} -m veloz_chaos list | head -c 10"
    answer = subprocess.run(command, shell=True, capture_output=True, text=True, check=False, cwd=ROOT, timeout=60)
    assert answer.stderr == ""
    assert len(answer.stdout) == 10


def test_list_is_one_json_document() -> None:
    listed = json.loads(call("list", "--json").stdout)
    assert {"kill", "latency"} <= set(listed["faults"])
    assert "signal through a pidfd" in listed["faults"]["kill"]["process"]
    assert "http" in listed["probes"]


def test_yaml_to_be_copied_stands_as_it_is_in_a_refusal() -> None:
    told = screen.message(errors.Refused("this is lacking:\napiVersion: v1\nrules:\n  - a\n---\nkind: B"))
    assert told[1:] == ["  this is lacking:", "apiVersion: v1", "rules:", "  - a", "---", "kind: B"]
    assert screen.message(errors.Refused("a\nb"))[1:] == ["  a", "  b"]


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_standard_stream_may_be_closed(closed: str) -> None:
    """Nothing of ours gets its number: what a child inherits would be lost with it."""
    code = "import os, veloz_chaos.__main__ as m; m._open_what_is_closed(); os._exit(os.open('/', os.O_RDONLY))"
    assert subprocess.run(["bash", "-c", f'exec "$0" -c "{code}" {closed}', sys.executable], check=False).returncode > 2
    command = ["bash", "-c", f'exec "$0" -m veloz_chaos list {closed}', sys.executable]
    assert subprocess.run(command, cwd=ROOT, check=False, stdout=subprocess.DEVNULL).returncode == 0
