"""Every `veloz-chaos …` line in the documentation names a command and options that exist."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from veloz_chaos.cli.app import COMMANDS, load

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
_BLOCK = re.compile(r"^```(?:sh|console|bash|shell)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def lines(page: Path) -> Iterator[str]:
    """The commands in its code blocks, without prompts and comments."""
    for block in _BLOCK.findall(page.read_text()):
        for line in block.splitlines():
            if line.removeprefix("$ ").startswith("veloz-chaos "):
                yield line.removeprefix("$ ")


WRITTEN = [(page, line) for page in PAGES if page.exists() for line in lines(page)]


@pytest.mark.parametrize(("page", "line"), WRITTEN, ids=lambda value: str(value)[-60:])
def test_what_the_pages_call_exists(page: Path, line: str) -> None:
    words = shlex.split(re.split(r"[|;>]|&&", line)[0], comments=True)[1:]
    if words[0].startswith("-"):
        assert words[0] in ("--version", "--help", "-h")
        return
    assert words[0] in COMMANDS, f"{page}: {line}"
    command: Any = load(words[0])
    if hasattr(command, "commands") and len(words) > 1 and not words[1].startswith("-"):
        assert words[1] in command.commands, f"{page}: {line}"
        command = command.commands[words[1]]
    known = {option for parameter in command.params for option in parameter.opts} | {"-h", "--help"}
    asked = {word.split("=")[0] for word in words[1:] if re.match(r"--?[a-z]", word)}
    assert asked <= known, f"{page}: {line}"
