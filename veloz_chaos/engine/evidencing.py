"""What an evidence bundle holds of each run, and whether it is still what the journal says.

Everything but the journal and the order history is derived from them: a bundle is checked by deriving it again.
"""

from __future__ import annotations

import json
import platform
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from hashlib import sha256
from importlib import metadata
from pathlib import Path
from typing import Any

from veloz_chaos import __version__
from veloz_chaos.core import drill, evidence
from veloz_chaos.core import event as ev
from veloz_chaos.core.history import of
from veloz_chaos.core.judge import judge
from veloz_chaos.core.plan import Plan
from veloz_chaos.engine import journal as journals
from veloz_chaos.engine import order_history
from veloz_chaos.engine.drill import unsigned
from veloz_chaos.engine.secrets import Secrets, references
from veloz_chaos.engine.signing import key_of
from veloz_chaos.errors import UsageError
from veloz_chaos.reports import document, verdict
from veloz_chaos.reports.minutes import minutes

PLAN, APPROVALS, JUDGEMENT, REPORT = "plan.json", "approvals.json", "judgement.json", "report.txt"
MINUTES = "minutes.txt"
VERSIONS = "versions.json"
_OWN = frozenset({PLAN, APPROVALS, JUDGEMENT, REPORT, MINUTES})
#: Columns of the report, whoever makes the bundle.
_WIDTH = 100
#: A secret shorter than this may stand in a text by chance.
_SHORTEST = 6
_ORDERS = "orders/"


def gather(folders: Sequence[Path]) -> dict[str, bytes]:
    """Path in the bundle -> content. Raises UsageError: a run without an end, a secret, the same run twice, an order
    history that is not the run's."""
    files: dict[str, bytes] = {}
    for folder in folders:
        name = folder.name if folder.is_dir() else folder.stem
        if f"{name}/{journals.FILE}" in files:
            raise UsageError(f"{name} is asked for twice, or two runs bear the same name")
        own = dict(_recorded(folder))
        own |= derived(own, name, str(folder))
        if wrong := next(_other_orders(own), None):
            raise UsageError(f"{folder}: {wrong}; no evidence can be made of it")
        _refuse_secrets(own, folder)
        files |= {f"{name}/{path}": data for path, data in own.items()}
    return files | {VERSIONS: _versions()}


def manifest(files: Mapping[str, bytes]) -> str:
    return evidence.write(evidence.entry(path, data) for path, data in files.items())


def _recorded(folder: Path) -> Iterator[tuple[str, bytes]]:
    journal = folder / journals.FILE if folder.is_dir() else folder
    try:
        data = journal.read_bytes()
        yield journals.FILE, data
        history = of(journals.read(folder))
        orders = journal.parent / Path(history.orders_file or "-").name
        if orders.is_file():
            yield f"{_ORDERS}{orders.name}", orders.read_bytes()
    except OSError as error:
        raise UsageError(f"{folder}: can't be read: {error.strerror}") from None


def derived(recorded: Mapping[str, bytes], name: str, shown: str) -> dict[str, bytes]:
    """Plan, approvals, judgement and report of what was recorded. Raises UsageError for what is no journal of a run
    that has ended."""
    with tempfile.TemporaryDirectory(prefix="veloz-chaos-") as kept:
        folder = Path(kept)
        for path, data in recorded.items():
            (folder / (path if path == journals.FILE else Path(path).name)).write_bytes(data)
        try:
            events = journals.read(folder)
        except UsageError as error:
            raise UsageError(str(error).replace(str(folder), shown)) from None
        history = of(events)
        first = events[0] if events else None
        if not isinstance(first, ev.RunStarted):
            raise UsageError(f"{shown}: the journal does not begin with the start of a run; it was cut or changed")
        if history.ended is None:
            raise UsageError(
                f"{shown}: the run has no end; if it is not under way, close it with: veloz-chaos revert {shown}"
            )
        judgement = judge(history, orders=order_history.beside(folder, history))
    one = document.run(judgement, first.plan, name, first.at)
    lines = verdict.report(judgement, first.plan, name, _WIDTH)
    files = {
        PLAN: _json(first.plan.model_dump(mode="json", by_alias=True)),
        JUDGEMENT: _json(document.document([one], judgement.exit_code, __version__)),
        REPORT: "".join(f"{line}\n" for line in lines).encode(),
        MINUTES: "".join(f"{line}\n" for line in minutes(events)).encode(),
    }
    approved = [event.model_dump(mode="json") for event in events if isinstance(event, ev.RunApproved)]
    return files | ({APPROVALS: _json(approved)} if approved else {})


def _json(data: Any) -> bytes:
    return (json.dumps(data, ensure_ascii=False, indent=1, sort_keys=True) + "\n").encode()


def _versions() -> bytes:
    packages = sorted(
        line.split(">")[0].split("=")[0] for line in metadata.requires("veloz-chaos") or () if "extra" not in line
    ) if _installed() else []  # fmt: skip
    found = {"veloz-chaos": __version__, "python": platform.python_version(), "journal format": ev.FORMAT}
    for package in packages:
        with suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return _json(found)


def _installed() -> bool:
    with suppress(metadata.PackageNotFoundError):
        return bool(metadata.version("veloz-chaos"))
    return False


# --- secrets -------------------------------------------------------------------------------------------------------


def _refuse_secrets(files: Mapping[str, bytes], folder: Path) -> None:
    """Journals are redacted as they are written; this is for what came into one by another way."""
    plan = Plan.model_validate_json(files[PLAN])
    names = {*references(plan.model_dump(mode="json", by_alias=True))}
    for source in plan.sources:
        with suppress(OSError, UnicodeDecodeError):
            names |= {*references(Path(source).read_text(encoding="utf-8"))}
    secrets = Secrets()
    known = [(f"${{{kind}:{name}}}", value) for kind, name in sorted(names) if (value := _value(secrets, kind, name))]
    for path, data in files.items():
        text = data.decode("utf-8", "replace")
        for reference, value in known:
            if value in text or json.dumps(value)[1:-1] in text:
                raise UsageError(
                    f"{folder}: {path} holds the value of {reference}; no bundle is made of it: "
                    "change that secret, and run again"
                )


def _value(secrets: Secrets, kind: str, name: str) -> str:
    """Empty where it can't be known here, or is too short to be told from other text, or is but a number."""
    with suppress(UsageError):
        value = secrets.fill(f"${{{kind}:{name}}}")
        return value if len(value) >= _SHORTEST and not value.isdigit() else ""
    return ""


# --- checking ------------------------------------------------------------------------------------------------------


def recheck(files: Mapping[str, bytes]) -> list[str]:
    """Is what the bundle says of each run what its journal says? One sentence for each thing that is not."""
    runs = sorted({path.split("/")[0] for path in files if "/" in path})
    if not runs:
        return ["no run is in it"]
    same = _made_by(files) == __version__
    return [problem for run in runs for problem in _recheck(files, run, same)]


def _made_by(files: Mapping[str, bytes]) -> str:
    with suppress(ValueError, KeyError, AttributeError):
        return str(json.loads(files[VERSIONS])["veloz-chaos"])
    return ""


def _recheck(files: Mapping[str, bytes], run: str, same: bool) -> Iterator[str]:
    own = {path.removeprefix(f"{run}/"): data for path, data in files.items() if path.startswith(f"{run}/")}
    orders = [path for path in own if path.startswith(_ORDERS) and Path(path).name != journals.FILE]
    recorded = {path: own[path] for path in (journals.FILE, *orders) if path in own}
    if journals.FILE not in recorded:
        yield f"{run}: its journal is not there"
        return
    try:
        again = derived(recorded, run, run)
    except UsageError as error:
        yield f"{run} can't be judged again: {error}"
        return
    yield from (f"{run}/{problem}" for problem in _other_orders(recorded))
    said, found = _verdict(own.get(JUDGEMENT, b"")), _verdict(again[JUDGEMENT])
    if said != found:
        yield f"{run}/{JUDGEMENT}: says {said}; by the journal it is {found}"
    yield from (f"{run}/{path}: is no part of a run's evidence" for path in sorted(own.keys() - recorded.keys() - _OWN))
    for path in sorted({*again, *(own.keys() & _OWN)}):
        if own.get(path) == again.get(path) or (path == JUDGEMENT and said != found):
            continue
        # another version may word or count differently; what it must not do is find another verdict
        if same or path == APPROVALS:
            yield f"{run}/{path}: is not what the journal says"


def _other_orders(recorded: Mapping[str, bytes]) -> Iterator[str]:
    """The journal holds the SHA-256 of the order history that was written beside it."""
    history = of([ev.read(line) for line in recorded[journals.FILE].split(b"\n")[:-1]])
    if not history.orders_sha256:
        return
    path = f"{_ORDERS}{Path(history.orders_file).name}"
    if path not in recorded:
        yield f"{path}: is not there, and the journal names it"
    elif sha256(recorded[path]).hexdigest() != history.orders_sha256:
        yield f"{path}: is not the order history that the journal names by its SHA-256"


def unapproved(files: Mapping[str, bytes], signers: Path | None) -> list[str]:
    """Of the drills in it: what does not fit together in their approvals; with `signers`, whose signature is wrong."""
    problems = []
    for path, data in files.items():
        if path.endswith(f"/{APPROVALS}"):
            try:
                drills = [ev.RunApproved.model_validate(one) for one in json.loads(data)]
                plan = json.loads(files[path.replace(APPROVALS, PLAN)])
                found = [why for one in drills for why in _unapproved(one, plan, signers)]
            except (ValueError, KeyError, TypeError, AttributeError, OverflowError, OSError):
                found = ["can't be read"]
            problems += [f"{path}: {why}" for why in found]
    return problems


def _unapproved(one: ev.RunApproved, plan: Any, signers: Path | None) -> Iterator[str]:
    """As the run itself asked, at the time when it began."""
    when = datetime.fromtimestamp(one.wall, UTC)
    file = drill.read(one.document)._replace(approvals=one.approvals)
    if file.digest != one.sha256:
        yield "the plan in it is not the one that was approved"
    if json.loads(one.document)["plan"] != plan:
        yield "another plan was approved than the one that was run"
    yield from (*file.problems, *drill.outside(file.plan.window, when))
    at = f"{when:%Y%m%d%H%M%S}Z"
    forged = {n: unsigned(each, signers, at) for n, each in enumerate(one.approvals)} if signers is not None else {}
    yield from drill.unapproved(file, forged, one.person, [key_of(each.signature) for each in one.approvals], when)


def _verdict(data: bytes) -> str:
    try:
        read = json.loads(data)
        return f"{read['runs'][0]['verdict']} (exit {read['exit_code']})"
    except (ValueError, KeyError, IndexError, TypeError):
        return "nothing that can be read"
