"""Watching objects of an API server: what is there, and from then on every change, in a thread of its own.

A watch that breaks is resumed where it broke off; what has grown too old for that is listed anew, and compared. What
arrives late is told late; nothing is told twice.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Literal

from veloz_chaos.errors import TargetError
from veloz_chaos.mechanisms.kube_api import Api, Expired

#: Seconds between two attempts; and after which a watch without news is asked for anew.
AGAIN, LONG = 0.2, 240
Kind = Literal["ADDED", "MODIFIED", "DELETED"]
Tell = Callable[[Kind, Mapping[str, Any]], None]


class Watch:
    """Of the objects below one path. `query`: its selectors."""

    def __init__(self, api: Api, where: str, query: Mapping[str, str], tell: Tell) -> None:
        self._api, self._where, self._query, self._tell = api, where, dict(query), tell
        self._known: dict[str, Mapping[str, Any]] = {}
        self._version, self._over = "", threading.Event()

    def start(self) -> list[Mapping[str, Any]]:
        """What is there; of this, only what changes is told. Raises TargetError."""
        listed = self._api.listed(self._where, **self._query)
        self._known = {one["metadata"]["uid"]: one for one in listed.items}
        self._version = listed.version
        threading.Thread(target=self._follow, name="kubernetes watch", daemon=True).start()
        return list(self._known.values())

    def end(self) -> None:
        """Nothing is told any more. Safe twice."""
        self._over.set()

    def _follow(self) -> None:
        while not self._over.is_set():
            with suppress(TargetError):
                try:
                    self._listen()
                    continue
                except Expired:
                    self._compare()
                    continue
            self._over.wait(AGAIN)

    def _listen(self) -> None:
        """Until the server ends it."""
        query = {
            **self._query, "watch": "true", "allowWatchBookmarks": "true", "resourceVersion": self._version,
            "timeoutSeconds": LONG,
        }  # fmt: skip
        for change in self._api.lines(self._where, query, LONG + 10, self._over):
            kind, found = change["type"], change["object"]
            if kind == "ERROR":
                raise Expired(str(found.get("message")))
            self._version = found["metadata"]["resourceVersion"]
            if kind != "BOOKMARK":
                self._heard(kind, found)

    def _compare(self) -> None:
        """What has changed since we last knew; what is new comes last, since it may be there because of the rest."""
        listed = self._api.listed(self._where, **self._query)
        there = {one["metadata"]["uid"]: one for one in listed.items}
        for uid, found in list(self._known.items()):
            if uid not in there:
                self._heard("DELETED", found)
        for uid, found in sorted(there.items(), key=lambda one: one[0] not in self._known):
            known = self._known.get(uid)
            if known is None or known["metadata"]["resourceVersion"] != found["metadata"]["resourceVersion"]:
                self._heard("ADDED" if known is None else "MODIFIED", found)
        self._version = listed.version

    def _heard(self, kind: Kind, found: Mapping[str, Any]) -> None:
        uid = found["metadata"]["uid"]
        if kind == "DELETED":
            self._known.pop(uid, None)
        else:
            self._known[uid] = found
        if not self._over.is_set():
            self._tell(kind, found)
