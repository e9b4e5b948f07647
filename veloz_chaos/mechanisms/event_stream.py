"""The text of server-sent events, in pieces as they come (https://html.spec.whatwg.org/multipage/server-sent-events)."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

#: What one line may have; what is longer is cut.
LIMIT = 1 << 20
_LINE = re.compile(r"(.*?)(?:\r\n|\n|\r(?!\Z))", re.DOTALL)


@dataclass(frozen=True)
class Message:
    """`id` is this block's own: None if it has none. `data` None: an id alone, which is no event."""

    event: str
    id: str | None
    data: str | None


@dataclass
class Parser:
    _text: str = ""
    _event: str = ""
    _id: str | None = None
    _data: list[str] = field(default_factory=list)
    _decoder: codecs.IncrementalDecoder = field(
        default_factory=lambda: codecs.getincrementaldecoder("utf-8-sig")("replace")
    )

    def feed(self, piece: bytes) -> Iterator[Message]:
        """The messages that this piece completes."""
        self._text += self._decoder.decode(piece)
        at = 0
        while line := _LINE.match(self._text, at):
            at = line.end()
            if line[1]:
                self._field(line[1])
            elif message := self._dispatched():
                yield message
        self._text = self._text[at:][:LIMIT]

    def _field(self, line: str) -> None:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
        elif name == "event":
            self._event = value
        elif name == "id" and "\0" not in value:
            self._id = value

    def _dispatched(self) -> Message | None:
        """The block that a blank line ends; None if there was nothing in it."""
        event, own, data = self._event, self._id, self._data
        self._event, self._id, self._data = "", None, []
        if own is None and not data:
            return None
        return Message(event or "message", own, "\n".join(data) if data else None)
