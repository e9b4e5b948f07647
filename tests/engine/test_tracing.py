"""A run's phases arrive as a trace by OTLP, where the usual variables ask for it; what can't be sent is a warning."""

from __future__ import annotations

import gzip
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.engine.listeners import Listener, listening
from tests.engine.system import running
from tests.infra.toxiproxy import free_port

pytest.importorskip("opentelemetry.exporter.otlp.proto.http")

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
HELD = {"pause": {"service": "system", "for": {"until": "decided", "at-most": "6s"}}}


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)


def note_of_a_run(folder: Path, fault: dict[str, Any] | None = None) -> str:
    with running(folder) as system:
        result, _ = system.run(system.experiment(fault))
    assert result.judgement.verdict == "passed", result
    return result.note


def received(listener: Listener) -> Any:
    one = listener.heard[0]
    body = gzip.decompress(one.body) if one.headers.get("Content-Encoding") == "gzip" else one.body
    return ExportTraceServiceRequest.FromString(body).resource_spans[0]


def test_the_phases_of_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with listening() as collector:
        monkeypatch.setenv(ENDPOINT, collector.url)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-token=abc")
        monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "team=chaos")
        assert note_of_a_run(tmp_path, HELD) == ""
    assert [(one.method, one.path) for one in collector.heard] == [("POST", "/v1/traces")]
    assert {k.lower(): v for k, v in collector.heard[0].headers.items()}["x-token"] == "abc"
    trace = received(collector)
    about = {each.key: each.value.string_value for each in trace.resource.attributes}
    assert (about["service.name"], about["team"]) == ("veloz-chaos", "chaos")
    spans = {span.name: span for span in trace.scope_spans[0].spans}
    assert set(spans) == {"run", "baseline", "inject", "hold", "revert", "recovery"}
    run = spans.pop("run")
    assert run.parent_span_id == b""
    assert {span.parent_span_id for span in spans.values()} == {run.span_id}
    for span in spans.values():
        assert run.start_time_unix_nano <= span.start_time_unix_nano <= span.end_time_unix_nano
        assert span.end_time_unix_nano <= run.end_time_unix_nano
    assert [event.name for event in run.events] == ["impact", "detected", "recovered"]
    told = {each.key: each.value for each in run.attributes}
    assert told["veloz_chaos.verdict"].string_value == "passed"
    assert "span" not in capsys.readouterr().err


def test_a_service_s_own_name_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with listening() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", collector.url + "/x")
        monkeypatch.setenv("OTEL_SERVICE_NAME", "ours")
        assert note_of_a_run(tmp_path) == ""
    assert collector.heard[0].path == "/x"
    about = {each.key: each.value.string_value for each in received(collector).resource.attributes}
    assert about["service.name"] == "ours"


@pytest.mark.parametrize("off", [{"OTEL_SDK_DISABLED": "true"}, {"OTEL_TRACES_EXPORTER": "none"}])
def test_it_can_be_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, off: dict[str, str]) -> None:
    with listening() as collector:
        for name, value in {ENDPOINT: collector.url, **off}.items():
            monkeypatch.setenv(name, value)
        assert note_of_a_run(tmp_path) == ""
    assert collector.heard == []


def test_nobody_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv(ENDPOINT, f"http://127.0.0.1:{free_port()}")
    note = note_of_a_run(tmp_path)
    assert note.startswith("OpenTelemetry was not told of the phases: ")
    assert "Connection refused" in note
    assert "export" not in capsys.readouterr().err


@pytest.mark.parametrize("manner", ["fails", "hangs"])
def test_who_does_not_take_it(manner: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with listening(manner) as collector:
        monkeypatch.setenv(ENDPOINT, collector.url)
        note = note_of_a_run(tmp_path)
    assert note.startswith("OpenTelemetry was not told ")
    assert note.count("\n") == 0
    assert len(collector.heard) >= 1


def test_another_protocol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENDPOINT, "http://127.0.0.1:4317")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    assert "OTEL_EXPORTER_OTLP_PROTOCOL is grpc; veloz-chaos speaks http/protobuf" in note_of_a_run(tmp_path)


def test_without_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENDPOINT, "http://127.0.0.1:4318")
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    assert note_of_a_run(tmp_path) == (
        "OpenTelemetry was not told of the phases: OpenTelemetry is not installed here; "
        "install it with: pip install 'veloz-chaos[otel]'"
    )


def test_without_the_variables_nothing_is_imported() -> None:
    import subprocess

    code = (
        "import sys; import veloz_chaos.engine.conduct as c; print(c.telling(None));"
        "heavy = ('opentelemetry', 'urllib.request', 'veloz_chaos.reports.announced');"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["None", "[]"]
