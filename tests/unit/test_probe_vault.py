"""Vault's health and secrets, as Vault's API documents its answers; nothing of a secret in what may be written."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from tests.infra.answers import Answer, answering
from tests.infra.toxiproxy import free_port
from veloz_chaos.core.probe import Eye, Seen
from veloz_chaos.engine.look import why
from veloz_chaos.errors import UsageError
from veloz_chaos.probes.vault import PROBE, Vault

TOKEN = "${env:VAULT_TOKEN}"


def eye(fill: Callable[[str], str] = str) -> Eye:
    return Eye(timedelta(seconds=10), fill)


def look(probe: Vault, fill: Callable[[str], str] = str) -> Seen:
    return asyncio.run(probe.look(eye(fill)))


def health(answer: Answer) -> Seen:
    with answering({"/v1/sys/health": answer}) as server:
        return look(Vault(address=server.url, health=True))


def secret(answer: Answer) -> Seen:
    with answering({"/v1/secret/data/exchange": answer}) as server:
        return look(Vault(address=server.url + "/", read="secret/data/exchange", token=TOKEN))


@pytest.mark.parametrize(
    "keys",
    [
        {}, {"health": True, "read": "a", "token": TOKEN}, {"read": "a"}, {"health": True, "token": TOKEN},
        {"read": "a", "token": "s.literal"}, {"health": False}, {"health": True, "adress": "x"},
        {"health": True, "address": "vault:8200"},
    ],
)  # fmt: skip
def test_says_what_is_wrong(keys: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        PROBE(**{"address": "http://a:1"} | keys)


def test_a_literal_token_is_not_repeated() -> None:
    with pytest.raises(ValidationError, match=r"\$\{env:VAULT_TOKEN\}"):
        Vault(address="http://a", read="a", token="s.literal")


@pytest.mark.parametrize(
    ("status", "error", "state"),
    [
        (200, "", (True, False, False)),
        (429, "standby", (True, False, True)),
        (472, "standby (disaster recovery)", (True, False, True)),
        (473, "standby (performance)", (True, False, True)),
        (501, "not initialized", (False, True, False)),
        (503, "sealed", (True, True, False)),
    ],
)
def test_health_by_its_status(status: int, error: str, state: tuple[bool, bool, bool]) -> None:
    seen = health(Answer("", status))
    assert (seen.status, seen.error) == (status, error)
    assert (seen.json["initialized"], seen.json["sealed"], seen.json["standby"]) == state


def test_health_tells_what_vault_tells() -> None:
    told = {"initialized": True, "sealed": True, "standby": True, "version": "1.15.0"}
    assert health(Answer(told, 503)).json == told


@pytest.mark.parametrize("status", [404, 500])
def test_any_other_status_is_no_health(status: int) -> None:
    assert health(Answer("", status)).error == f"HTTP {status}"


def test_a_secret_is_seen_and_never_told() -> None:
    answer = Answer({"data": {"data": {"key": "hush"}, "metadata": {"version": 3}}})
    seen = secret(answer)
    assert (seen.status, seen.json, seen.error) == (200, {"key": "hush"}, "")
    assert "hush" not in why(seen)


def test_the_token_and_path_are_filled() -> None:
    with answering({}) as server:
        probe = Vault(address=server.url, read="secret/data/${env:N}", token=TOKEN, namespace="team")
        look(probe, lambda text: text.replace(TOKEN, "s.1").replace("${env:N}", "x"))
    (one,) = server.asked
    assert one.path == "/v1/secret/data/x"
    assert (one.headers["x-vault-token"], one.headers["x-vault-namespace"]) == ("s.1", "team")


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Answer({"errors": ["permission denied"]}, 403), "permission denied"),
        (Answer({"errors": []}, 404), "missing"),
        (Answer({"data": {"data": None, "metadata": {"deletion_time": "x"}}}, 404), "missing"),
        (Answer({"errors": ["Vault is sealed"]}, 503), "sealed"),
        (Answer("", 503), "sealed"),
        (Answer({"errors": ["overloaded"]}, 503), "HTTP 503: overloaded"),
        (Answer({"errors": ["boom"]}, 500), "HTTP 500"),
        (Answer({"data": {"key": "hush"}}), "not a secret of KV version 2"),
        (Answer("<html>"), "not a secret of KV version 2"),
        (Answer([1]), "not a secret of KV version 2"),
    ],
)
def test_no_secret(answer: Answer, error: str) -> None:
    seen = secret(answer)
    assert seen.error == error
    assert "hush" not in repr(seen)


def test_nobody_is_there() -> None:
    assert look(Vault(address=f"http://127.0.0.1:{free_port()}", health=True)).error == "refused"


def test_a_token_that_http_forbids_is_a_usage_error_without_the_secret() -> None:
    with answering({}) as server, pytest.raises(UsageError) as error:
        look(Vault(address=server.url, read="a", token=TOKEN), lambda text: text.replace(TOKEN, "se\ncret"))
    assert "cret" not in str(error.value).replace("secret/", "")
