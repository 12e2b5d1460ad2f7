"""What browsers and administrators ask: to sign in and out, what tokens and browser sessions there are, to end one.

Each is a short transaction in a thread. Raises DatabaseFailure.
"""

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Final

import msgspec
import trio

from central_command.access.making import Maker, NewLink, NewToken
from central_command.access.settings import AccessSettings
from central_command.access.tokens import COOKIE, LINK_CODE, TOKEN, Scope, new_cookie, new_id, token_sha256
from persistence.databases.access_tokens import StoredToken, TokenFile, TooManyTokens
from persistence.databases.browser_sessions import (
    BrowserSessionFile,
    NoSuchKey,
    Opening,
    OpeningOutcome,
    StoredBrowserSession,
    TooManyBrowserSessions,
    TooManyLinks,
)
from persistence.files.file_system import Offload
from persistence.format import times

SESSION_PREFIX: Final = "ses"


class SignedIn(msgspec.Struct, frozen=True):
    """A browser session that was opened: what its cookie holds, and for how long."""

    session: StoredBrowserSession
    cookie: str
    lasting_s: float


SignInOutcome = SignedIn | NoSuchKey | TooManyBrowserSessions


class AccessDesk:
    """Signs browsers in and out, and looks after tokens and browser sessions."""

    def __init__(
        self,
        path: Path,
        settings: AccessSettings,
        *,
        clock: Callable[[], float],
        random_bytes: Callable[[int], bytes],
        offload: Offload,
    ) -> None:
        self._settings = settings
        self._tokens = TokenFile(path, clock)
        self._sessions = BrowserSessionFile(path, clock)
        self._maker = Maker(path, settings, clock=clock, random_bytes=random_bytes)
        self._clock = clock
        self._random_bytes = random_bytes
        self._offload = offload

    def __repr__(self) -> str:
        return f"<AccessDesk of {self._tokens!r}>"

    async def sign_in(self, key: str) -> SignInOutcome:
        """Open a browser session for who shows a token, or the code of a link, which then works no more."""
        cookie, now = new_cookie(self._random_bytes), self._clock()
        opening = Opening(
            session_id=new_id(SESSION_PREFIX, self._random_bytes),
            sha256=token_sha256(cookie),
            at=times.to_text(now),
            until=times.to_text(now + self._settings.browser_session_s),
            sessions_max=self._settings.browser_sessions_max,
        )
        outcome: OpeningOutcome = NoSuchKey()
        if TOKEN.match(key):
            outcome = await self._offload(self._sessions.open_with_token, token_sha256(key), opening, now)
        elif LINK_CODE.match(key):
            outcome = await self._offload(self._sessions.open_with_link, token_sha256(key), opening)
        else:
            await trio.lowlevel.checkpoint()
        if not isinstance(outcome, StoredBrowserSession):
            return outcome
        assert outcome.expires_at is not None, "each has an end"
        return SignedIn(outcome, cookie, times.from_text(outcome.expires_at) - now)

    async def signed_in(self, cookie: str) -> StoredBrowserSession | None:
        """The session of a cookie; None where it is over, or was none."""
        if not COOKIE.match(cookie):
            await trio.lowlevel.checkpoint()
            return None
        found = await self._offload(self._sessions.find, token_sha256(cookie))
        return found if found is not None and found.is_valid(self._clock()) else None

    async def sign_out(self, cookie: str) -> StoredBrowserSession | None:
        """End the session of a cookie; None where there was none to end."""
        found = await self.signed_in(cookie)
        if found is not None:
            await self._offload(self._sessions.revoke, found.session_id, self._now())
        return found

    async def tokens(self) -> list[StoredToken]:
        """All tokens, oldest first."""
        return await self._offload(self._tokens.all)

    async def make_token(
        self, scopes: Collection[Scope], name: str, lasting_s: float | None
    ) -> NewToken | TooManyTokens:
        """Make a token."""
        return await self._offload(self._maker.token, scopes, name, lasting_s)

    async def make_link(self, scopes: Collection[Scope]) -> NewLink | TooManyLinks:
        """Make a link that one browser may sign in with."""
        return await self._offload(self._maker.link, scopes)

    async def revoke_token(self, token_id: str) -> str | None:
        """Revoke a token, and the browser sessions opened with it; None for one that there is not."""
        return await self._offload(self._tokens.revoke, token_id, self._now())

    async def sessions(self) -> list[StoredBrowserSession]:
        """All browser sessions that are kept, oldest first."""
        return await self._offload(self._sessions.all)

    async def revoke_session(self, session_id: str) -> str | None:
        """End a browser session; None for one that there is not."""
        return await self._offload(self._sessions.revoke, session_id, self._now())

    def _now(self) -> str:
        return times.to_text(self._clock())
