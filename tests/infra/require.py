"""A backend that is not here: skipped, and seen to be; a failure if REQUIRE (names, comma separated) asks for it."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def required(name: str) -> bool:
    return name in os.environ.get("REQUIRE", "").split(",")


def absent(name: str, reason: str) -> NoReturn:
    if required(name):
        pytest.fail(f"REQUIRE names {name}, but {reason}", pytrace=False)
    pytest.skip(f"{name}: {reason}")
