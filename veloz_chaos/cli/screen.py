"""What reaches the terminal: lines on stdout and stderr, never a traceback, never a complaint of a broken pipe."""

from __future__ import annotations

import os
import shutil
import sys
from typing import TextIO

from veloz_chaos import errors


def out(*lines: str) -> None:
    _write(sys.stdout, lines)


def err(*lines: str) -> None:
    _write(sys.stderr, lines)


def width() -> int:
    """Columns of the terminal; 80 where there is none."""
    return max(40, shutil.get_terminal_size((80, 24)).columns)


def terminal() -> bool:
    """Can stderr show something that moves?"""
    return sys.stderr.isatty() and os.environ.get("TERM", "") not in ("", "dumb")


def tell(error: errors.Error) -> int:
    """The message in plain lines; returns the exit code."""
    err(*message(error))
    return error.exit_code


def message(error: errors.Error) -> list[str]:
    """One line per problem; for a file's problems their number at the end. YAML to be copied stands as it is."""
    lines = str(error).splitlines()
    if isinstance(error, errors.InvalidFile) and len(error.problems) > 1:
        lines.append(f"{len(error.problems)} problems")
    if isinstance(error, errors.Refused):
        said = next((n for n, line in enumerate(lines) if line.startswith("apiVersion:")), len(lines))
        lines = ["refused, nothing was touched:", *(f"  {line}" for line in lines[:said]), *lines[said:]]
    return lines


def bug(error: Exception) -> int:
    """One line for the user, the traceback into a file for us."""
    import tempfile
    import traceback

    with tempfile.NamedTemporaryFile("w", prefix="veloz-chaos-bug-", suffix=".txt", delete=False) as file:
        file.write("".join(traceback.format_exception(error)))
    err(f"this is a bug of veloz-chaos: {type(error).__name__}: {error}; please report it with {file.name}")
    return errors.BUG


def close(code: int) -> int:
    """Flush; the reader of a pipe may have gone."""
    out()
    return code


def _write(stream: TextIO, lines: tuple[str, ...]) -> None:
    try:
        stream.write("".join(f"{line}\n" for line in lines))
        stream.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    except UnicodeEncodeError:
        encoding = stream.encoding
        stream.write("".join(f"{line}\n" for line in lines).encode(encoding, "replace").decode(encoding))
