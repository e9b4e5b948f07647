"""Sessions under way: logged in before anything looks or trades, and again before a token is too old.

A login that fails later changes nothing: the token of the one before is shown until another one succeeds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta

from veloz_chaos.core.probe import Eye
from veloz_chaos.core.session import Session
from veloz_chaos.engine.look import why
from veloz_chaos.engine.secrets import Secrets
from veloz_chaos.errors import Refused, UsageError

#: How long one login may take.
PATIENCE = timedelta(seconds=5)
#: Seconds until one that failed is tried again.
AGAIN = 1.0


class Sessions:
    """`secrets.tokens` holds what the logins gave."""

    def __init__(self, planned: Mapping[str, Session], secrets: Secrets) -> None:
        self._planned, self._secrets = planned, secrets

    async def open(self) -> None:
        """Log in everywhere. Raises Refused with every reason, UsageError for a login that can't be sent."""
        answers = await asyncio.gather(*(self._login(name, session) for name, session in self._planned.items()))
        if failed := [answer for answer in answers if answer]:
            raise Refused("\n".join(failed))

    async def keep(self) -> None:
        """Until it is cancelled."""
        await asyncio.gather(*(self._refresh(name, session) for name, session in self._planned.items()))

    async def _refresh(self, name: str, session: Session) -> None:
        wait = session.refresh
        while wait is not None:
            await asyncio.sleep(wait.total_seconds())
            try:
                failed = await self._login(name, session)
            except UsageError as error:
                failed = str(error)
            wait = timedelta(seconds=AGAIN) if failed else session.refresh

    async def _login(self, name: str, session: Session) -> str:
        """Why it failed; empty if it gave a token."""
        from veloz_chaos.probes.http import Http

        asked = Http(**session.login.model_dump(by_alias=True, exclude_defaults=True))
        try:
            async with asyncio.timeout(PATIENCE.total_seconds()):
                seen = await asked.look(Eye(PATIENCE, self._secrets.fill))
        except TimeoutError:
            return f"session {name}: no answer to its login in {PATIENCE.total_seconds():g} s"
        if not 200 <= seen.status < 300:
            return self._secrets.redact(f"session {name}: its login was answered by {why(seen)}")
        token = session.token_in(seen.json)
        if not token:
            return f"session {name}: the answer to its login has no `{session.token}`"
        self._secrets.add(name, token)
        return ""
