"""What is wrong with a kubeconfig, in words that say what to do; the SDK reads it, and says less."""

from __future__ import annotations

import logging
import os
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any


@contextmanager
def heard() -> Iterator[list[str]]:
    """What the SDK says of a credential plug-in: it logs that, goes on without credentials, and is somebody unknown."""
    complaints: list[str] = []

    class Ear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            mine = record.thread == threading.get_ident()
            if mine and record.name == "root" and record.levelno >= logging.ERROR:
                complaints.append(" ".join(record.getMessage().split()))

    ear, root = Ear(), logging.getLogger()
    root.addHandler(ear)
    try:
        yield complaints
    finally:
        root.removeHandler(ear)


@dataclass(frozen=True)
class Plugin:
    """The program that a kubeconfig gets credentials from, and where its file says how it is installed."""

    command: str
    file: str
    hint: str = ""


def plugin_of(file: str, context: str | None) -> Plugin | None:
    """That of the user whom the context names, if there is one. The file has been read without a complaint."""
    module: Any = import_module("kubernetes.config.kube_config")
    config = module.KubeConfigMerger(file).config
    chosen = config["contexts"].get_with_name(context or config["current-context"])["context"]
    user = config["users"].get_with_name(chosen.value.get("user"), safe=True) if "users" in config else None
    wanted = (user.value.get("user") or {}).get("exec") if user else None
    if not wanted:
        return None
    return Plugin(str(wanted.get("command")), file, " ".join(str(wanted.get("installHint") or "").split()))


def useless(plugin: Plugin, complaints: Sequence[str]) -> str:
    """Why it gives no credentials, and what to do."""
    told = "; ".join(dict.fromkeys(complaints))
    where = f"the credential plug-in {plugin.command} of the kubeconfig {plugin.file}"
    if not told.startswith("[Errno"):
        return f"{where} gives no credentials: {told}; log in again, or name a context without it"
    why = re.sub(r"^\[Errno \d+\] (.*?)(: '.*')?$", r"\1", told)
    hint = f" ({plugin.hint})" if plugin.hint else ""
    return f"{where} can't be run: {why}; install it{hint}, or name a context without it"


def no_kubeconfig(file: str) -> str:
    """Which of the files that it names holds something else; empty if none does, or it can't be read."""
    from yaml import YAMLError, safe_load

    for one in filter(None, file.split(os.pathsep)):
        try:
            held = safe_load(Path(one).expanduser().read_text())
        except (OSError, ValueError, YAMLError):
            continue
        if not isinstance(held, dict) or not isinstance(held.get("clusters") or [], list):
            return one
    return ""
