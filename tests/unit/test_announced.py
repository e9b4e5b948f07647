"""The texts that others are told of a run."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from tests.unit.cli_runs import BEGAN, SECOND, WALL, Paper, events
from veloz_chaos.core import event as ev
from veloz_chaos.core.finding import Finding
from veloz_chaos.core.history import of
from veloz_chaos.core.judge import judge
from veloz_chaos.reports import announced as told
from veloz_chaos.reports.announced import Told


def start(paper: Paper) -> Told:
    first = events(paper)[0]
    assert isinstance(first, ev.RunStarted)
    return told.started(first)


def end(paper: Paper) -> Told:
    return told.ended(start(paper), judge(of(events(paper))), WALL + 60)


SLOW = Paper(recovered=12.0, watched=20.0)


def test_a_start() -> None:
    made = told.webhook(start(Paper()))
    assert (made["event"], made["experiment"], made["environment"], made["began"]) == (
        "run-started", "engine-crash", "paper", WALL,
    )  # fmt: skip
    assert made["faults"] == ["kill on engine"]
    assert "verdict" not in made
    assert told.annotation(start(Paper()), ["x", "paper"]) == {
        "time": round(WALL * 1000),
        "tags": ["veloz-chaos", "engine-crash", "paper", "x"],
        "text": "engine-crash on paper\nThe engine process dies\nrun 0badcafe",
    }
    message = told.slack(start(Paper(placebo=True)))
    assert message["text"] == "engine-crash on paper (placebo) starts: The engine process dies"


@pytest.mark.parametrize(
    ("paper", "verdict", "colour"),
    [(Paper(), "passed", "good"), (SLOW, "failed", "danger"), (Paper(ended=False), "inconclusive", "warning")],
)  # fmt: skip
def test_a_verdict(paper: Paper, verdict: str, colour: str) -> None:
    made = json.loads(json.dumps(told.webhook(end(paper)), allow_nan=False))
    assert (made["event"], made["verdict"], made["ended"]) == ("run-ended", verdict, WALL + 60)
    assert all(set(finding) == {"expectation", "verdict", "reason"} for finding in made["findings"])
    message = told.slack(end(paper))
    assert message["text"].startswith(f"{verdict.upper()} engine-crash on paper")
    assert message["attachments"][0]["color"] == colour
    region = told.annotation(end(paper), [])
    assert (region["timeEnd"], region["tags"][-1]) == (round((WALL + 60) * 1000), verdict)


def test_what_failed_is_said() -> None:
    for text in (told.slack(end(SLOW))["attachments"][0]["text"], told.annotation(end(SLOW), [])["text"]):
        assert "failed: recovery: took at least 11.9 s, the limit is 10 s" in text
        assert "passed: " not in text


def test_slack_is_given_no_markup_and_nothing_endless() -> None:
    findings = tuple(Finding(f"f{n}", "failed", "<!channel> & " + "x" * 300) for n in range(30))
    message = told.slack(replace(end(SLOW), title="<!here>", summary="<http://x|y>", findings=findings))
    for text in (message["text"], message["attachments"][0]["text"], message["attachments"][0]["fallback"]):
        assert "<" not in text
        assert len(text) < 2 * told.LONGEST
    assert "&lt;!channel&gt; &amp;" in message["attachments"][0]["text"]
    assert BEGAN < 60 * SECOND
