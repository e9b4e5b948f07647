"""The real cluster, as the product reaches it, and what tests make there."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.infra.door import Door, door
from tests.kubernetes import lab as labs
from tests.kubernetes.pods import image
from veloz_chaos.errors import Unavailable
from veloz_chaos.mechanisms.kube_api import Api, client


@pytest.fixture(scope="session")
def kubernetes(kubeconfig: str) -> Api:  # noqa: ARG001 -- it is in KUBECONFIG
    """A client of the cluster that tests may use."""
    return client()


@pytest.fixture
def between(kubeconfig: str, tmp_path: Path) -> Iterator[tuple[Door, str]]:
    """A door between us and the API server; and a kubeconfig that leads through it."""
    config = yaml.safe_load(Path(kubeconfig).read_text())
    cluster = config["clusters"][0]["cluster"]
    host, _, port = cluster["server"].removeprefix("https://").partition(":")
    with door(lambda: socket.create_connection((host, int(port)))) as made:
        cluster["server"] = f"https://127.0.0.1:{made.port}"
        file = tmp_path / "kubeconfig"
        file.write_text(yaml.safe_dump(config))
        yield made, str(file)


@pytest.fixture
def unheard(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """The next request by this method for something like this is done, but we are not told."""

    def lose(method: str, part: str) -> None:
        real, lost = Api.ask, list[str]()

        def ask(api: Api, asked: str, where: str, *more: Any, **rest: Any) -> dict[str, Any]:
            answer = real(api, asked, where, *more, **rest)
            if asked == method and part in where and not lost:
                lost.append(where)
                raise Unavailable("Remote end closed connection without response")
            return answer

        monkeypatch.setattr(Api, "ask", ask)

    return lose


@pytest.fixture
def lab() -> Iterator[labs.Lab]:
    with labs.lab() as made:
        yield made


@pytest.fixture
def helpers() -> Iterator[str]:
    """A namespace for helper pods, whose image every node has."""
    image()
    with labs.lab() as made:
        yield made.name
