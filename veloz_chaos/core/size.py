"""Sizes and shares as people write them: `8MB` is 8,000,000 bytes, `8MiB` 8 × 1024²; `90%` is 0.9."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema

_UNITS = {"B": 1, "KB": 1_000, "MB": 1_000_000, "GB": 1_000_000_000, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_SIZE = r"(\d+(?:\.\d+)?)\s*(B|KB|MB|GB|KiB|MiB|GiB)"
_SHARE = r"(\d+(?:\.\d+)?)%"


def parse_size(written: Any) -> Any:
    """Bytes. A bare number is refused: nobody could say of what."""
    match = re.fullmatch(_SIZE, written) if isinstance(written, str) else None
    if not match:
        raise ValueError("a size is written as 0B, 64KB, 8MB or 8MiB")
    return round(float(match[1]) * _UNITS[match[2]])


def parse_share(written: Any) -> Any:
    match = re.fullmatch(_SHARE, written) if isinstance(written, str) else None
    if not match:
        raise ValueError("a share is written as a percentage, such as 30%")
    return float(match[1]) / 100


def percent(share: float) -> str:
    return f"{share * 100:.6g}%"


_READ = (BeforeValidator(parse_share), PlainSerializer(percent))
_SHOWN = WithJsonSchema({"type": "string", "pattern": f"^{_SHARE}$"})
#: Bytes.
Size = Annotated[
    int,
    Field(ge=0),
    BeforeValidator(parse_size),
    PlainSerializer(lambda size: f"{size}B"),
    WithJsonSchema({"type": "string", "pattern": f"^{_SIZE}$"}),
]
#: Above 0 and at most 1; and from 0 on.
Share = Annotated[float, Field(gt=0, le=1), *_READ, _SHOWN]
Part = Annotated[float, Field(ge=0, le=1), *_READ, _SHOWN]
