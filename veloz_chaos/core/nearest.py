"""What somebody probably meant: the second half of every "unknown name" message."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_SHOWN = 12


def nearest(word: str, words: Iterable[str]) -> str | None:
    """The known word that looks most like this one, None where none does."""
    lowered = {known.lower(): known for known in words}
    close = difflib.get_close_matches(word.lower(), lowered, n=1, cutoff=0.6)
    return lowered[close[0]] if close else None


def did_you_mean(word: str, words: Iterable[str]) -> str:
    """A remedy: "did you mean `x`?", else the known words (twelve at most), else nothing where none are known."""
    known = list(dict.fromkeys(words))
    if (close := nearest(word, known)) is not None:
        return f"did you mean `{close}`?"
    listed = ", ".join(known[:_SHOWN]) + (", …" if len(known) > _SHOWN else "")
    return f"known: {listed}" if known else ""
