"""The real Prometheus and Alertmanager: their tools that check files, and servers for as long as a test needs them.

Debian calls the second `prometheus-alertmanager`, its makers `alertmanager`.
"""

from __future__ import annotations

import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.infra.require import absent
from tests.infra.toxiproxy import free_port
from veloz_chaos.sandbox import monitoring

READY = 60.0
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def require() -> None:
    """Skips the test, or fails it, where they are not installed."""
    if monitoring.programs() is None or not (shutil.which("promtool") and shutil.which("amtool")):
        absent("prometheus", "no Prometheus and Alertmanager; apt-get install prometheus prometheus-alertmanager")


def check(folder: Path) -> list[str]:
    """What is wrong with the files of a monitoring, by the tools' own word."""
    return [
        f"{' '.join(command)}: {done.stdout}{done.stderr}"
        for command in (
            ["promtool", "check", "config", "prometheus.yml"],
            ["promtool", "check", "rules", "rules.yml"],
            ["amtool", "check-config", "alertmanager.yml"],
        )
        if (done := subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)).returncode
    ]


def program(*names: str) -> str:
    """The path of the first that is installed; the test is skipped, or fails, without one."""
    found = next((path for name in names if (path := shutil.which(name))), None)
    return found or absent("prometheus", f"no {names[0]}; apt-get install prometheus prometheus-alertmanager")


@contextmanager
def prometheus(folder: Path, config: Path, *options: str, prefix: str = "", port: int = 0) -> Iterator[str]:
    """Its URL, as soon as it is ready. `prefix`: the path that it is behind; `port`: where it must be."""
    command = [program("prometheus"), f"--config.file={config}", f"--storage.tsdb.path={folder / 'tsdb'}"]
    command += ["--log.level=warn", f"--web.external-url=http://localhost{prefix or '/'}", *options]
    with _running(command, folder / "prometheus.log", f"{prefix}/-/ready", port) as address:
        yield f"http://{address}{prefix}"


@contextmanager
def alertmanager(folder: Path, config: Path, *options: str, prefix: str = "") -> Iterator[str]:
    """The same."""
    command = [program("prometheus-alertmanager", "alertmanager"), f"--config.file={config}"]
    command += [f"--storage.path={folder / 'alertmanager'}", "--cluster.listen-address=", "--log.level=warn"]
    command += [f"--web.external-url=http://localhost{prefix or '/'}", *options]
    with _running(command, folder / "alertmanager.log", f"{prefix}/-/ready") as address:
        yield f"http://{address}{prefix}"


@contextmanager
def _running(command: list[str], log: Path, ready: str, port: int = 0) -> Iterator[str]:
    address = f"127.0.0.1:{port or free_port()}"
    with log.open("wb") as written:
        process = subprocess.Popen([*command, f"--web.listen-address={address}"], stdout=written, stderr=written)
    try:
        until(lambda: answers(f"http://{address}{ready}"), lambda: process.poll() is not None)
        if process.poll() is not None:
            raise RuntimeError(log.read_text())
        yield address
    finally:
        process.kill()
        process.wait()


def answers(url: str) -> bool:
    try:
        with _DIRECT.open(url, timeout=2) as response:
            return bool(response.status == 200)
    except urllib.error.HTTPError as error:
        return error.code in (400, 401)  # it speaks TLS, or wants a password
    except OSError:
        return False


def until(true: Callable[[], bool], over: Callable[[], bool] = lambda: False) -> None:
    """Raises TimeoutError."""
    deadline = time.monotonic() + READY
    while not true() and not over():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.05)
