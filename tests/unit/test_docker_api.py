"""Where the engine is, and in whose words it fails."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import requests
from docker.errors import APIError, DockerException, NotFound

from veloz_chaos.errors import Gone, Missing, TargetError, Unavailable
from veloz_chaos.mechanisms import docker_api
from veloz_chaos.mechanisms.docker_api import DEFAULT, Endpoint, Place, Wanted, endpoint, explained


def context(home: Path, name: str, host: str, *, certificates: bool = False, skip: bool = False) -> None:
    """As `docker context create` leaves it."""
    key = hashlib.sha256(name.encode()).hexdigest()
    meta = home / ".docker/contexts/meta" / key
    meta.mkdir(parents=True)
    said = {"Name": name, "Metadata": {}, "Endpoints": {"docker": {"Host": host, "SkipTLSVerify": skip}}}
    (meta / "meta.json").write_text(json.dumps(said))
    if certificates:
        folder = home / ".docker/contexts/tls" / key / "docker"
        folder.mkdir(parents=True)
        for file in ("ca", "cert", "key"):
            (folder / f"{file}.pem").write_text("x")


def test_without_anything_it_is_the_socket(tmp_path: Path) -> None:
    assert endpoint(Place(), {}, tmp_path) == Endpoint(DEFAULT)


def test_docker_host_counts_more_than_the_current_context(tmp_path: Path) -> None:
    context(tmp_path, "far", "tcp://far:2376")
    (tmp_path / ".docker/config.json").write_text('{"currentContext": "far"}')
    assert endpoint(Place(), {}, tmp_path).host == "tcp://far:2376"
    assert endpoint(Place(), {"DOCKER_HOST": "unix:///run/other.sock"}, tmp_path).host == "unix:///run/other.sock"


def test_what_is_asked_for_counts_most(tmp_path: Path) -> None:
    context(tmp_path, "far", "tcp://far:2376")
    everything = {"DOCKER_HOST": "unix:///run/other.sock", "DOCKER_CONTEXT": "default"}
    assert endpoint(Place(context="far"), everything, tmp_path).host == "tcp://far:2376"
    assert endpoint(Place(host="tcp://near:1"), everything, tmp_path).host == "tcp://near:1"


def test_a_context_by_the_environment_and_another_folder(tmp_path: Path) -> None:
    context(tmp_path, "far", "ssh://me@far")
    named = {"DOCKER_CONTEXT": "far", "DOCKER_CONFIG": str(tmp_path / ".docker")}
    assert endpoint(Place(), named, tmp_path / "nobody") == Endpoint("ssh://me@far")


@pytest.mark.parametrize("skip", [False, True])
def test_a_context_with_certificates(skip: bool, tmp_path: Path) -> None:
    context(tmp_path, "far", "tcp://far:2376", certificates=True, skip=skip)
    found = endpoint(Place(context="far"), {}, tmp_path)
    assert found.tls
    assert found.verify is not skip
    assert [Path(file or "").name for file in (found.ca, found.cert, found.key)] == ["ca.pem", "cert.pem", "key.pem"]


def test_tls_by_the_environment(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("x")
    said = {"DOCKER_HOST": "tcp://far:2376", "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": str(tmp_path)}
    assert endpoint(Place(), said, tmp_path) == Endpoint(
        "tcp://far:2376", str(tmp_path / "ca.pem"), tls=True, verify=True
    )
    assert not endpoint(Place(host="unix:///x.sock"), said, tmp_path).tls


def test_a_context_that_is_not_there_names_those_that_are(tmp_path: Path) -> None:
    context(tmp_path, "far", "tcp://far:2376")
    with pytest.raises(TargetError, match=r"no Docker context near .* there are: default, far"):
        endpoint(Place(context="near"), {}, tmp_path)


@pytest.mark.parametrize("text", ["{", '{"Name": "far"}', '{"Endpoints": {"kubernetes": {}}}', "[]"])
def test_a_damaged_context_is_told(text: str, tmp_path: Path) -> None:
    context(tmp_path, "far", "tcp://far:2376")
    next((tmp_path / ".docker/contexts/meta").glob("*/meta.json")).write_text(text)
    with pytest.raises(TargetError):
        endpoint(Place(context="far"), {}, tmp_path)


def refused(status: int, said: str) -> APIError:
    response = requests.Response()
    response.status_code = status
    return (NotFound if status == 404 else APIError)(said, response=response, explanation=said)


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (PermissionError(13, "Permission denied"), Unavailable, "add yourself to the group docker"),
        (FileNotFoundError(2, "No such file or directory"), Unavailable, "no Docker Engine answers at .*start it"),
        (ConnectionRefusedError(111, "Connection refused"), Unavailable, "Connection refused"),
    ],
)
def test_what_the_kernel_said(error: OSError, kind: type[TargetError], words: str) -> None:
    outer = requests.exceptions.ConnectionError("Connection aborted.", error)
    for one in (error, outer):
        found = explained(one, "unix:///x.sock")
        assert type(found) is kind
        assert "unix:///x.sock" in str(found)
        with pytest.raises(kind, match=words):
            raise found


@pytest.mark.parametrize(
    ("status", "said", "kind"),
    [
        (404, "No such container: abc", Gone),
        (404, "no such image: abc", Missing),
        (404, "No such image: my/container:1", Missing),
        (404, "404 Client Error for http://far/containers/abc/json: Not Found", Missing),
        (409, "container abc is not running", TargetError),
        (500, "driver failed", Unavailable),
    ],
)
def test_what_the_engine_said(status: int, said: str, kind: type[TargetError]) -> None:
    found = explained(refused(status, said), "tcp://far:1")
    assert type(found) is kind
    assert said in str(found)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (requests.exceptions.ReadTimeout("read timed out"), "does not answer in time"),
        (requests.exceptions.SSLError("certificate verify failed"), "does not agree on TLS"),
        (DockerException("Install paramiko package to enable ssh:// support"), r"docker\[ssh\]"),
    ],
)
def test_what_the_sdk_said(error: Exception, words: str) -> None:
    with pytest.raises(Unavailable, match=words):
        raise explained(error, "tcp://far:1")


def test_filters() -> None:
    assert Wanted(name="a").filters() == {"name": ["^/a$"]}
    assert Wanted(label="app=a").filters() == {"label": ["app=a"]}
    assert Wanted(project="veloz", service="gateway").filters() == {
        "label": ["com.docker.compose.project=veloz", "com.docker.compose.service=gateway"]
    }


@pytest.mark.parametrize(
    ("place", "words"),
    [
        (Place(), "docker"),
        (Place(host="tcp://a:1"), "docker --host tcp://a:1"),
        (Place(context="far"), "docker --context far"),
    ],
)
def test_by_hand(place: Place, words: str) -> None:
    assert place.words == words


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("1970-01-01T00:00:01Z", 1.0),
        ("1970-01-01T00:00:01.5Z", 1.5),
        ("1970-01-01T00:00:01.123456789Z", 1.123456789),
        ("1970-01-01T02:00:01.25+02:00", 1.25),
        ("1970-01-01T02:00:01+02:00", 1.0),
    ],
)
def test_times(written: str, seconds: float) -> None:
    assert docker_api.seconds(written) == pytest.approx(seconds)


def test_names() -> None:
    listed: dict[str, Any] = {"Names": ["/veloz-gateway-1"], "Id": "0" * 64}
    assert docker_api.name_of(listed) == "veloz-gateway-1"
    assert docker_api.name_of({"Name": "/x", "Id": "0" * 64}) == "x"


def test_what_goes_wrong_where_no_engine_is_named_is_explained_as_well() -> None:
    with pytest.raises(TargetError, match="the Docker Engine"), docker_api.asking():
        raise OSError(107, "Transport endpoint is not connected")
