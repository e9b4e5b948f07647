"""What a CI job keeps: JUnit XML, a Markdown summary, a folder to upload. Written anew after each run, so that a job
that is killed has what was done until then."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from veloz_chaos.cli import screen
from veloz_chaos.errors import PASSED, USAGE, UsageError

if TYPE_CHECKING:
    from veloz_chaos.reports.told import Told

Junit = Annotated[
    Path | None, typer.Option("--junit", metavar="FILE", help="Also as JUnit XML, a case for each expectation.")
]
Markdown = Annotated[Path | None, typer.Option("--markdown", metavar="FILE", help="Also as a summary in Markdown.")]
Results = Annotated[
    Path | None,
    typer.Option("--results", metavar="DIR", help="A folder to upload: JSON, JUnit, Markdown, and each run's own."),
]
#: Where GitHub takes a job's summary from.
_SUMMARY = "GITHUB_STEP_SUMMARY"


@dataclass
class Published:
    junit: Path | None = None
    markdown: Path | None = None
    results: Path | None = None
    #: what could not be written
    _error: str = ""

    def __bool__(self) -> bool:
        return bool(self._files())

    def prepare(self) -> None:
        """Before anything is run: can they be written? Raises UsageError."""
        self.write([], {"tool": "veloz-chaos", "runs": []})
        if self._error:
            raise UsageError(self._error)

    def write(self, told: Sequence[Told], document: Mapping[str, Any]) -> None:
        """`document`: what `--json` prints."""
        if not self:
            return
        from veloz_chaos.reports import junit, markdown

        texts = {"junit": junit.render(told), "markdown": markdown.render(told)}
        try:
            for path, kind in self._files().items():
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(texts.get(kind) or json.dumps(document, ensure_ascii=False) + "\n", encoding="utf-8")
            if self.results is not None:
                for one in told:
                    _copy(one.folder, self.results / "runs")
        except OSError as error:
            self._error = f"{error.filename or self.results}: can't be written: {error.strerror or error}"

    def end(self, told: Sequence[Told], code: int) -> int:
        """The exit code: what can't be read by anybody is no success."""
        summary = os.environ.get(_SUMMARY)
        if summary:
            from veloz_chaos.reports import markdown

            try:
                with open(summary, "a", encoding="utf-8") as file:
                    file.write(markdown.render(told))
            except OSError as error:
                screen.err(f"{_SUMMARY}: {summary}: can't be written: {error.strerror}")
        if self._error:
            screen.err(self._error)
        return USAGE if self._error and code == PASSED else code

    def _files(self) -> dict[Path, str]:
        """path -> what is in it"""
        found = {}
        if self.results is not None:
            found = {
                self.results / "results.json": "json",
                self.results / "junit.xml": "junit",
                self.results / "summary.md": "markdown",
            }
        found |= {self.junit: "junit"} if self.junit is not None else {}
        return found | ({self.markdown: "markdown"} if self.markdown is not None else {})


def _copy(folder: str, runs: Path) -> None:
    """A run's own folder, as it is; only files."""
    if not folder or (runs / Path(folder).name).exists():
        return
    from veloz_chaos.engine.merging import no_files

    shutil.copytree(folder, runs / Path(folder).name, ignore=no_files)
