"""Runs for machines that read JUnit and people who read Markdown."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from junitparser import Error, Failure, JUnitXml

from tests.unit.cli_runs import SECOND, Paper, events, plan
from veloz_chaos.core import event as ev
from veloz_chaos.core.history import of
from veloz_chaos.core.judge import judge
from veloz_chaos.reports import junit, markdown
from veloz_chaos.reports.told import Told


def told(paper: Paper, *more: ev.Event, placebo: bool = False) -> Told:
    judgement = judge(of([*events(paper), *more]))
    made = plan(paper)
    return Told(
        made.experiment, made.environment, judgement.verdict, judgement.exit_code, (), judgement, made, "runs/r",
        1_700_000_000.0, 12.5, "engine-crash@paper, due 2023-11-15" if placebo else "",
    )  # fmt: skip


GOOD, SLOW = told(Paper()), told(Paper(recovered=60.0, watched=30.0))
SHORT = told(Paper(watched=1.15))
LEFT = told(Paper(held=True))
REFUSED = Told("pod-kill", "staging", "refused", 4, ("the environment is in use", "by run 1234"))
INVALID = Told("pod-kil", "staging", "invalid", 2, ("there is no experiment `pod-kil`",))
ALL = [GOOD, SLOW, SHORT, LEFT, REFUSED, INVALID]


def cases(one: Told) -> dict[str, ElementTree.Element]:
    (suite,) = ElementTree.fromstring(junit.render([one]))
    return {str(case.get("name")): case for case in suite.iter("testcase")}


def test_each_expectation_is_a_case_with_what_was_measured_the_limit_and_where_it_stands() -> None:
    found = cases(GOOD)
    assert GOOD.judgement is not None
    assert list(found) == [finding.expectation for finding in GOOD.judgement.findings]
    recovery = found["recovery"]
    said = recovery.findtext("system-out") or ""
    assert re.match(r"1\.\d+–1\.\d+ s, limit 10 s\nwithin the limit\nruns/r/journal\.jsonl:\d+", said)
    assert 1.0 < float(recovery.get("time", "0")) < 1.5
    assert recovery.get("classname") == "paper.engine-crash"


def test_failed_is_a_failure_with_its_reason() -> None:
    failure = cases(SLOW)["recovery"].find("failure")
    assert failure is not None
    assert failure.get("type") == "failed"
    assert str(failure.get("message")).startswith("took at least")
    assert "limit 10 s" in (failure.text or "")


def test_inconclusive_is_an_error() -> None:
    kinds = {case.find("error").get("type") for case in cases(SHORT).values() if case.find("error") is not None}  # type: ignore[union-attr]
    assert kinds == {"inconclusive"}


@pytest.mark.parametrize("one", [REFUSED, INVALID], ids=["refused", "invalid"])
def test_what_never_became_a_run_is_one_error(one: Told) -> None:
    (case,) = cases(one).values()
    error = case.find("error")
    assert error is not None
    assert (case.get("name"), error.get("type"), error.get("message")) == ("run", one.verdict, one.reasons[0])
    assert error.text == "\n".join(one.reasons)


def test_something_left_behind_is_a_failure_of_the_run_itself() -> None:
    failure = cases(LEFT)["run"].find("failure")
    assert failure is not None
    assert "undo --it" in str(failure.get("message"))


def test_the_counts_agree_also_for_another_reader() -> None:
    read = JUnitXml.fromstring(junit.render(ALL).encode())
    assert [suite.name for suite in read] == [one.title for one in ALL]
    assert read.tests == sum(len(list(suite)) for suite in read)
    results = [result for suite in read for case in suite for result in case.result]
    assert read.failures == sum(isinstance(result, Failure) for result in results) > 0
    assert read.errors == sum(isinstance(result, Error) for result in results) > 0
    first: Any = next(iter(read))
    properties = {p.name: p.value for p in first.properties()}
    assert (properties["verdict"], properties["run"], properties["failure"]) == ("passed", "0badcafe", "engine-crash")


def test_nothing_run_is_an_empty_report() -> None:
    assert ElementTree.fromstring(junit.render([])).get("tests") == "0"
    assert "**nothing was run**" in markdown.render([])


@given(st.text())
def test_whatever_a_system_says_is_xml(text: str) -> None:
    one = replace(REFUSED, reasons=(text or "x", "\0\x1b[31m\ud800<]]>&"), environment=text or "x")
    ElementTree.fromstring(junit.render([one]).encode("utf-8", "surrogatepass"))


def test_the_summary_is_a_table_and_what_did_not_pass() -> None:
    text = markdown.render(ALL)
    lines = text.splitlines()
    assert lines[2] == "**1 passed**, **1 failed**, **1 inconclusive**, **1 left-behind**, **1 refused**, **1 invalid**"
    table = [line for line in lines if line.startswith("| ")]
    assert table[0] == "| experiment | environment | verdict | detected | recovered | why |"
    assert re.match(r"\| engine-crash \| paper \| ✅ passed \| .* ms \| 1\.\d+–1\.\d+ s \| detected after", table[1])
    assert "### ❌ engine-crash on paper: failed" in text
    assert re.search(
        r"- \*\*failed: recovery\*\* \(≥ 2\d\.\d s, limit 10 s\): took at least 2\d\.\d s, the limit is 10 s", text
    )
    assert "undo --it" in text
    assert text.count("<details>") == text.count("</details>") == 3
    assert "### ✅" not in text


@given(st.text(alphabet="|`<>*_[]#~\\ \n\rab"))
def test_whatever_a_system_says_ends_no_table(text: str) -> None:
    lines = markdown.render([replace(REFUSED, reasons=(text or "x",))]).splitlines()
    (row,) = [line for line in lines if line.startswith("| pod-kill")]
    assert len(re.findall(r"(?<!\\)\|", row.replace("\\\\", ""))) == 7
    assert "<" not in re.sub(r"\\<", "", row)


def test_lengths_are_those_of_the_findings() -> None:
    assert GOOD.length_of("recovery") is not None
    assert GOOD.length_of("nothing") is None
    measured = SLOW.length_of("recovery")
    assert measured is not None
    assert measured.at_least > 20 * SECOND
