"""Files as the servers themselves would load them: `promtool` and `amtool` are asked, where they are installed."""

from __future__ import annotations

import asyncio
import re
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from veloz_chaos.core import linting_refused as refusals
from veloz_chaos.core.linting_refused import AMTOOL, PROMTOOL, Tool
from veloz_chaos.core.linting_setup import Finding, Literal_, Rule
from veloz_chaos.core.linting_yaml import read

#: Seconds that a tool may take, and how many run at once.
PATIENCE, AT_ONCE = 20.0, 4
_CONFIG = ("check", "config", "--syntax-only")
_RULES = ("check", "rules", "--lint=none")
_ROUTES = ("check-config",)
_VERSION = re.compile(r"version ([^\s,]+)")
#: Where in a file that we wrote: it says nothing to whoever reads it.
_PLACE = re.compile(r"^\d+:\d+: ")


@dataclass(frozen=True)
class _Ended:
    """`why`: it did not come to a verdict."""

    code: int
    output: str
    why: str = ""


async def prometheus(
    config: Path | None, files: Sequence[Path], rules: Sequence[Rule], literals: Sequence[Literal_]
) -> list[Finding]:
    """What promtool refuses; what configurations name besides (targets' certificates, …) need not be here."""
    asked = _Asking(PROMTOOL)
    if not asked.installed:
        return [asked.missing()]
    with tempfile.TemporaryDirectory(prefix="veloz-chaos-") as name:
        of_config = asked.one(_CONFIG, config, literals, Path(name)) if config else _nothing()
        found = await asyncio.gather(of_config, asked.rules(files, rules, Path(name)))
    return [one for some in found for one in some]


async def alertmanager(config: Path, literals: Sequence[Literal_]) -> list[Finding]:
    """What amtool refuses, templates too as far as they are here."""
    asked = _Asking(AMTOOL)
    if not asked.installed:
        return [asked.missing()]
    with tempfile.TemporaryDirectory(prefix="veloz-chaos-") as name:
        return await asked.one(_ROUTES, config, literals, Path(name))


async def _nothing() -> list[Finding]:
    return []


class _Asking:
    """One tool and what it is asked."""

    def __init__(self, tool: Tool) -> None:
        self._tool = tool
        self._path = shutil.which(tool.name) or ""
        self._slots = asyncio.Semaphore(AT_ONCE)

    @property
    def installed(self) -> bool:
        return bool(self._path)

    def missing(self) -> Finding:
        remedy = f"install {self._tool.name}, which comes with {self._tool.package}"
        return refusals.unchecked(self._tool, "is not installed", remedy)

    async def one(self, words: Sequence[str], file: Path, literals: Iterable[Literal_], folder: Path) -> list[Finding]:
        """A file that only what is left literal makes unfit is none that is refused: that is told of anyway."""
        if not file.is_file():
            return [self._unread(file)]
        ended = await self._run(words, file)
        if ended.code == 0:
            return []
        said = refusals.words(ended.output, str(file))
        text = file.read_text(encoding="utf-8")
        filled = refusals.filled(text, (one for one in literals if one.spot.file == str(file)))
        if said and filled:
            copies = [_written(folder / f"{self._tool.name}-{n}.yml", copied) for n, copied in enumerate(filled)]
            again = await asyncio.gather(*(self._run(words, copy) for copy in copies))
            said = refusals.not_of_literals(
                [refusals.words(one.output, str(copy)) for one, copy in zip(again, copies, strict=True)]
            )
            if not said:
                return []
        return [await self._told(ended, file, said)]

    async def rules(self, files: Sequence[Path], rules: Sequence[Rule], folder: Path) -> list[Finding]:
        """All at once; each alone only if any is refused. Objects of Kubernetes become files of their own."""
        unread = [self._unread(file) for file in files if not file.is_file()]
        given = [
            (path, file) for number, file in enumerate(files) if file.is_file()
            for path in _rule_files(file, folder, number)
        ]  # fmt: skip
        if not given or (await self._run(_RULES, *(path for path, _ in given))).code == 0:
            return unread
        each = await asyncio.gather(*(self._rule_file(path, file, rules) for path, file in given))
        return [*unread, *(one for some in each for one in some)]

    async def _rule_file(self, path: Path, file: Path, rules: Sequence[Rule]) -> list[Finding]:
        ended = await self._run(_RULES, path)
        if ended.code == 0:
            return []
        said = refusals.words(ended.output, str(path))
        if path != file:
            said = [_PLACE.sub("", one) for one in said]
        return [await self._told(ended, file, said, [one for one in rules if one.spot.file == str(file)])]

    def _unread(self, file: Path) -> Finding:
        return refusals.unchecked(self._tool, "reads plain files only", "save it as one", str(file))

    async def _told(self, ended: _Ended, file: Path, said: Sequence[str], rules: Iterable[Rule] = ()) -> Finding:
        tool = self._tool
        if not said:
            why = ended.why or f"ended with {ended.code}"
            return refusals.unchecked(tool, why, "try it by hand", str(file))
        version = await self._version()
        if keys := refusals.unknown(tool, said):
            why = f"{version} does not know {', '.join(f'`{key}`' for key in keys)}".strip()
            remedy = f"install the {tool.name} of the {tool.server} that reads it"
            return refusals.unchecked(tool, why, remedy, str(file))
        return refusals.refused(tool, version, str(file), said, rules)

    async def _version(self) -> str:
        found = _VERSION.search((await self._run(("--version",))).output)
        return found[1] if found else ""

    async def _run(self, words: Sequence[str], *files: Path) -> _Ended:
        """Its standard input is empty, its output and errors are one text."""
        arguments = [*words, *(["--", *map(str, files)] if files else [])]
        async with self._slots:
            try:
                child = await asyncio.create_subprocess_exec(
                    self._path, *arguments, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.STDOUT,
                )  # fmt: skip
            except OSError as error:
                return _Ended(-1, "", f"can't be run: {error.strerror}")
            try:
                async with asyncio.timeout(PATIENCE):
                    output, _ = await child.communicate()
            except TimeoutError:
                return _Ended(-1, "", f"gave no answer within {PATIENCE:g} s")
            finally:
                if child.returncode is None:
                    with suppress(ProcessLookupError):
                        child.kill()
                    await child.wait()
        return _Ended(child.returncode or 0, output.decode("utf-8", "replace"))


def _rule_files(file: Path, folder: Path, number: int) -> list[Path]:
    """What promtool can read of it."""
    text = file.read_text(encoding="utf-8")
    made = refusals.objects(read(text, str(file))) if "PrometheusRule" in text else []
    return [_written(folder / f"rules-{number}-{n}.yml", one) for n, one in enumerate(made)] or [file]


def _written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path
