"""The manifest of an evidence bundle: a line for each file, each with the hash of the line before.

    veloz-chaos evidence 1
    <of the line before> <of the file> <bytes> <path>
    …
    <of the line before> end <files>

Whoever changes one line has to change all that follow; the hash of the last one, the seal, stands for the whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from typing import NamedTuple

MANIFEST, SIGNATURE = "MANIFEST", "MANIFEST.sig"
HEAD = "veloz-chaos evidence 1"
#: Bytes of one file and of all, and how many there may be: no bundle needs more, a trap would.
LARGEST, LARGEST_IN_ALL, MOST = 256 << 20, 768 << 20, 10_000
_LINE = re.compile(r"([0-9a-f]{64}) ([0-9a-f]{64}) (0|[1-9][0-9]{0,15}) (.+)")
_END = re.compile(r"([0-9a-f]{64}) end (0|[1-9][0-9]{0,15})")


class Entry(NamedTuple):
    path: str
    sha256: str
    size: int


class Manifest(NamedTuple):
    entries: Sequence[Entry]
    #: the hash of the last line
    seal: str
    #: what is wrong with it as it stands, one sentence each
    problems: Sequence[str]


def entry(path: str, data: bytes) -> Entry:
    return Entry(path, sha256(data).hexdigest(), len(data))


def write(entries: Iterable[Entry]) -> str:
    """In the order of their paths."""
    lines, listed = [HEAD], sorted(entries)
    for one in listed:
        lines.append(f"{_hash(lines[-1])} {one.sha256} {one.size} {one.path}")
    lines.append(f"{_hash(lines[-1])} end {len(listed)}")
    return "".join(f"{line}\n" for line in lines)


def read(text: str) -> Manifest:
    """Reads on behind what is wrong: all of it is told at once."""
    lines = text.split("\n")
    problems: list[str] = []
    if lines[0] != HEAD:
        problems.append(f"{MANIFEST}:1: does not begin with `{HEAD}`")
    if lines.pop() or len(lines) < 2:
        problems.append(f"{MANIFEST}: its end is cut off")
    entries: list[Entry] = []
    before = lines[0] if lines else ""
    for number, line in enumerate(lines[1:], start=2):
        last = number == len(lines)
        match = (_END if last else _LINE).fullmatch(line)
        if match is None:
            problems.append(f"{MANIFEST}:{number}: is no line of a manifest")
        elif match[1] != _hash(before):
            problems.append(f"{MANIFEST}:{number}: does not follow from the line before; one of both was changed")
        if match is not None and last and int(match[2]) != len(entries):
            problems.append(f"{MANIFEST}:{number}: speaks of {match[2]} files; it lists {len(entries)}")
        if match is not None and not last:
            entries.append(Entry(match[4], match[2], int(match[3])))
        before = line
    paths = [one.path for one in entries]
    if paths != sorted(set(paths)):
        problems.append(f"{MANIFEST}: its paths are not in order, or one is listed twice")
    return Manifest(entries, _hash(before), problems)


def compare(listed: Sequence[Entry], found: Mapping[str, Entry]) -> list[str]:
    """What differs between a manifest and the files that are there, each by name."""
    wanted = {one.path: one for one in listed}
    problems = [
        f"{path}: was changed: its SHA-256 is {found[path].sha256[:16]}…, the manifest's {one.sha256[:16]}…"
        for path, one in wanted.items()
        if path in found and found[path] != one
    ]
    added = {path: one for path, one in found.items() if path not in wanted}
    for path, one in wanted.items():
        if path in found:
            continue
        same = next((other for other, its in added.items() if its.sha256 == one.sha256), None)
        if same is None:
            problems.append(f"{path}: was removed")
        else:
            problems.append(f"{path}: was renamed to {same}")
            del added[same]
    return problems + [f"{path}: was added" for path in added]


def unsafe(path: str) -> str:
    """Why a path in an archive is not to be touched; empty if it may be."""
    if not path or len(path) > 240 or not path.isprintable():
        return "its name is empty, too long or unprintable"
    if path.startswith("/") or "\\" in path or re.match(r"[A-Za-z]:", path):
        return "its path is absolute, or another system's"
    if any(part in ("", ".", "..") for part in path.split("/")):
        return "its path leaves its folder"
    return ""


def _hash(line: str) -> str:
    return sha256(f"{line}\n".encode()).hexdigest()
