"""Sessions: a login before the first look and the first order, its token shown, renewed in time, and never written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.engine.gateway import PASSWORD, Gateway, gateway
from tests.engine.system import LOOK, System, names, running, verdicts
from tests.engine.test_workload_run import environment as with_orders
from veloz_chaos import errors
from veloz_chaos.engine.conduct import Request, planned
from veloz_chaos.registry import Registry
from veloz_chaos.reports.planned import describe

BEARER = {"authorization": "Bearer ${session:trader}"}


def environment(system: System, server: Gateway, **session: Any) -> Path:
    """The small system's, with a gateway that wants a token of whoever looks or trades."""
    data = yaml.safe_load(with_orders(system, server).read_text())
    login = {"post": f"{server.url}/login", "json": {"user": "trader", "password": "${env:TRADER_PASSWORD}"}}
    data["sessions"] = {"trader": {"login": login, "token": "data.access_token"} | session}
    data["probes"]["let-in"] = {"http": {"get": f"{server.url}/gateway"}, "as": "trader", "ok": "status == 200", **LOOK}
    orders = data["workloads"]["orders"]
    for asked in (orders["place"], orders["cancel"], *orders["read"].values()):
        asked["http"]["headers"] = dict(BEARER)  # YAML would write an alias
    return system._write("environment", data)


@pytest.fixture(autouse=True)
def password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRADER_PASSWORD", PASSWORD)


def experiment(system: System, baseline: str = "300ms") -> Path:
    return system.experiment(steady_state=["healthy", "let-in"], workload="orders", baseline=baseline)


def test_a_token_is_renewed_before_it_is_too_old_and_never_written(tmp_path: Path) -> None:
    with running(tmp_path) as system, gateway() as server:
        server.guarded = 4.0
        result, _ = system.run(experiment(system, "5s"), environment(system, server, refresh="1s"))
        assert server.unauthorized == 0
        assert len(server.tokens) >= 6  # the runner's and the workload's
        assert server.open == []
    assert result.judgement.verdict == "passed", verdicts(result)
    written = "".join(file.read_text() for file in result.folder.iterdir() if file.is_file())
    assert "vc-" in written
    assert PASSWORD not in written
    assert not [token for token in server.tokens if token in written]


def test_a_token_that_is_too_old_is_told_by_the_look(tmp_path: Path) -> None:
    with running(tmp_path) as system, gateway() as server:
        server.guarded = 1.0
        result, events = system.run(experiment(system, "3s"), environment(system, server))
    assert result.judgement.exit_code == errors.REFUSED
    assert any("let-in does not hold: 401" in reason for reason in result.judgement.reasons)
    assert "fault-prepared" not in names(events)


def test_a_login_that_fails_later_leaves_the_token_of_the_one_before(tmp_path: Path) -> None:
    with running(tmp_path) as system, gateway() as server:
        server.guarded = 60.0

        given: list[int] = []

        def lock(event: Any) -> None:
            if event.event == "workload-started":
                server.locked = True
                given.extend([len(server.tokens), server.logins])

        chosen = environment(system, server, refresh="1s")
        result, _ = system.run(experiment(system, "3s"), chosen, observe=lock)
        assert (len(server.tokens), server.logins > given[1]) == (given[0], True)
    assert result.judgement.verdict == "passed", verdicts(result)


def wrong_password(server: Gateway, session: dict[str, Any]) -> str:
    session["login"] = {"post": f"{server.url}/login", "json": {"user": "trader", "password": "guessed"}}
    return 'session trader: its login was answered by 403 {"error": "forbidden"'


def no_token(_: Gateway, session: dict[str, Any]) -> str:
    session["token"] = "access_token"
    return "session trader: the answer to its login has no `access_token`"


def nobody(_: Gateway, session: dict[str, Any]) -> str:
    session["login"] = {"get": "http://127.0.0.1:9/login"}
    return "session trader: its login was answered by refused"


@pytest.mark.parametrize("change", [wrong_password, no_token, nobody])
def test_a_start_without_a_login_is_refused(change: Callable[[Gateway, dict[str, Any]], str], tmp_path: Path) -> None:
    with running(tmp_path) as system, gateway() as server:
        session: dict[str, Any] = {}
        told = change(server, session)
        result, events = system.run(experiment(system), environment(system, server, **session))
        assert server.asked == {}
    assert result.judgement.exit_code == errors.REFUSED
    assert told in result.judgement.reasons[0]
    assert "look-taken" not in names(events)


def test_a_workload_alone_logs_in_too(tmp_path: Path) -> None:
    with running(tmp_path) as system, gateway() as server:
        server.guarded = 60.0
        result, _ = system.run(system.experiment(workload="orders"), environment(system, server))
        assert server.unauthorized == 0
        assert server.asked
        assert server.logins == 1
    assert result.judgement.verdict == "passed", verdicts(result)


def test_another_header_shows_the_token_alone_and_its_own_is_kept(tmp_path: Path) -> None:
    with running(tmp_path) as system, gateway() as server:
        server.guarded = 60.0
        path = environment(system, server, header="X-Token")
        data = yaml.safe_load(path.read_text())
        data["probes"]["let-in"]["http"]["headers"] = dict(BEARER)
        data["probes"]["let-in"]["ok"] = "status == 200 && json.for.startsWith('token-')"
        path.write_text(yaml.safe_dump(data))
        result, _ = system.run(experiment(system), path)
    assert result.judgement.verdict == "passed", verdicts(result)


def test_a_plan_shows_the_sessions_without_their_secrets(tmp_path: Path) -> None:
    with running(tmp_path) as system, gateway() as server:
        chosen = environment(system, server, refresh="10m")
        made = planned(Request(experiment(system), chosen), Registry())
        other = planned(Request(system.experiment(), chosen), Registry())
    text = "\n".join(describe(made))
    assert f"session trader\n  login          POST {server.url}/login, before the first look" in text
    assert "every 10 min" in text
    assert PASSWORD not in made.model_dump_json()
    assert other.sessions == {}  # nothing of it asks for one
