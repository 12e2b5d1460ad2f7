"""Who may do what: tokens looked up where they are presented, and when each was used last.

Nothing of a token is remembered but when it was used: what was revoked a moment ago is refused now. A look-up reads two
pages of a small file, in a thread. Uses are noted some time later, together, so that a request does not wait for a
disk; a crash forgets at most that time's.
"""

import logging
from collections.abc import Callable

import msgspec
import trio

from central_command.access.settings import AccessSettings
from central_command.access.tokens import TOKEN, Scope, token_sha256
from persistence.databases.access_tokens import TokenFile
from persistence.databases.database import DatabaseFailure
from persistence.files.file_system import Offload
from persistence.format import times

log = logging.getLogger("central_command.tokens")


class Admitted(msgspec.Struct, frozen=True):
    """The token is valid, and has the scope."""

    token_id: str


class NotAdmitted(msgspec.Struct, frozen=True):
    """The token is none, was revoked, or has expired: which of these nobody is told."""


class OutOfScope(msgspec.Struct, frozen=True):
    """The token is valid, and is for something else."""


class CannotTell(msgspec.Struct, frozen=True):
    """The tokens cannot be read now; the log says why."""


CheckOutcome = Admitted | NotAdmitted | OutOfScope | CannotTell


class Gate:
    """Looks tokens up; `run` must run in a nursery for their use to be noted."""

    def __init__(
        self, tokens: TokenFile, settings: AccessSettings, *, clock: Callable[[], float], offload: Offload
    ) -> None:
        self.settings = settings
        self._tokens = tokens
        self._clock = clock
        self._offload = offload
        self._used: dict[str, str] = {}
        """When tokens were used that this is not noted of yet: `tokens_max` at most, and few are valid at once."""

    def __repr__(self) -> str:
        return f"<Gate {len(self._used)} used since it was noted>"

    async def check(self, token: str, scope: Scope) -> CheckOutcome:
        """Whether who presents this may do that."""
        if not TOKEN.match(token):
            await trio.lowlevel.checkpoint()
            return NotAdmitted()
        try:
            found = await self._offload(self._tokens.find, token_sha256(token))
        except DatabaseFailure as failure:
            log.error("a token could not be looked up: %s", failure)  # noqa: TRY400 (the sentence says it all)
            return CannotTell()
        now = self._clock()
        if found is None or not found.is_valid(now):
            return NotAdmitted()
        self._used[found.token_id] = times.to_text(now)
        return Admitted(found.token_id) if scope in found.scopes else OutOfScope()

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
        if not used:
            return
        try:
            await self._offload(self._tokens.note_uses, used)
        except DatabaseFailure as failure:
            log.warning("%s; the use of tokens is noted later", failure)
            self._used = {**used, **self._used}
