"""One request at a time to somebody who is told of a run, by urllib: no retry, no redirect, an answer or a reason."""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.request
from http.client import HTTPException
from typing import Any
from urllib.parse import urlsplit

from veloz_chaos import __version__
from veloz_chaos.core.address import is_loopback
from veloz_chaos.core.environment import Place
from veloz_chaos.engine.secrets import Secrets
from veloz_chaos.errors import UsageError

#: Bytes of an answer that are read, characters of it that are shown where it is an error.
LONGEST, SHOWN = 65_536, 200


class _Stay(urllib.request.HTTPRedirectHandler):
    """A redirect is the answer: following it would make a GET of what was to be told."""

    def redirect_request(self, *_: Any) -> None:
        return None


class Speaker:
    def __init__(self, place: Place, secrets: Secrets, timeout: float) -> None:
        self._place, self._secrets, self._timeout = place, secrets, timeout

    def send(self, method: str, path: str, body: dict[str, Any]) -> Any:
        """The answer, of JSON if it is. Raises UsageError with what went wrong, and never a word of the URL: of Slack's
        all of it is a secret."""
        url = self._secrets.fill(self._place.url)
        url = url.rstrip("/") + path if path else url
        if urlsplit(url).scheme not in ("http", "https"):
            raise UsageError("its url does not begin with http:// or https://")
        headers = {name: self._secrets.fill(value) for name, value in self._place.headers.items()}
        own = {"Content-Type": "application/json", "User-Agent": f"veloz-chaos/{__version__}"}
        request = urllib.request.Request(url, json.dumps(body).encode(), own | headers, method=method)
        try:
            with self._opener(url).open(request, timeout=self._timeout) as answer:
                return _read(answer.read(LONGEST))
        except urllib.error.HTTPError as error:
            with error:
                raise UsageError(f"it answered {error.code}: {_shown(error)}") from None
        except (OSError, HTTPException, ValueError) as error:
            raise UsageError(self._reason(error)) from None

    def _opener(self, url: str) -> urllib.request.OpenerDirector:
        """By the proxy that the environment names, as whatever leaves a company's network; but not to ourselves."""
        parts = urlsplit(url)
        proxies: dict[str, str] | None = {} if is_loopback(parts.hostname or "") else None
        handlers: list[urllib.request.BaseHandler] = [_Stay(), urllib.request.ProxyHandler(proxies)]
        if parts.scheme == "https":
            context = ssl.create_default_context(cafile=self._place.ca and self._secrets.fill(self._place.ca))
            if not self._place.verify:
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            handlers.append(urllib.request.HTTPSHandler(context=context))
        return urllib.request.build_opener(*handlers)

    def _reason(self, error: Exception) -> str:
        cause = error.reason if isinstance(error, urllib.error.URLError) else error
        if isinstance(cause, TimeoutError):
            return f"no answer within {self._timeout:g} s"
        if isinstance(cause, ssl.SSLError):
            return f"tls: {cause.reason or cause}".lower().replace("_", " ")
        if isinstance(cause, OSError):
            return (cause.strerror or str(cause) or type(cause).__name__).lower()
        return type(cause).__name__


def _read(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return body.decode(errors="replace")


def _shown(error: urllib.error.HTTPError) -> str:
    try:
        told = error.read(SHOWN).decode(errors="replace").strip()
    except (OSError, HTTPException):
        told = ""
    return told or str(error.reason)
