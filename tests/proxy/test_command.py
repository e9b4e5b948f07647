"""`veloz-chaos proxy` as a process: says where it listens, ends when told, tells what it cannot do."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import urllib.request
from contextlib import closing

import pytest

from tests.infra import upstreams
from tests.infra.toxiproxy import free_port

PROXY = [sys.executable, "-m", "veloz_chaos", "proxy"]


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_until_it_is_told_to_end(how: signal.Signals) -> None:
    listen, api = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    with upstreams.http() as upstream, upstreams.names() as names:
        places = ["--http", f"web={listen}->http://{upstream}", "--dns", f"names=127.0.0.1:0->{names}"]
        with subprocess.Popen([*PROXY, "--api", api, *places], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout
            assert process.stdout.readline() == f"http proxy web: {listen} -> http://{upstream}\n"
            assert process.stdout.readline().startswith("dns proxy names: 127.0.0.1:")
            assert process.stdout.readline() == f"API: http://{api}\n"
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with opener.open(f"http://{listen}/", timeout=30) as answer:
                assert answer.read() == upstreams.BODY
            process.send_signal(how)
            assert process.wait(30) == 0


@pytest.mark.parametrize("whose", ["api", "http", "dns"])
def test_a_port_in_use(whose: str) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        api = place if whose == "api" else f"127.0.0.1:{free_port()}"
        more = {"api": [], "http": ["--http", f"x={place}->http://a"], "dns": ["--dns", f"x={place}->127.0.0.1:53"]}
        done = subprocess.run([*PROXY, "--api", api, *more[whose]], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert f"cannot listen on {place}: address already in use" in done.stderr
    assert "Traceback" not in done.stderr


def test_what_is_no_proxy() -> None:
    done = subprocess.run([*PROXY, "--http", "x"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "NAME=LISTEN->UPSTREAM" in done.stderr
