"""An evidence bundle as one file: a tar within a gzip, the same bytes for the same contents, everywhere.

The gzip's comment holds the SHA-256 of all that follows it, so that no byte of the file can change unseen; readers of
gzip skip it.
"""

from __future__ import annotations

import io
import re
import struct
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import NamedTuple

from veloz_chaos.core import evidence
from veloz_chaos.errors import UsageError

#: Magic, deflate, "has a comment", no time, best compression, Unix.
_HEAD = b"\x1f\x8b\x08\x10\x00\x00\x00\x00\x02\x03"
_COMMENT = re.compile(rb"sha256:([0-9a-f]{64})\x00")
_COMMENT_LENGTH = len("sha256:") + 64 + 1
#: Of a tar's own, for each file and at the end. Bytes.
_OVERHEAD = 2 * tarfile.RECORDSIZE


class Unpacked(NamedTuple):
    files: Mapping[str, bytes]
    #: what is wrong with the archive itself
    problems: list[str]


def pack(files: Mapping[str, bytes]) -> bytes:
    """Raises UsageError for what no bundle may hold."""
    for path, data in files.items():
        if why := evidence.unsafe(path) or _too_large(len(data)):
            raise UsageError(f"{path}: can't be in a bundle: {why}")
    if sum(map(len, files.values())) > evidence.LARGEST_IN_ALL:
        raise UsageError(f"all that is more than {evidence.LARGEST_IN_ALL >> 20} MiB; make several bundles")
    return _sealed(_tar(files))


def unpack(data: bytes) -> Unpacked:
    """As far as it can be read; touches no disk. Raises UsageError for what is no bundle at all."""
    if data[:3] != _HEAD[:3]:
        raise UsageError("is no evidence bundle: not even a gzip")
    problems = []
    start = len(_HEAD) + _COMMENT_LENGTH
    comment = _COMMENT.fullmatch(data[len(_HEAD) : start])
    ours = data[: len(_HEAD)] == _HEAD and comment is not None
    if not ours:
        problems.append("the archive's first bytes were changed, or no veloz-chaos packed it")
    elif comment is not None and sha256(data[start:]).hexdigest() != comment[1].decode():
        problems.append("the archive's bytes are not those that were sealed")
    tar, why = _inflated(data[start:]) if ours else _inflated(data, gzip=True)
    problems += [why] if why else []
    files: dict[str, bytes] = {}
    try:
        for path, content, wrong in _members(tar):
            if wrong:
                problems.append(f"{path!r}: refused: {wrong}")
            elif path in files:
                problems.append(f"{path}: is there twice")
            else:
                files[path] = content
    except (tarfile.TarError, EOFError, ValueError) as error:
        problems.append(f"the archive can't be read to its end: {error}")
    if not problems and _tar(files) != tar:
        problems.append("something stands between the archive's files, or behind them")
    return Unpacked(files, problems)


def _too_large(size: int) -> str:
    return f"it is larger than {evidence.LARGEST >> 20} MiB" if size > evidence.LARGEST else ""


def _tar(files: Mapping[str, bytes]) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path in sorted(files):
            member = tarfile.TarInfo(path)
            member.size, member.mode = len(files[path]), 0o644
            archive.addfile(member, io.BytesIO(files[path]))
    return made.getvalue()


def _sealed(tar: bytes) -> bytes:
    deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    body = deflate.compress(tar) + deflate.flush() + struct.pack("<II", zlib.crc32(tar), len(tar) & 0xFFFFFFFF)
    return _HEAD + b"sha256:" + sha256(body).hexdigest().encode() + b"\x00" + body


def _inflated(body: bytes, *, gzip: bool = False) -> tuple[bytes, str]:
    """As far as it goes, never beyond what a bundle may hold; and why it goes no further. `gzip`: somebody else's,
    with its head and its end."""
    inflate = zlib.decompressobj(16 + zlib.MAX_WBITS if gzip else -zlib.MAX_WBITS)
    most = evidence.LARGEST_IN_ALL + evidence.MOST * _OVERHEAD
    found = bytearray()
    rest = body
    try:
        while rest and not inflate.eof:
            found += inflate.decompress(rest, 1 << 20)
            rest = inflate.unconsumed_tail
            if len(found) > most:
                return bytes(found[:most]), "the archive holds more than any bundle does"
    except zlib.error:
        return bytes(found), "the archive is damaged: it can't be unpacked to its end"
    if not inflate.eof:
        return bytes(found), "the archive is cut off"
    if not gzip and inflate.unused_data != struct.pack("<II", zlib.crc32(bytes(found)), len(found) & 0xFFFFFFFF):
        return bytes(found), "the archive's check sum is wrong, or something stands behind its end"
    return bytes(found), ""


def _members(tar: bytes) -> Iterator[tuple[str, bytes, str]]:
    """Path, content, and why it is refused."""
    with tarfile.open(fileobj=io.BytesIO(tar), mode="r:") as archive:
        for number, member in enumerate(archive):
            if number >= evidence.MOST:
                yield member.name, b"", f"more than {evidence.MOST} files"
                return
            why = evidence.unsafe(member.name) or _too_large(member.size)
            if not member.isreg() or member.issparse():
                why = why or "no plain file"
            content = b"" if why else archive.extractfile(member)
            if not isinstance(content, bytes):
                content = content.read() if content is not None else b""
            yield member.name, content, why
