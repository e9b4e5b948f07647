"""Runs as JUnit XML, in the form that Jenkins, GitLab and GitHub's actions read: a suite for each run, a case for each
expectation. Failed is a failure; what could not be judged (inconclusive, refused, aborted, invalid) is an error."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from veloz_chaos.core.finding import Finding
from veloz_chaos.core.interval import SECOND
from veloz_chaos.reports.told import Told, measured
from veloz_chaos.reports.verdict import places

#: What XML has no way to write.
_NEVER = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
#: Verdicts of a whole run that are the system's fault, or leave it worse than it was.
_FAILURES = ("failed", "left-behind")


def render(told: Sequence[Told]) -> str:
    root = Element("testsuites", name="veloz-chaos")
    for one in told:
        _suite(root, one)
    for count in ("tests", "failures", "errors"):
        root.set(count, str(sum(int(suite.get(count, "0")) for suite in root)))
    root.set("time", f"{sum(one.seconds for one in told):.3f}")
    indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + tostring(root, encoding="unicode") + "\n"


def _suite(root: Element, one: Told) -> None:
    suite = SubElement(root, "testsuite", name=_text(one.title), time=f"{one.seconds:.3f}")
    suite.set("timestamp", datetime.fromtimestamp(one.started, UTC).strftime("%Y-%m-%dT%H:%M:%S"))
    properties = SubElement(suite, "properties")
    for name, value in _properties(one):
        SubElement(properties, "property", name=name, value=_text(value))
    if one.stopped_by or not one.findings:
        _stopped(suite, one)
    for finding in one.findings:
        _case(suite, one, finding)
    suite.set("tests", str(len(suite.findall("testcase"))))
    suite.set("failures", str(len(suite.findall("testcase/failure"))))
    suite.set("errors", str(len(suite.findall("testcase/error"))))


def _properties(one: Told) -> Iterator[tuple[str, str]]:
    yield "verdict", one.verdict
    yield "exit-code", str(one.exit_code)
    if one.judgement is not None:
        yield "run", one.judgement.run
        yield "folder", one.folder
    if one.plan is not None:
        yield "failure", one.plan.limits.row
        for name, value in one.plan.parameters.items():
            yield f"parameter.{name}", str(value)
        for warning in one.plan.warnings:
            yield "warning", warning
    if one.occasion:
        yield "occasion", one.occasion


def _stopped(suite: Element, one: Told) -> None:
    """A run that came to no verdict of its expectations is one case of its own."""
    case = SubElement(suite, "testcase", classname=_class(one), name="run", time=f"{one.seconds:.3f}")
    reasons = one.stopped_by or (one.said or one.verdict,)
    kind = "failure" if one.verdict in _FAILURES else "error"
    SubElement(case, kind, type=one.verdict, message=_text(reasons[0])).text = _text("\n".join(reasons))


def _case(suite: Element, one: Told, finding: Finding) -> None:
    case = SubElement(suite, "testcase", classname=_class(one), name=_text(finding.expectation))
    case.set("time", f"{_seconds(finding):.6f}")
    lines = [line for line in (measured(finding), finding.reason, *places(finding, one.folder)) if line]
    if finding.verdict == "passed":
        SubElement(case, "system-out").text = _text("\n".join(lines))
        return
    kind = "failure" if finding.verdict == "failed" else "error"
    SubElement(case, kind, type=finding.verdict, message=_text(finding.reason)).text = _text("\n".join(lines))


def _class(one: Told) -> str:
    """A point would be taken for a package's."""
    return _text(f"{one.environment.replace('.', '-')}.{one.experiment.replace('.', '-')}")


def _seconds(finding: Finding) -> float:
    """The most that it may have been; what never came took as long as was watched."""
    if finding.measured is None:
        return 0.0
    most = finding.measured.at_most
    return (finding.measured.at_least if math.isinf(most) else most) / SECOND


def _text(text: str) -> str:
    return _NEVER.sub("\ufffd", text)
