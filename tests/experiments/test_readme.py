"""The README's week and its drill, as a new user types them: its files, its commands, the exit codes that it names."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.experiments.documents import ROOT
from tests.infra.require import absent
from veloz_chaos.core import event as ev
from veloz_chaos.engine import journal
from veloz_chaos.sandbox import database

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(300)]
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_EXIT = re.compile(r"# exit (\d)")


def section(title: str, folder: Path) -> list[list[str]]:
    """The lines of each block of commands; its files are written."""
    text = (ROOT / "README.md").read_text().split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]
    blocks = []
    for kind, body in _BLOCK.findall(text):
        if kind == "yaml":
            path = folder / body.splitlines()[0].removeprefix("# ")
            path.parent.mkdir(exist_ok=True)
            path.write_text(body)
        else:
            blocks.append(body.splitlines())
    return blocks


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A fresh folder, with the program on the path; what was left up is taken down."""
    program = tmp_path / "bin" / "veloz-chaos"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m veloz_chaos "$@"\n')
    program.chmod(0o755)
    yield tmp_path
    typed("veloz-chaos sandbox down", tmp_path).communicate()


def typed(line: str, place: Path) -> subprocess.Popen[str]:
    paths = {"PATH": f"{place / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    pipe = subprocess.PIPE
    return subprocess.Popen(
        ["bash", "-c", line], cwd=place, env={**os.environ, **paths}, stdin=subprocess.DEVNULL,
        stdout=pipe, stderr=pipe, text=True,
    )  # fmt: skip


def done(line: str, place: Path) -> str:
    """What it said; it must end as the line says, else well."""
    going = typed(line, place)
    said, errors = going.communicate(timeout=150)
    wanted = _EXIT.search(line)
    assert going.returncode == (int(wanted[1]) if wanted else 0), f"{line}\n{said}{errors}"
    return " ".join((said + errors).split())


def test_a_week_of_a_schedule(place: Path) -> None:
    (block,) = section("A week of a schedule", place)
    due, run, good, missing, late, again, overdue = (done(line, place) for line in block)
    assert "engine-crash@sandbox due 2030-01-07 09:00" in due
    assert "PASSED engine-crash on sandbox" in run
    assert "2 of 2 entries are as they should be" in good
    assert "MISSING pod-kill@sandbox: never run; was due 2030-01-09 09:00 UTC" in missing
    assert "PASSED pod-kill on sandbox" in late
    assert "engine-crash" not in late
    assert again == good
    assert "OVERDUE engine-crash@sandbox: was due 2030-01-14 09:00 UTC" in overdue


@pytest.mark.postgres
def test_a_drill(place: Path) -> None:
    if database.kind() != database.POSTGRESQL:
        absent("postgresql", "no PostgreSQL that can be started here; apt-get install postgresql")
    if shutil.which("ssh-keygen") is None:
        absent("ssh-keygen", "no ssh-keygen here; apt-get install openssh-client")
    before, meanwhile, after = section("A drill", place)
    *prepared, run = before
    # other ports, for a sandbox may be up on the usual ones; and less time for orders to flow
    quick = {"sandbox up": "sandbox up --free-ports", "-o q1.plan": "-o q1.plan --set trading=2s"}
    for line in prepared:
        for plain, instead in quick.items():
            line = line.replace(plain, instead)
        said = done(line, place)
        if "drill plan" in line:
            assert "step decide: incident-commander confirms, within 15 min: Declare the disaster" in said
    going = typed(run, place)
    try:
        for line in meanwhile:
            done(asked(line, place, going), place)
        said, errors = going.communicate(timeout=150)
    finally:
        going.kill()
    assert going.returncode == 0, said + errors
    assert "step decide" in said and "PASSED full-dr-test on drill" in said
    assert "step decide done by carol" in errors
    told = [done(line.replace("RUN", run_of(place)), place) for line in after]
    assert "approved by alice@example.com, carol@example.com" in told[0]
    assert "signed by carol@example.com" in told[2]
    assert "CHANGED q1.tar.gz" in told[4]


def run_of(place: Path) -> str:
    (folder,) = (place / "runs").glob("*-full-dr-test-*")
    return folder.name.rpartition("-")[2]


def asked(line: str, place: Path, going: subprocess.Popen[str]) -> str:
    """The line with the run's id, once the run waits for it."""
    step = line.split()[4]
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and going.poll() is None:
        for folder in (place / "runs").glob("*-full-dr-test-*"):
            for event in journal.read(folder):
                waits = event.name if isinstance(event, ev.GoAsked) else ""
                began = event.step if isinstance(event, ev.StepBegan) else ""
                if step in (waits, began):
                    return line.replace("RUN", run_of(place))
        time.sleep(0.1)
    raise AssertionError(f"nobody was asked for {step}")
