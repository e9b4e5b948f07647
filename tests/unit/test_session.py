"""Sessions as people write them."""

from __future__ import annotations

import pytest

from tests.property.simulation.files import planned, problems, written
from veloz_chaos.core.checking import Written
from veloz_chaos.core.session import Session

LOGIN = '{post: "http://127.0.0.1:1/login", json: {user: u, password: p}}'
SESSION = f"name: lab\nsessions: {{trader: {{login: {LOGIN}, token: access_token}}}}"
HEALTHY = 'healthy: {http: {get: "http://127.0.0.1:1/health"},'


def lab(*changes: tuple[str, str], session: str = SESSION) -> Written:
    return written((), [("name: lab", session), *changes])


def test_a_probe_as_somebody_shows_a_token() -> None:
    made = planned(lab((HEALTHY, HEALTHY + " as: trader,")))
    assert made.probes["healthy"].arguments["headers"] == {"Authorization": "Bearer ${session:trader}"}
    assert "headers" not in made.probes["down"].arguments
    assert list(made.sessions) == ["trader"]


def test_what_nobody_needs_is_not_logged_in_whatever_it_says() -> None:
    assert planned(lab(session=SESSION.replace("/login", "/${nobody}"))).sessions == {}


@pytest.mark.parametrize(
    ("changes", "session", "told"),
    [
        ([(HEALTHY, HEALTHY + " as: trdaer,")], SESSION, "there is no session `trdaer`; did you mean `trader`?"),
        (
            [('{http: {get: "http://127.0.0.1:1/health"}', '{as: trader, tcp: {connect: "127.0.0.1:1"}')],
            SESSION,
            "a probe of type tcp shows no token",
        ),
        (
            [('/health"}', '/health", headers: {x: "${session:nobody}"}}')],
            SESSION,
            "there is no session `nobody`",
        ),
        (
            [(HEALTHY, HEALTHY + " as: trader,")],
            SESSION.replace("token:", "refresh: 500ms, token:"),
            "`refresh` must be 1s at least",
        ),
        (
            [(HEALTHY, HEALTHY + " as: trader,")],
            SESSION.replace("user: u", 'user: "${side}"'),
            "a template can't name `side` here",
        ),
    ],
)
def test_what_would_fail_is_told_at_its_place(changes: list[tuple[str, str]], session: str, told: str) -> None:
    assert [told in problem for problem in problems(lab(*changes, session=session))] == [True]


@pytest.mark.parametrize(
    ("token", "answer", "found"),
    [
        ("token", {"token": "t"}, "t"),
        ("data.token", {"data": {"token": "t"}}, "t"),
        ("data.token", {"data": ["token"]}, ""),
        ("token", {"token": 5}, ""),
        ("token", None, ""),
    ],
)
def test_where_the_token_is(token: str, answer: object, found: str) -> None:
    session = Session.model_validate({"login": {"post": "http://a/login"}, "token": token})
    assert session.token_in(answer) == found
