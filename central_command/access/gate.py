"""Who may do what: tokens and browser sessions looked up where they are presented, and when each was used last.

Nothing of them is remembered but when they were used: what was revoked a moment ago is refused now. A look-up reads two
pages of a small file, in a thread. Uses are noted some time later, together, so that a request does not wait for a
disk; a crash forgets at most that time's.
"""

import logging
from collections.abc import Callable, Mapping

import msgspec
import trio

from central_command.access.settings import AccessSettings
from central_command.access.tokens import COOKIE, TOKEN, Scope, token_sha256
from persistence.databases.access_file import Held
from persistence.databases.access_tokens import TokenFile
from persistence.databases.browser_sessions import BrowserSessionFile
from persistence.databases.database import DatabaseFailure
from persistence.files.file_system import Offload
from persistence.format import times

log = logging.getLogger("central_command.tokens")


class Admitted(msgspec.Struct, frozen=True):
    """The token, or the browser session, is valid, and has the scope."""

    token_id: str
    """Its id: `tok_…`, or `ses_…` of a browser session."""
    scopes: tuple[str, ...]
    """All that it has."""


class NotAdmitted(msgspec.Struct, frozen=True):
    """It is none, was revoked, or has expired: which of these nobody is told."""


class OutOfScope(msgspec.Struct, frozen=True):
    """It is valid, and is for something else."""

    scopes: tuple[str, ...]
    """What it is for."""


class CannotTell(msgspec.Struct, frozen=True):
    """The tokens cannot be read now; the log says why."""


CheckOutcome = Admitted | NotAdmitted | OutOfScope | CannotTell


class Gate:
    """Looks tokens and browser sessions up; `run` must run in a nursery for their use to be noted."""

    def __init__(
        self,
        tokens: TokenFile,
        settings: AccessSettings,
        *,
        clock: Callable[[], float],
        offload: Offload,
        sessions: BrowserSessionFile | None = None,
    ) -> None:
        """Without `sessions` no browser is let in."""
        self.settings = settings
        self._tokens = tokens
        self._sessions = sessions
        self._clock = clock
        self._offload = offload
        self.is_unable = False
        """Whether the last token that somebody has presented could not be looked up."""
        self._used: dict[str, str] = {}
        """When tokens were used that this is not noted of yet: `tokens_max` at most, and few are valid at once."""
        self._used_sessions: dict[str, str] = {}
        """The same of browser sessions: `browser_sessions_max` at most."""

    def __repr__(self) -> str:
        return f"<Gate {len(self._used) + len(self._used_sessions)} used since it was noted>"

    async def check(self, token: str, scope: Scope) -> CheckOutcome:
        """Whether who presents this token may do that."""
        if not TOKEN.match(token):
            await trio.lowlevel.checkpoint()
            return NotAdmitted()
        try:
            found = await self._offload(self._tokens.find, token_sha256(token))
        except DatabaseFailure as failure:
            self.is_unable = True
            log.error("a token could not be looked up: %s", failure)  # noqa: TRY400 (the sentence says it all)
            return CannotTell()
        self.is_unable = False
        return self._judged(found, "" if found is None else found.token_id, scope, self._used)

    async def check_session(self, cookie: str, scope: Scope) -> CheckOutcome:
        """Whether the browser that presents this cookie may do that."""
        if self._sessions is None or not COOKIE.match(cookie):
            await trio.lowlevel.checkpoint()
            return NotAdmitted()
        try:
            found = await self._offload(self._sessions.find, token_sha256(cookie))
        except DatabaseFailure as failure:
            self.is_unable = True
            log.error("a browser session could not be looked up: %s", failure)  # noqa: TRY400 (likewise)
            return CannotTell()
        self.is_unable = False
        judged = self._judged(found, "" if found is None else found.session_id, scope, self._used_sessions)
        if found is not None and found.session_id in self._used_sessions and found.is_of_token:
            self._used[found.origin] = self._used_sessions[found.session_id]  # who uses the session uses its token
        return judged

    def _judged(self, found: Held | None, found_id: str, scope: Scope, used: dict[str, str]) -> CheckOutcome:
        now = self._clock()
        if found is None or not found.is_valid(now):
            return NotAdmitted()
        used[found_id] = times.to_text(now)
        return Admitted(found_id, found.scopes) if scope in found.scopes else OutOfScope(found.scopes)

    async def run(self) -> None:
        """Note uses every `last_use_interval_s`, and at the end, until cancelled."""
        try:
            while True:
                await trio.sleep(self.settings.last_use_interval_s)
                await self._note()
        finally:
            with trio.CancelScope(shield=True):
                await self._note()

    async def _note(self) -> None:
        used, self._used = self._used, {}
        if not await self._noted(self._tokens.note_uses, used):
            self._used = {**used, **self._used}
        if self._sessions is not None:
            used, self._used_sessions = self._used_sessions, {}
            if not await self._noted(self._sessions.note_uses, used):
                self._used_sessions = {**used, **self._used_sessions}

    async def _noted(self, note_uses: Callable[[Mapping[str, str]], None], used: Mapping[str, str]) -> bool:
        if not used:
            return True
        try:
            await self._offload(note_uses, used)
        except DatabaseFailure as failure:
            log.warning("%s; the use of tokens is noted later", failure)
            return False
        return True
