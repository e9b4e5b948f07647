"""Others hear of a run's start and verdict; those who can't, or won't, change nothing but for a warning."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests.catch.catching import catching
from tests.engine.listeners import Manner, listening
from tests.engine.system import System, running, verdicts
from tests.infra import certificates
from tests.infra.toxiproxy import free_port
from veloz_chaos.cli.run import command
from veloz_chaos.engine.conduct import Result
from veloz_chaos.engine.telling import ALL

WHO = ["Grafana", "Slack", "the webhook"]


def run(system: System, tell: dict[str, Any] | None, **changes: Any) -> Result:
    environment = system.environment(**({"tell": tell} if tell else {}))
    return system.run(system.experiment(**changes), environment)[0]


def test_everybody_hears_of_the_start_and_of_the_verdict(tmp_path: Path) -> None:
    with listening() as grafana, listening() as slack, listening() as hook, running(tmp_path) as system:
        tell = {
            "grafana": {"url": grafana.url + "/", "tags": ["chaos"], "headers": {"Authorization": "Bearer x"}},
            "slack": slack.url + "/services/T/B/x",
            "webhook": {"url": hook.url + "/hook?a=b"},
        }
        result = run(system, tell)
    assert (result.judgement.verdict, result.note) == ("passed", ""), verdicts(result)
    start, end = grafana.heard
    assert (start.method, start.path, start.headers["Authorization"]) == ("POST", "/api/annotations", "Bearer x")
    assert start.json["tags"] == ["veloz-chaos", "small", "chaos"]
    assert (end.method, end.path) == ("PATCH", "/api/annotations/7")
    assert end.json["tags"] == ["veloz-chaos", "small", "passed", "chaos"]
    assert end.json["time"] == start.json["time"] < end.json["timeEnd"] <= time.time() * 1000
    assert end.json["text"].startswith("PASSED small on small\ndetected after ")
    assert [one.path for one in slack.heard] == ["/services/T/B/x"] * 2
    assert slack.heard[0].json["text"] == "small on small starts: A small system is hurt"
    assert slack.heard[1].json["text"].startswith("PASSED small on small: detected after ")
    assert slack.heard[1].json["attachments"][0]["color"] == "good"
    began, ended = (one.json for one in hook.heard)
    assert (began["event"], began["run"], began["faults"]) == ("run-started", result.judgement.run, ["kill on system"])
    assert (ended["event"], ended["verdict"], ended["exit_code"]) == ("run-ended", "passed", 0)
    assert {one["expectation"] for one in ended["findings"]} >= {"detection", "recovery"}
    assert hook.heard[0].path == "/hook?a=b"


def test_a_run_that_is_refused_is_told_too(tmp_path: Path) -> None:
    with listening() as hook, running(tmp_path) as system:
        environment = system.environment(tell={"webhook": hook.url}, values={"url": "http://127.0.0.1:9"})
        result, _ = system.run(system.experiment(), environment)
    assert result.judgement.verdict == "refused"
    assert [one.json.get("verdict") for one in hook.heard] == [None, "refused"]
    assert hook.heard[1].json["summary"].startswith("healthy does not hold")


@pytest.mark.parametrize(
    ("manner", "said"),
    [
        ("hangs", "no answer within "),
        ("fails", "it answered 500: \\x1b[31mno [secret]"),
        ("redirects", "it answered 302"),
        ("drops", "remote end closed connection without response"),
    ],
)
def test_who_does_not_listen_changes_nothing(
    manner: Manner, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THE_TOKEN", "s3cr3t-t0k3n")
    with listening(manner) as who, listening() as other, running(tmp_path) as system:
        bad = [{"url": who.url + "/${env:THE_TOKEN}", "headers": {"Authorization": "${env:THE_TOKEN}"}} for _ in "12"]
        result = run(system, {"grafana": bad[0], "slack": bad[1], "webhook": other.url})
        ended = time.monotonic()
        took = ended - _ended(result, ended)
    assert result.judgement.verdict == "passed", (verdicts(result), result.judgement.reasons)
    lines = result.note.splitlines()
    assert len(lines) >= 2
    assert [line for line in lines if not line.startswith(("Grafana was not told", "Slack was not told"))] == []
    assert any(said in line for line in lines), lines
    assert "s3cr3t" not in result.note
    assert "s3cr3t" not in (result.folder / "journal.jsonl").read_text()
    assert [one.json["event"] for one in other.heard] == ["run-started", "run-ended"]
    assert all("s3cr3t" in one.path for one in who.heard)
    assert took < ALL + 15, "judged and told"


def _ended(result: Result, now: float) -> float:
    """The run's end by the clock that `now` is read from."""
    boot = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    assert result.history.ended
    return now - (boot - result.history.ended.at) / 1e9


def test_who_answers_nonsense_was_told(tmp_path: Path) -> None:
    with listening("babbles") as who, running(tmp_path) as system:
        result = run(system, {"grafana": who.url, "slack": who.url, "webhook": who.url})
    assert (result.judgement.verdict, result.note) == ("passed", "")
    told = [one for one in who.heard if one.path == "/api/annotations"]
    assert ["timeEnd" in one.json for one in told] == [False, True]  # no id to change: the region is made at once


def test_an_answer_without_an_end_is_not_waited_for(tmp_path: Path) -> None:
    with listening("trickles") as who, running(tmp_path) as system:
        result = run(system, {"slack": who.url})
        took = time.monotonic() - _ended(result, time.monotonic())
    assert result.note == f"Slack was not told in time: no answer within {ALL:g} s"
    assert ALL - 0.5 < took < ALL + 15


def test_nobody_there_no_such_url_and_no_such_secret(tmp_path: Path) -> None:
    with running(tmp_path) as system:
        tell = {
            "grafana": {"url": f"http://127.0.0.1:{free_port()}"},
            "slack": "file:///etc/passwd",
            "webhook": "${env:NOT_SET_ANYWHERE}",
        }
        result = run(system, tell)
    assert result.judgement.verdict == "passed"
    assert result.note.splitlines() == [
        f"{who} was not told of {what}: {why}"
        for who, why in zip(
            WHO,
            [
                "connection refused",
                "its url does not begin with http:// or https://",
                "${env:NOT_SET_ANYWHERE} is not set; export NOT_SET_ANYWHERE",
            ],
            strict=True,
        )
        for what in ("the start", "the verdict")
    ]


def test_certificates_of_ones_own(tmp_path: Path) -> None:
    folder = certificates.make(tmp_path)
    with listening(tls=certificates.server_side(folder)) as who, running(tmp_path) as system:
        trusted = {"url": who.url + "/trusted", "ca": str(folder / "ca.pem")}
        unseen = {"url": who.url + "/unseen", "verify": False}
        result = run(system, {"slack": trusted, "webhook": unseen, "grafana": who.url})
    assert result.note.splitlines() == [
        f"Grafana was not told of {what}: tls: certificate verify failed" for what in ("the start", "the verdict")
    ]
    assert sorted(one.path for one in who.heard) == ["/trusted"] * 2 + ["/unseen"] * 2


def test_the_proxy_of_the_environment_is_not_asked_for_what_is_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    with listening() as who, running(tmp_path) as system:
        assert run(system, {"slack": who.url}).note == ""


def test_the_catcher_understands_what_is_told(tmp_path: Path) -> None:
    with catching("-q") as catcher, running(tmp_path) as system:
        tell = {"slack": f"{catcher.url}/slack/trading", "webhook": f"{catcher.url}/webhook/all"}
        assert run(system, tell).note == ""
        titles = {(one["kind"], one["title"][:22]) for one in catcher.caught()}
    assert titles == {
        ("slack", "small on small starts:"),
        ("slack", "PASSED small on small:"),
        ("webhook", "A small system is hurt"),
    }


def test_the_command_prints_warnings_and_keeps_its_verdict(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with listening("fails") as who, running(tmp_path) as system:
        experiment, environment = system.experiment(), system.environment(tell={"slack": who.url})
        code = command(
            [str(experiment)], environment=str(environment), runs=tmp_path / "runs", as_json=True, quiet=True
        )
    told = capsys.readouterr()
    assert (code, json.loads(told.out)["runs"][0]["verdict"]) == (0, "passed")
    assert told.err.splitlines() == [
        f"Slack was not told of {what}: it answered 500: \\x1b[31mno" for what in ("the start", "the verdict")
    ]
