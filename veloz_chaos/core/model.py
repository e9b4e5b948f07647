"""The base of everything that people write: unknown keys are errors, names are kebab-case in YAML."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, StringConstraints


def kebab(name: str) -> str:
    return name.rstrip("_").replace("_", "-")


class Written(BaseModel):
    """A frozen model read from YAML or from a journal."""

    model_config = ConfigDict(
        frozen=True,
        defer_build=True,
        extra="forbid",
        alias_generator=kebab,
        validate_by_alias=True,
        validate_by_name=True,
        serialize_by_alias=True,
        ser_json_inf_nan="constants",
    )


NAME = r"^[a-z0-9]([a-z0-9._>-]*[a-z0-9])?$"
Name = Annotated[str, StringConstraints(pattern=NAME, max_length=100)]


def only_key(value: Any, what: str, known: set[str]) -> str:
    """The one key of a mapping that is not among `known` (such as `kill` in a fault). Raises ValueError."""
    if not isinstance(value, dict):
        raise ValueError(f"{what} must be a mapping such as {{name: {{…}}}}")
    found = [key for key in value if key not in known]
    if len(found) != 1:
        raise ValueError(f"{what} must name exactly one kind, not {', '.join(found) or 'none'}")
    return str(found[0])
