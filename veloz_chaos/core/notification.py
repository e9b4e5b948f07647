"""A notification as it arrives at a channel: what fires or is resolved, in the words of the service it was meant for.

Slack's incoming webhook, PagerDuty's Events v2 and the generic webhook (Alertmanager's; any JSON object else) say the
same in three ways. What they say comes from outside: every text is cut to a length and made plain, so that nothing in
it can move a cursor or pass for something else, wherever it is shown.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

Kind = Literal["slack", "pagerduty", "webhook"]
#: Only PagerDuty knows the last two; Alertmanager sends neither.
Action = Literal["firing", "resolved", "acknowledged", "changed"]

#: Characters of a title and of a name, names of one notification, parts of its JSON that are looked at.
TITLE, NAME, NAMES, PARTS = 500, 200, 100, 20_000
#: How PagerDuty's words are ours.
_EVENTS: dict[str, Action] = {"trigger": "firing", "acknowledge": "acknowledged", "resolve": "resolved"}

_SAYS = r"[\s`*_\"']{0,8}[:=][\s`*_\"']{0,8}"
#: A name may hold blanks: it reaches to the end of its line, or to the next `name = `.
_ALERT = re.compile(
    rf"(?<![\w.-])alertname{_SAYS}([^\n,;|}}\"'`*]{{1,{NAME}}}?)(?=\s{{1,8}}\W{{0,3}}\w{{1,40}}{_SAYS}|[\n,;|}}\"'`*]|$)",
    re.IGNORECASE,
)
_FAILURE = re.compile(rf"(?<![\w.-])failure{_SAYS}([A-Za-z0-9][A-Za-z0-9._-]{{0,{NAME}}})", re.IGNORECASE)
#: Alertmanager's default subject: values of the labels it groups by, then the other common ones; no names of labels.
_SUBJECT = re.compile(r"\[(FIRING|RESOLVED)(?::(\d{1,6}))?\]([^(|\n]{0,1000})(?:\(([^)\n]{0,1000}))?")
_RESOLVED = re.compile(r"\W{0,8}resolved\b", re.IGNORECASE)


class Malformed(ValueError):
    """Not what this service takes. `code` is its own word for that."""

    def __init__(self, message: str, code: str = "invalid_payload") -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Notification:
    kind: Kind
    action: Action
    #: names of alerts, so far as they can be told
    alerts: tuple[str, ...]
    #: rows of the response matrix: values of a label `failure`, or of `failure: …` in a text
    failures: tuple[str, ...]
    title: str
    #: something was too long to be kept, or to be looked at
    truncated: bool = False

    def as_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "action": self.action,
            "alerts": list(self.alerts),
            "failures": list(self.failures),
            "title": self.title,
            "truncated": self.truncated,
        }


def plain(text: str) -> str:
    """One line of what can be printed; anything else as its escape (`\\x1b`, `\\u202e`)."""
    line = " ".join(text.split())
    return line if line.isprintable() else "".join(c if c.isprintable() else _escaped(c) for c in line)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


# --- the three services ------------------------------------------------------------------------------------------


def slack(body: Any) -> list[Notification]:
    """Alertmanager's message, or anybody's: text, attachments, blocks. Raises Malformed."""
    if not isinstance(body, dict):
        raise Malformed("the body is not a JSON object")
    said = _Said(body)
    title = next(_slack_titles(body), "")
    if not title and not _listed(body.get("attachments")) and not _listed(body.get("blocks")):
        raise Malformed("there is no text, attachment or block", "no_text")
    return [_made("slack", _slack_action(body, said), said, _unescaped(title))]


def _slack_titles(body: dict[str, Any]) -> Iterator[str]:
    attachments = [one for one in _listed(body.get("attachments")) if isinstance(one, dict)]
    yield from _texts(one.get("title") for one in attachments)
    yield from _texts(one.get("pretext") for one in attachments)
    yield from _texts([body.get("text")])
    yield from _texts(one.get(key) for one in attachments for key in ("text", "fallback"))
    blocks = [one for one in _listed(body.get("blocks")) if isinstance(one, dict)]
    yield from _texts(one["text"].get("text") for one in blocks if isinstance(one.get("text"), dict))


def _slack_action(body: dict[str, Any], said: _Said) -> Action:
    """Its own words first; else the colour of an attachment."""
    marks = {match.group(1) for text in said.texts for match in _SUBJECT.finditer(text)}
    if marks:
        return "firing" if "FIRING" in marks else "resolved"
    if any(_RESOLVED.match(text) for text in _slack_titles(body)):
        return "resolved"
    colours = [one.get("color") for one in _listed(body.get("attachments")) if isinstance(one, dict)]
    return "resolved" if colours and all(colour == "good" for colour in colours) else "firing"


def _unescaped(text: str) -> str:
    """Slack's three escapes."""
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def pagerduty(body: Any) -> list[Notification]:
    """An event of version 2. Where Alertmanager's details tell of both, two notifications. Raises Malformed."""
    payload = _payload(body)
    action = _EVENTS.get(str(body.get("event_action")))
    if action is None:
        raise Malformed(f"event_action is not one of {', '.join(_EVENTS)}")
    title = payload.get("summary")
    if action == "firing" and not (isinstance(title, str) and title.strip()):
        raise Malformed("payload.summary is missing")
    if action != "firing" and not body.get("dedup_key"):
        raise Malformed("dedup_key is missing")
    title = title if isinstance(title, str) else ""
    details = payload.get("custom_details")
    details = details if isinstance(details, dict) else {}
    if action == "acknowledged" or not details.get(action):
        return [_made("pagerduty", action, _Said(payload), title)]
    both: tuple[Action, ...] = ("firing", "resolved") if action == "firing" else ("resolved",)
    return [_made("pagerduty", one, _Said({one: details[one]}), title) for one in both if details.get(one)]


def change(body: Any) -> list[Notification]:
    """A change event of PagerDuty: no alert, but told. Raises Malformed."""
    payload = _payload(body)
    title = payload.get("summary")
    if not (isinstance(title, str) and title.strip()):
        raise Malformed("payload.summary is missing")
    return [_made("pagerduty", "changed", _Said(payload), title)]


def _payload(body: Any) -> dict[str, Any]:
    if not isinstance(body, dict):
        raise Malformed("the body is not a JSON object")
    payload = body.get("payload", {})
    if not isinstance(payload, dict):
        raise Malformed("payload is not an object")
    return payload


def webhook(body: Any) -> list[Notification]:
    """Alertmanager's group: one notification of what fires, one of what is resolved. Raises Malformed."""
    if not isinstance(body, dict):
        raise Malformed("the body is not a JSON object")
    title = next(_texts(body.get(key) for key in ("title", "message", "text", "summary", "event")), "")
    alerts = [one for one in _listed(body.get("alerts")) if isinstance(one, dict)]
    if not alerts:
        return [_made("webhook", _status(body), _Said(body), title)]
    made = []
    both: tuple[Action, ...] = ("firing", "resolved")
    for action in both:
        of = [one for one in alerts if _status(one, _status(body)) == action]
        if of:
            said = _Said([{"labels": one.get("labels"), "annotations": one.get("annotations")} for one in of])
            made.append(_made("webhook", action, said, title or _subject(body, action, len(of))))
    return made


def _status(told: dict[str, Any], otherwise: Action = "firing") -> Action:
    status = str(told.get("status", "")).lower()
    return "resolved" if status == "resolved" else "firing" if status == "firing" else otherwise


def _subject(body: dict[str, Any], action: str, count: int) -> str:
    """As Alertmanager would have written it."""
    grouped = body.get("groupLabels")
    values = " ".join(_texts(grouped.values())) if isinstance(grouped, dict) else ""
    return f"[{action.upper()}:{count}] {values}"


# --- what is said in it ------------------------------------------------------------------------------------------


class _Said:
    """Every text in some JSON, and the values of the two labels that tell what it is about."""

    def __init__(self, body: Any) -> None:
        self.texts: list[str] = []
        self.labels: dict[str, list[str]] = {"alertname": [], "failure": []}
        left, waiting = PARTS, [body]
        while waiting and left:
            left -= 1
            one = waiting.pop()
            if isinstance(one, dict):
                self._mapping(one)
                waiting.extend(reversed(list(one.values())))
            elif isinstance(one, list):
                waiting.extend(one[left::-1])
            elif isinstance(one, str) and one.strip():
                self.texts.append(one)
        self.cut = bool(waiting)

    def _mapping(self, told: dict[str, Any]) -> None:
        for name, found in self.labels.items():
            value = told.get(name)
            if isinstance(value, str) and value.strip():
                found.append(value)
        title, value = told.get("title"), told.get("value")  # a field of Slack's
        if isinstance(title, str) and isinstance(value, str):
            self.texts.append(f"{title} = {value}")

    def named(self, label: str, written: re.Pattern[str]) -> list[str]:
        """By a label if there is one, else as texts have it."""
        return self.labels[label] or [match.group(1) for text in self.texts for match in written.finditer(text)]

    def alerts(self) -> list[str]:
        found = self.named("alertname", _ALERT)
        return found or [name for text in self.texts for name in _of_subject(text)]


def _of_subject(text: str) -> Iterator[str]:
    """Alertmanager sorts an alert's name before all other labels, but says first what it groups by, and no names of
    labels at all: the first word with a capital is taken for it, or, where one alert alone is told of, the first."""
    for match in _SUBJECT.finditer(text):
        words = [*match.group(3).split(), *(match.group(4) or "").split()]
        alone = words[:1] if match.group(2) == "1" else []
        yield from ([word for word in words if word[0].isupper()] or alone)[:1]


def _made(kind: Kind, action: Action, said: _Said, title: str) -> Notification:
    made = Notification(kind, action, (), (), plain(title[: 2 * TITLE])[:TITLE], said.cut or len(title) > TITLE)
    alerts, failures = _names(said.alerts()), _names(said.named("failure", _FAILURE))
    cut = made.truncated or len(alerts) > NAMES or len(failures) > NAMES
    return replace(made, alerts=alerts[:NAMES], failures=failures[:NAMES], truncated=cut)


def _names(found: Iterable[str]) -> tuple[str, ...]:
    """Each once, in the order in which they came."""
    return tuple(dict.fromkeys(plain(name[:NAME]).strip() for name in found if name.strip()))


def _texts(values: Iterable[Any]) -> Iterator[str]:
    return (value for value in values if isinstance(value, str) and value.strip())


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
