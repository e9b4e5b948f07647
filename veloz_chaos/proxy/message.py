"""HTTP/1.1 messages as they are on the wire: the head, and where the body ends (RFC 9112). Bodies pass as they came."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import cached_property

from veloz_chaos.core.effect import LOOK_HEADER

#: Bytes of a head, and of one line that frames a chunk.
LONGEST_HEAD, LONGEST_LINE = 65536, 16384
ALL = sys.maxsize
LOOK = LOOK_HEADER.lower().encode()

Fields = Sequence[tuple[bytes, bytes]]


class BadMessage(Exception):
    """This is not HTTP/1.1, or may be read in two ways."""


class Head:
    """Start line and fields."""

    def __init__(self, start: bytes, fields: Fields) -> None:
        self.start, self.fields = start, fields

    @classmethod
    def of(cls, wire: bytes) -> Head:
        """From the bytes before the blank line. Raises BadMessage."""
        start, *lines = wire.split(b"\r\n")
        fields = []
        for line in lines:
            name, colon, value = line.partition(b":")
            if not colon or not name or name != name.strip():
                raise BadMessage("a malformed header line")
            fields.append((name, value.strip()))
        return cls(start, fields)

    @cached_property
    def parts(self) -> list[bytes]:
        parts = self.start.split(b" ", 2)
        if len(parts) < 2:
            raise BadMessage("a malformed start line")
        return parts

    @cached_property
    def _lowered(self) -> dict[bytes, bytes]:
        """A field that comes twice is one with a comma."""
        found: dict[bytes, bytes] = {}
        for name, value in self.fields:
            key = name.lower()
            found[key] = found[key] + b", " + value if key in found else value
        return found

    def get(self, name: bytes) -> bytes:
        """The value of a field by its lower-case name; empty if there is none."""
        return self._lowered.get(name, b"")

    def changed(self, fields: Fields, without: bytes = b"") -> Head:
        """With these fields in place of those of the same name."""
        gone = {name.lower() for name, _ in fields} | {without}
        return Head(self.start, [*((n, v) for n, v in self.fields if n.lower() not in gone), *fields])

    def wire(self) -> bytes:
        return b"\r\n".join([self.start, *(name + b": " + value for name, value in self.fields), b"", b""])

    def goes_on(self, version: bytes) -> bool:
        """Does the connection outlive the message?"""
        said = self.get(b"connection").lower()
        return b"close" not in said and (version >= b"HTTP/1.1" or b"keep-alive" in said)

    def body(self, otherwise: Framing) -> Framing:
        """How the body is framed. Raises BadMessage where two readers might disagree."""
        coding, length = self.get(b"transfer-encoding"), self.get(b"content-length")
        if coding and length:
            raise BadMessage("both a length and a transfer coding")
        if coding:
            return Chunked() if coding.lower().endswith(b"chunked") else Framing(ALL)
        if not length:
            return otherwise
        if not length.isdigit():
            raise BadMessage("a malformed length")
        return Framing(int(length))


class Request:
    """One request: what it asks for, and how it is passed on."""

    def __init__(self, head: Head) -> None:
        self.head = head
        if len(head.parts) != 3 or not head.parts[2].startswith(b"HTTP/1."):
            raise BadMessage("a malformed request line")
        self.method, self.path = head.parts[0].decode("latin-1"), _path(head.parts[1])
        self.framing = head.body(Framing(0))
        declared = head.get(LOOK).decode("latin-1")
        self.look = bool(declared)
        #: method and path that faults go by
        self.asked = tuple(declared.split(" ", 1)) if " " in declared else (self.method, self.path)

    @property
    def goes_on(self) -> bool:
        return self.head.goes_on(self.head.parts[2])

    def passed_on(self, authority: bytes) -> bytes:
        return self.head.changed([(b"Host", authority)], without=LOOK).wire()


class Response:
    """One response; an interim one is followed by another."""

    def __init__(self, head: Head, method: str) -> None:
        self.head = head
        if not head.parts[0].startswith(b"HTTP/1.") or not head.parts[1].isdigit():
            raise BadMessage("a malformed status line")
        self.status = int(head.parts[1])
        self.interim = 100 <= self.status < 200 and self.status != 101
        bodiless = method == "HEAD" or self.status < 200 or self.status in (204, 304)
        self.framing = Framing(0) if bodiless else head.body(Framing(ALL))

    @property
    def goes_on(self) -> bool:
        return self.framing.size != ALL and self.head.goes_on(self.head.parts[0])


class Framing:
    """A body of `size` bytes; ALL of them until the connection ends. `payload`: bytes of content so far."""

    def __init__(self, size: int) -> None:
        self.size, self.payload = size, 0

    @property
    def done(self) -> bool:
        return self.payload >= self.size

    def feed(self, data: bytes, most: int = ALL) -> int:
        """How many of these bytes belong to the body; not beyond a payload of `most`."""
        taken = min(len(data), min(self.size, most) - self.payload)
        self.payload += taken
        return taken


class Chunked(Framing):
    """A body in chunks: each a line with its size, so many bytes, and a line end; a trailer after the last."""

    def __init__(self) -> None:
        super().__init__(0)
        self._ended, self._left, self._partial, self._expects = False, 0, b"", "size"

    @property
    def done(self) -> bool:
        return self._ended

    def feed(self, data: bytes, most: int = ALL) -> int:
        at = 0
        while at < len(data) and not self._ended and self.payload < most:
            at += self._content(len(data) - at, most) if self._left else self._line(data, at)
        return at

    def _content(self, there: int, most: int) -> int:
        taken = min(there, self._left, most - self.payload)
        self._left -= taken
        self.payload += taken
        return taken

    def _line(self, data: bytes, at: int) -> int:
        end = data.find(b"\n", at) + 1
        piece = data[at : end or len(data)]
        self._partial += piece
        if len(self._partial) > LONGEST_LINE:
            raise BadMessage("an endless line between chunks")
        if end:
            line, self._partial = self._partial.strip(), b""
            self._read(line)
        return len(piece)

    def _read(self, line: bytes) -> None:
        if self._expects == "size":
            self._left = _hex(line.partition(b";")[0].strip())
            self._expects = "end" if self._left else "trailer"
        elif self._expects == "end":
            self._expects = "size"
        elif not line:
            self._ended = True


def _hex(written: bytes) -> int:
    if not written or len(written) > 15 or written.strip(b"0123456789abcdefABCDEF"):
        raise BadMessage("a malformed chunk size")
    return int(written, 16)


def _path(target: bytes) -> str:
    """Of an absolute target, too."""
    text = target.decode("latin-1")
    return "/" + text.split("/", 3)[3] if text.startswith("http") and text.count("/") >= 3 else text
