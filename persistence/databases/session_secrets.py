"""The keys of sessions, opened: for whoever checks again what was signed with them."""

from collections.abc import AsyncIterator, Sequence
from typing import Final

import msgspec

from persistence.databases.database import Database
from persistence.keys.sealing import MasterKeyError, Sealer

PAGE_ROWS: Final = 500

SELECT_KEYS: Final = """
SELECT session_id, server_private_key, server_public_key, shared_secret, client_public_key FROM sessions
WHERE session_id > ? AND placeholder = 0 ORDER BY session_id LIMIT ?
"""
COUNT_LOST: Final = "SELECT count(*) FROM sessions WHERE placeholder = 1"
SELECT_SHARED: Final = "SELECT shared_secret FROM sessions WHERE session_id = ?"


class SessionKeys(msgspec.Struct, frozen=True):
    """The keys of one session, in base64; its repr shows no secret.

    What is not there, or could not be opened, is None; `fault` says why.
    """

    session_id: str
    server_private_key: str | None
    server_public_key: str
    shared_secret: str | None
    client_public_key: str
    fault: str = ""

    def __repr__(self) -> str:
        return f"<SessionKeys {self.session_id}>"


class SessionSecrets:
    """The sealed columns of a sessions.db, opened with the master key, if that is there."""

    def __init__(self, database: Database, sealer: Sealer | None) -> None:
        self._database = database
        self._sealer = sealer

    def __repr__(self) -> str:
        return f"<SessionSecrets {self._sealer}>"

    @property
    def has_key(self) -> bool:
        """Whether there is a master key to open them with."""
        return self._sealer is not None

    async def pages(self) -> AsyncIterator[Sequence[SessionKeys]]:
        """Yield the keys of all sessions whose opening is there, some at a time."""
        after = ""
        while rows := await self._database.read(SELECT_KEYS, (after, PAGE_ROWS)):
            yield [self._opened(*row) for row in rows]
            after = rows[-1][0]

    async def lost(self) -> int:
        """Return how many sessions have no keys any more: their openings were lost with an earlier database."""
        ((count,),) = await self._database.read(COUNT_LOST)
        assert isinstance(count, int)
        return count

    async def shared_secret(self, session_id: str) -> str | None:
        """Return a session's shared secret in base64; None where it is lost or does not open."""
        for (sealed,) in await self._database.read(SELECT_SHARED, (session_id,)):
            try:
                return self._open(sealed, "shared_secret", session_id)
            except MasterKeyError:
                return None
        return None

    def _opened(
        self, session_id: str, private_key: str, public_key: str, shared_secret: str, client_public_key: str
    ) -> SessionKeys:
        opened: list[str | None] = []
        fault = ""
        for column, sealed in (("server_private_key", private_key), ("shared_secret", shared_secret)):
            try:
                opened.append(self._open(sealed, column, session_id))
            except MasterKeyError as error:
                opened.append(None)
                fault = fault or str(error)
        return SessionKeys(session_id, opened[0], public_key, opened[1], client_public_key, fault)

    def _open(self, sealed: str, column: str, session_id: str) -> str | None:
        if self._sealer is None:
            return None
        return self._sealer.unseal(sealed, column=column, session_id=session_id)
