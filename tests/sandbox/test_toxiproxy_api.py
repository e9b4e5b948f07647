"""The links' API against the real Toxiproxy server: the same requests, the same status codes and bodies."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from tests.infra.toxiproxy import Server, free_port
from tests.sandbox.stack import Answer, Stack, call

pytestmark = [pytest.mark.sandbox, pytest.mark.toxiproxy]
Request = tuple[str, str, object]
Ask = tuple[str, str]

PROXY = {"name": "p", "listen": "127.0.0.1:PORT", "upstream": "127.0.0.1:1"}
LATENCY = {"type": "latency", "attributes": {"latency": 100}}


def toxic(**fields: object) -> Request:
    return "POST", "/proxies/p/toxics", fields


CREATED: Request = ("POST", "/proxies", PROXY)
SHOWN: Request = ("GET", "/proxies/p", None)
DIALOGUES: dict[str, list[Request]] = {
    "version": [("GET", "/version", None), ("POST", "/version", None)],
    "unknown paths": [("GET", "/nowhere", None), ("GET", "/proxies/", None), ("PUT", "/proxies", None)],
    "create, show, delete": [
        CREATED,
        SHOWN,
        ("GET", "/proxies", None),
        CREATED,
        ("DELETE", "/proxies/p", None),
        ("DELETE", "/proxies/p", None),
        SHOWN,
    ],
    "create disabled": [("POST", "/proxies", {**PROXY, "enabled": False}), SHOWN],
    "create wrongly": [
        ("POST", "/proxies", ""),
        ("POST", "/proxies", "{"),
        ("POST", "/proxies", "xx"),
        ("POST", "/proxies", "[]"),
        ("POST", "/proxies", "null"),
        ("POST", "/proxies", {"name": 1}),
        ("POST", "/proxies", {"name": "q"}),
        ("POST", "/proxies", {"upstream": "127.0.0.1:1"}),
        ("POST", "/proxies", {**PROXY, "listen": "nonsense"}),
        ("POST", "/proxies", {**PROXY, "enabled": "yes"}),
    ],
    "listen twice": [CREATED, ("POST", "/proxies", {**PROXY, "name": "q"}), ("GET", "/proxies", None)],
    "disable and enable": [
        CREATED,
        ("POST", "/proxies/p", {"enabled": False}),
        SHOWN,
        ("PATCH", "/proxies/p", {"enabled": True}),
        ("PATCH", "/proxies/p", {"enabled": True}),
        SHOWN,
    ],
    "update": [
        CREATED,
        ("PATCH", "/proxies/p", {"upstream": "127.0.0.1:2"}),
        ("POST", "/proxies/p", {"listen": "nonsense"}),
        ("POST", "/proxies/p", {"enabled": "x"}),
        ("POST", "/proxies/p", {"name": "ignored"}),
        ("POST", "/proxies/p", ""),
        ("PATCH", "/proxies/nobody", {}),
        SHOWN,
    ],
    "defaults of every toxic": [
        CREATED,
        *(toxic(type=kind) for kind in ("latency", "bandwidth", "slow_close", "timeout", "reset_peer")),
        *(toxic(type=kind) for kind in ("slicer", "limit_data", "noop")),
        ("GET", "/proxies/p/toxics", None),
        SHOWN,
    ],
    "toxic names and streams": [
        CREATED,
        toxic(**LATENCY),
        toxic(**LATENCY),
        toxic(**LATENCY, stream="upstream"),
        toxic(**LATENCY, name="mine", toxicity=0.25, stream="Upstream"),
        toxic(**LATENCY, stream="sideways"),
        ("GET", "/proxies/p/toxics/mine", None),
        ("GET", "/proxies/p/toxics/nobody", None),
        ("GET", "/proxies/nobody/toxics", None),
        ("GET", "/proxies/p/toxics", None),
    ],
    "toxics wrongly": [
        CREATED,
        toxic(),
        toxic(type="nonsense"),
        toxic(type="latency", attributes={"latency": "x"}),
        toxic(type="latency", attributes={"latency": 1.5}),
        toxic(type="latency", toxicity="x"),
        toxic(type="latency", attributes=[]),
        ("POST", "/proxies/p/toxics", ""),
        ("POST", "/proxies/p/toxics", "[]"),
        ("POST", "/proxies/nobody/toxics", LATENCY),
        toxic(type="latency", attributes={"LATENCY": 5, "unknown": 1}, Name="cased"),
        ("GET", "/proxies/p/toxics", None),
    ],
    "update a toxic": [
        CREATED,
        toxic(**LATENCY),
        ("POST", "/proxies/p/toxics/latency_downstream", {"attributes": {"jitter": 5}}),
        ("PATCH", "/proxies/p/toxics/latency_downstream", {"toxicity": 0.5, "stream": "upstream", "name": "x"}),
        ("PATCH", "/proxies/p/toxics/latency_downstream", {"attributes": {"jitter": "x"}}),
        ("PATCH", "/proxies/p/toxics/latency_downstream", ""),
        ("PATCH", "/proxies/p/toxics/nobody", {}),
        ("GET", "/proxies/p/toxics/latency_downstream", None),
        ("DELETE", "/proxies/p/toxics/latency_downstream", None),
        ("DELETE", "/proxies/p/toxics/latency_downstream", None),
        ("GET", "/proxies/p/toxics", None),
    ],
    "reset": [
        CREATED,
        toxic(**LATENCY),
        ("POST", "/proxies/p", {"enabled": False}),
        ("POST", "/reset", None),
        SHOWN,
        ("GET", "/reset", None),
    ],
    "populate": [
        ("POST", "/populate", [PROXY]),
        ("POST", "/populate", [PROXY]),
        ("POST", "/populate", [{**PROXY, "upstream": "127.0.0.1:2"}]),
        ("POST", "/populate", []),
        ("POST", "/populate", [{"name": "x"}]),
        ("POST", "/populate", [{"upstream": "x:1"}]),
        ("POST", "/populate", [{**PROXY, "name": "q"}]),
        ("POST", "/populate", ""),
        ("POST", "/populate", "{}"),
        ("GET", "/proxies", None),
    ],
}


@pytest.fixture(scope="module", autouse=True)
def no_proxies_of_our_own(shared: Stack) -> None:
    """The sandbox's own links would show in the index; these tests need none of them."""
    for name in ("exchange", "engine"):
        shared.links("DELETE", f"/proxies/{name}")


@pytest.fixture
def apis(shared: Stack, toxiproxy: Server) -> Iterator[tuple[str, str]]:
    """The links' API and the real server's, both empty after the test."""
    both = (shared.sandbox.url("links"), f"http://{toxiproxy.api}")
    yield both
    for api in both:
        for name in call(api + "/proxies").json:
            call(f"{api}/proxies/{name}", "DELETE")


def hold(api: str, dialogue: list[Request]) -> list[tuple[Ask, Answer]]:
    port = str(free_port())
    return [((method, path), _ask(api, method, path, body, port)) for method, path, body in dialogue]


def _ask(api: str, method: str, path: str, body: object, port: str) -> Answer:
    text = body if isinstance(body, str) or body is None else json.dumps(body).replace("PORT", port)
    answer = call(api + path, method, text)
    return Answer(answer.status, answer.text.replace(port, "PORT"), answer.headers)


def comparable(exchanged: list[tuple[Ask, Answer]]) -> list[tuple[Ask, int, str, str | None]]:
    """Bodies as they are, but for Go's names of its own types; and the content types."""
    return [
        (
            asked,
            answer.status,
            _without_go_types(answer.text),
            answer.headers.get("Content-Type") if answer.text else "",
        )
        for asked, answer in exchanged
    ]


def _without_go_types(text: str) -> str:
    return re.sub(r'into Go (value|struct field) .*?(?=","status")', "into …", text)


@pytest.mark.parametrize("dialogue", DIALOGUES.values(), ids=DIALOGUES)
def test_the_same_dialogue(apis: tuple[str, str], dialogue: list[Request]) -> None:
    ours, real = (comparable(hold(api, dialogue)) for api in apis)
    assert ours == real


def test_browsers_are_refused(apis: tuple[str, str]) -> None:
    ours, real = (call(api + "/version", agent="Mozilla/5.0") for api in apis)
    assert (ours.status, ours.text) == (real.status, real.text) == (403, "User agent not allowed\n")


def test_told_apart_by_a_header(apis: tuple[str, str]) -> None:
    ours, real = (call(api + "/version").headers for api in apis)
    assert ours["Server"] == "veloz-chaos-links" and "Server" not in real
