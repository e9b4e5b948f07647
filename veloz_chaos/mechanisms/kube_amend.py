"""Changing what is there, without treading on anybody: one PATCH that takes effect on nothing but what was read."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from veloz_chaos.errors import Gone, Missing, Unavailable
from veloz_chaos.mechanisms.kube_api import Api, Conflict, Json, Place
from veloz_chaos.mechanisms.kube_find import absent
from veloz_chaos.mechanisms.kube_objects import KINDS, Owner

#: So often may somebody else be faster.
ATTEMPTS = 8
MANAGER = "veloz-chaos"


def current(api: Api, where: str, uid: str) -> Json:
    """This very object. Raises Gone if it is not there any more, or another one by its name, or being deleted."""
    try:
        found = api.get(where)
    except Missing as error:
        raise Gone(str(error)) from None
    meta = found["metadata"]
    if meta["uid"] != uid:
        raise Gone(f"{found['kind']} {meta['name']} is another one by now: it was made at {meta['creationTimestamp']}")
    if meta.get("deletionTimestamp"):
        raise Gone(f"{found['kind']} {meta['name']} is being deleted since {meta['deletionTimestamp']}")
    return found


def existing(api: Api, namespace: str, owner: Owner) -> Json:
    """Raises Missing, with what is there instead."""
    try:
        return api.get(owner.path(namespace))
    except Missing:
        raise absent(api, namespace, KINDS[owner.kind], str(owner)) from None


def amend(api: Api, where: str, uid: str, change: Callable[[Json], Mapping[str, Any] | None]) -> None:
    """`change` makes a merge patch (with `metadata`) of what is there; None: nothing is to be done. Raises Gone."""
    for _ in range(ATTEMPTS):
        found = current(api, where, uid)
        patch = change(found)
        if patch is None:
            return
        meta = {**patch["metadata"], "resourceVersion": found["metadata"]["resourceVersion"], "uid": uid}
        try:
            api.patch(where, {**patch, "metadata": meta}, fieldManager=MANAGER)
            return
        except Conflict:
            continue
        except Missing as error:
            raise Gone(str(error)) from None
    raise Unavailable(f"{where} is changed by somebody else all the time; nothing was done to it")


def marks(thing: Mapping[str, Any]) -> Mapping[str, str]:
    return thing["metadata"].get("annotations") or {}


def by_hand(place: Place, namespace: str | None, kind: str, name: str, patch: Mapping[str, Any]) -> str:
    """The same change as a command."""
    there = f" -n {namespace}" if namespace else ""
    return f"{place.words}{there} patch {kind} {name} --type merge -p '{json.dumps(patch)}'"
