"""Instants as people write them: `2026-03-01`, `2026-03-01T10:00`, `2026-03-01T10:00+01:00`, or `30d` ago."""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo

from veloz_chaos.core import duration

#: Years in which a schedule can be looked at.
_FIRST, _LAST = 1970, 9000
_EXAMPLES = "write 30d, 2026-03-01 or 2026-03-01T10:00+01:00"


def parse(text: str, now: datetime, zone: tzinfo = UTC) -> datetime:
    """With its time zone; where it names none, in `zone`. Raises ValueError."""
    if text == "now":
        return now
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        pass
    else:
        return found if found.tzinfo else found.replace(tzinfo=zone)
    try:
        return now - duration.parse(text)
    except (ValueError, OverflowError):
        raise ValueError(f"`{text}` is neither an instant nor a length of time; {_EXAMPLES}") from None


def as_of(text: str | None, now: datetime) -> datetime:
    """An instant, in UTC, as which a schedule can be looked at; without a text it is now. Raises ValueError."""
    try:
        found = parse(text or "now", now).astimezone(UTC)
    except OverflowError:
        found = None
    if found is None or not _FIRST <= found.year <= _LAST:
        raise ValueError(f"`{text}` is beyond the years {_FIRST} to {_LAST}; {_EXAMPLES}")
    return found
