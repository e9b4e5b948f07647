"""An HTTP server of a test's own: what it answers by path and query, and what it was asked."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.infra.upstreams import HttpServer, served


@dataclass(frozen=True)
class Answer:
    body: Any = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Asked:
    path: str
    headers: dict[str, str]


@dataclass
class Server:
    url: str
    asked: list[Asked]


@contextmanager
def answering(answers: Mapping[str, Answer | list[Answer]]) -> Iterator[Server]:
    """Of a path with its query, else of the path alone, one after the other, the last for ever; 404 for the others."""
    asked: list[Asked] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(Asked(self.path, {name.lower(): value for name, value in self.headers.items()}))
            answer = answers.get(self.path) or answers.get(self.path.split("?")[0]) or Answer("", 404)
            if isinstance(answer, list):
                answer = answer.pop(0) if len(answer) > 1 else answer[0]
            body = answer.body if isinstance(answer.body, str) else json.dumps(answer.body)
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body.encode())))
            self.end_headers()
            self.wfile.write(body.encode())

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.do_GET()

        do_DELETE = do_GET

        def log_message(self, *_: Any) -> None:
            pass

    with served(HttpServer(("127.0.0.1", 0), Handler)) as address:
        yield Server(f"http://{address}", asked)
