"""Pydantic's complaints in plain English, each at a path of the data that was validated.

Pydantic names places by `loc`, in which branches of unions and validators appear as if they were keys; those parts
are skipped. Of a union's branches only the one that fits best complains, so that one mistake is one problem.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, TypeAliasType, Union, get_args, get_origin  # type: ignore[attr-defined]

from pydantic import BaseModel, ValidationError

from veloz_chaos.core.nearest import did_you_mean, nearest

Path = tuple[str | int, ...]
