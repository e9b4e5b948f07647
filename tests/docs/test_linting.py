"""Every code that `lint alerts` can give has its line on its page, and the page names no other."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCES = [*(ROOT / "veloz_chaos/core").glob("linting*.py"), *(ROOT / "veloz_chaos/engine").glob("linting*.py")]
_CODE = re.compile(
    r'"((?:row|resolves|channel|inhibited|muted|metrics?|label|never|always|fires|rule|job|severity|routes?|receiver|secrets?|no'
    r'|alertmanagers?|files?)-[a-z-]+|inhibited)"'
)


def test_the_page_names_every_code() -> None:
    page = (ROOT / "docs/lint-alerts.md").read_text()
    table = page.split("## What it finds")[1].split("## ")[0]
    named = {
        code
        for line in table.splitlines()
        for code in re.findall(r"`([a-z-]+)`", line.split("|")[1] if "|" in line else "")
    }
    given = {code for path in SOURCES for code in _CODE.findall(path.read_text())}
    given |= {f"{what}-{how}" for what in ("detection", "notice") for how in ("impossible", "late")}
    assert given == named
