"""A session: who looks or trades, by a login whose token each request then shows.

`as: NAME` at a probe adds the header; a workload's templates name `${session:NAME}` where they want the token.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from typing import Annotated, Any

from pydantic import Field

from veloz_chaos.core.complaint import Path
from veloz_chaos.core.duration import Duration
from veloz_chaos.core.model import Name, Written
from veloz_chaos.core.substitute import references
from veloz_chaos.core.workload import Complain, HttpTemplate, Workload, template
from veloz_chaos.errors import Problem

#: What a text calls a session's token by: `${session:trader}`.
PREFIX = "session:"


class Session(Written):
    login: HttpTemplate
    #: where the token is in the JSON of the answer: keys, with dots between them
    token: Annotated[str, Field(min_length=1)]
    #: it logs in anew so often, before the token is too old; None: never
    refresh: Duration | None = None
    #: `Authorization` shows `Bearer TOKEN`, any other one the token alone
    header: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]+$")] = "Authorization"

    def shown(self, name: str) -> dict[str, str]:
        """The header that a request of this session carries."""
        bearer = "Bearer " if self.header.lower() == "authorization" else ""
        return {self.header: f"{bearer}${{{PREFIX}{name}}}"}

    def token_in(self, answer: Any) -> str:
        """Empty if there is none."""
        for key in self.token.split("."):
            answer = answer.get(key) if isinstance(answer, Mapping) else None
        return answer if isinstance(answer, str) else ""


def named_in(data: Any) -> set[str]:
    """The sessions whose token a text below `data` wants."""
    return {name.removeprefix(PREFIX) for _, name in references(data) if name.startswith(PREFIX)}


def problems(session: Session, path: Path, complain: Complain) -> Iterator[Problem]:
    """Everything that would fail in a run; `path` is where it stands."""
    yield from template(session.login, (*path, "login"), (), complain)
    if session.refresh is not None and session.refresh < timedelta(seconds=1):
        yield complain((*path, "refresh"), "`refresh` must be 1s at least", "write 10m, say")


def planned(sessions: Mapping[Name, Session], probes: Iterable[Any], workload: Workload | None) -> dict[Name, Session]:
    """Those whose tokens these probes' arguments and this workload want."""
    wanted = named_in([*probes, workload and workload.model_dump()])
    return {name: session for name, session in sessions.items() if name in wanted}
