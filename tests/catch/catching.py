"""`veloz-chaos catch` as a process on a free port, spoken to by plain urllib."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

CATCH = [sys.executable, "-m", "veloz_chaos", "catch"]
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass
class Running:
    process: subprocess.Popen[str]
    url: str

    def call(self, path: str, data: bytes | None = None, headers: dict[str, str] | None = None) -> tuple[int, str]:
        request = urllib.request.Request(self.url + path, data, headers or {})
        try:
            with _OPENER.open(request, timeout=30) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def post(self, path: str, body: Any) -> tuple[int, str]:
        return self.call(path, json.dumps(body).encode(), {"Content-Type": "application/json"})

    def get(self, path: str) -> Any:
        status, text = self.call(path)
        assert status == 200, text
        return json.loads(text)

    def caught(self, after: int = 0) -> list[dict[str, Any]]:
        return list(self.get(f"/api/notifications?after={after}")["notifications"])

    def end(self) -> str:
        """Its lines after the first."""
        self.process.send_signal(signal.SIGINT)
        out, _ = self.process.communicate(timeout=30)
        assert self.process.returncode == 0
        return out


@contextmanager
def catching(*options: str) -> Iterator[Running]:
    command = [*CATCH, "--listen", "127.0.0.1:0", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            assert process.stdout
            line = process.stdout.readline()
            assert line.startswith("http://127.0.0.1:"), line
            yield Running(process, line.split(": ")[0])
        finally:
            if process.poll() is None:
                process.kill()
