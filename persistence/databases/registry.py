"""The sessions table: opening with the per-machine limit, and what an actor needs to come back.

Openings have no line in a journal: their rows are the truth themselves. They are committed with `synchronous = FULL`
before anyone is told, and many of them share one transaction, because a sync costs the same for one row as for all that
wait. Everything else in the table is projected from the journals (`persistence.databases.projection`).
"""

import logging
import math
from collections import deque
from collections.abc import Sequence
from typing import Final

import msgspec
import trio

from persistence.databases.database import (
    Database,
    DatabaseBusy,
    DatabaseFailure,
    DatabaseFull,
    Query,
    Statement,
    Value,
)
from persistence.databases.session_index import (
    SELECT_GAPS,
    SELECT_TRAJECTORY,
    SessionIndex,
    TrajectorySummary,
    closed_by_of,
    trajectory_of,
)
from persistence.format import times
from persistence.format.records import ClosedBy, EnvelopeKind, SequenceGap
from persistence.keys.sealing import MasterKeyError, Sealer
from persistence.settings.storage import StorageSettings

log = logging.getLogger("central_command.storage")

MACHINE_WINDOW_S: Final = 3_600
"""Opens are limited within an hour (contract, "Per-Machine").

What was opened more than an hour from now, under a clock that has gone back since, does not count: it would keep the
machine out for as long as the clock was wrong.
"""


class NewSession(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a session when it opens. Keys are base64 text; `created_at` is seconds since the epoch, UTC.

    Its repr shows no secret.
    """

    session_id: str
    server_private_key: str
    server_public_key: str
    shared_secret: str
    client_public_key: str
    provider: str
    model: str
    machine_fingerprint: str
    app_version_hash: str
    groove_version: str
    created_at: float
    signed_by: str = ""
    """The digest of the contributor who signed the opening with their registered key; empty for nobody."""

    def __repr__(self) -> str:
        return f"<NewSession {self.session_id}>"


class SessionCreated(msgspec.Struct, frozen=True):
    """The session's row is on disk."""


class SessionExists(msgspec.Struct, frozen=True):
    """There already is a row with this id: nothing was written."""


class MachineRateLimited(msgspec.Struct, frozen=True):
    """The machine opened too many sessions within the hour; `retry_after_s` is at least 1."""

    retry_after_s: int


class TooManyUnused(msgspec.Struct, frozen=True):
    """There are `unused_sessions_max` sessions that nothing came from yet: nothing was written."""


class RegistryBusy(msgspec.Struct, frozen=True):
    """`open_queue_max` openings wait already, or another program holds the database: nothing was written."""


class RegistryFull(msgspec.Struct, frozen=True):
    """The disk has no room for the session's row: nothing was written."""


OpenResult = SessionCreated | SessionExists | MachineRateLimited | TooManyUnused | RegistryBusy | RegistryFull


class AcceptedEnvelope(msgspec.Struct, frozen=True):
    """An accepted line of a session, as far as recognising its resend needs it."""

    envelope_id: str
    kind: EnvelopeKind
    sequence: int | None
    session_hmac: str


class RefusedEnvelope(msgspec.Struct, frozen=True):
    """A refused line of a session, as far as answering its resend alike needs it; `length` is that of its line."""

    envelope_id: str
    kind: str
    sequence: int | None
    session_hmac: str
    code: str
    reason: str
    length: int


class StoredSession(msgspec.Struct, frozen=True, kw_only=True):
    """A session as the databases know it; times are seconds since the epoch, UTC. Its repr shows no secret.

    Keys are empty for a session whose opening was lost with its database (`placeholder`): it can verify nothing, but
    can be closed and stitched. `bytes_total` counts the lines of its accepted envelopes. `accepted` and `refused` are
    in line order.
    """

    session_id: str
    server_private_key: str
    server_public_key: str
    shared_secret: str
    client_public_key: str
    provider: str
    model: str
    machine_fingerprint: str
    app_version_hash: str
    groove_version: str
    expected_sequence: int
    envelope_count: int
    chunk_count: int
    step_count: int
    bytes_total: int
    closed: bool
    closed_by: ClosedBy | None
    created_at: float
    closed_at: float | None
    last_activity_at: float
    placeholder: bool
    signed_by: str = ""
    contributor: str = ""
    """The digest of whom its first chunk names; empty before there is one."""
    accepted: tuple[AcceptedEnvelope, ...]
    refused: tuple[RefusedEnvelope, ...]
    gaps: tuple[SequenceGap, ...]
    trajectory: TrajectorySummary | None

    def __repr__(self) -> str:
        status = "closed" if self.closed else "active"
        return f"<StoredSession {self.session_id} {status} expects {self.expected_sequence}>"


INSERT_SESSION: Final = """
INSERT INTO sessions (session_id, server_private_key, server_public_key, shared_secret, client_public_key, provider,
    model, machine_fingerprint, app_version_hash, groove_version, created_at, last_activity_at, subject)
SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?11, ?16
WHERE CASE WHEN ?16 = '' THEN (SELECT count(*) FROM sessions
    WHERE machine_fingerprint = ?8 AND created_at > ?12 AND created_at < ?14) < ?13
    ELSE (SELECT count(*) FROM sessions WHERE subject = ?16 AND subject != ''
        AND created_at > ?12 AND created_at < ?14) < ?13 END
    AND ((SELECT sessions_unused FROM totals) < ?15 OR EXISTS (SELECT 1 FROM sessions WHERE session_id = ?1))
ON CONFLICT (session_id) DO NOTHING
"""
# What became of a batch: which rows there are now, and with whose key.
SELECT_KEYS: Final = """
SELECT session_id, server_public_key FROM sessions WHERE session_id IN (SELECT value FROM json_each(?))
"""
# The oldest of the opens that fill the limit: when it is an hour old, there is room for one more.
SELECT_LIMITING_OF_MACHINE: Final = """
SELECT created_at FROM sessions WHERE machine_fingerprint = ? AND created_at > ? AND created_at < ?
ORDER BY created_at DESC LIMIT 1 OFFSET ?
"""
SELECT_LIMITING_OF_CONTRIBUTOR: Final = """
SELECT created_at FROM sessions WHERE subject = ? AND subject != '' AND created_at > ? AND created_at < ?
ORDER BY created_at DESC LIMIT 1 OFFSET ?
"""
DELETE_UNUSED: Final = """
DELETE FROM sessions WHERE session_id = ? AND envelope_count = 0 AND status = 'active' AND placeholder = 0
"""
SELECT_SESSION: Final = """
SELECT server_private_key, server_public_key, shared_secret, client_public_key, sessions.provider, sessions.model,
    machine_fingerprint, app_version_hash, groove_version, expected_sequence, envelope_count, chunk_count, step_count,
    bytes_total,
    status = 'closed', closed_by, created_at, closed_at, last_activity_at, placeholder, sessions.subject,
    coalesce(first_chunks.subject, '')
FROM sessions LEFT JOIN first_chunks USING (session_id) WHERE session_id = ?
"""
SELECT_ACCEPTED: Final = """
SELECT envelope_id, kind, sequence, session_hmac FROM processed_envelopes WHERE session_id = ? ORDER BY n
"""
SELECT_REFUSED: Final = """
SELECT envelope_id, kind, sequence, session_hmac, code, reason, length
FROM refused_envelopes WHERE session_id = ? ORDER BY n
"""


class RegistryStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """Openings waiting, committed batches, and openings answered, since the start."""

    waiting: int
    batches: int
    answered: int


def _limited_by(session: NewSession) -> tuple[str, str]:
    """Whose openings one is counted with: the contributor's who signed it, else the machine's."""
    return (session.signed_by, "") if session.signed_by else ("", session.machine_fingerprint)


class _Opening:
    """An opening that waits for its transaction."""

    __slots__ = ("done", "result", "session")

    def __init__(self, session: NewSession) -> None:
        self.session = session
        self.done = trio.Event()
        self.result: OpenResult | DatabaseFailure | None = None

    def answer(self, result: OpenResult | DatabaseFailure) -> None:
        self.result = result
        self.done.set()


class Registry(SessionIndex):
    """Sessions in sessions.db. `run` must run in a nursery for openings to be answered."""

    def __init__(
        self,
        database: Database,
        sealer: Sealer,
        settings: StorageSettings,
        *,
        opens_per_machine_per_h: int,
        opens_per_contributor_per_h: int = 1_000,
        unused_sessions_max: int,
    ) -> None:
        super().__init__(database)
        self._sealer = sealer
        self._settings = settings
        self.opens_per_machine_per_h = opens_per_machine_per_h
        """How many sessions one machine may open in an hour; may be set at any time."""
        self.opens_per_contributor_per_h = opens_per_contributor_per_h
        """How many a contributor may open who signs with a registered key, instead; likewise."""
        self._unused_sessions_max = unused_sessions_max
        self._waiting: deque[_Opening] = deque()
        self._arrived = trio.Event()
        self._failure: DatabaseFailure | None = None
        self._batches = 0
        self._answered = 0

    def __repr__(self) -> str:
        return f"<Registry waiting={len(self._waiting)} batches={self._batches}>"

    async def run(self) -> None:
        """Commit waiting openings, many in a transaction, until cancelled; raises `DatabaseFailure`."""
        try:
            while True:
                await self._arrived.wait()
                if not self._waiting:
                    self._arrived = trio.Event()
                    continue
                await self._commit()
        except DatabaseFailure as failure:
            self._failure = failure
            while self._waiting:
                self._waiting.popleft().answer(failure)
            raise

    async def open(self, session: NewSession) -> OpenResult:
        """Add a session, durably, unless it exists or its machine opened too many within the hour before it.

        A caller that is cancelled may leave a session behind that is open. Raises `DatabaseFailure`.
        """
        if self._failure is not None:
            raise DatabaseFailure(str(self._failure)) from self._failure
        if len(self._waiting) >= self._settings.open_queue_max:
            await trio.lowlevel.checkpoint()
            return RegistryBusy()
        opening = _Opening(session)
        self._waiting.append(opening)
        self._arrived.set()
        await opening.done.wait()
        assert opening.result is not None
        if isinstance(opening.result, DatabaseFailure):
            raise DatabaseFailure(str(opening.result)) from opening.result
        return opening.result

    async def _commit(self) -> None:
        # They stay in the queue until they are answered: what waits is counted, and a failure answers it, too.
        batch = [self._waiting[index] for index in range(min(len(self._waiting), self._settings.open_batch_max))]
        rows = [self._opening_row(opening.session) for opening in batch]
        try:
            await self._database.write([Statement(INSERT_SESSION, rows)], durable=True)
        except (DatabaseFull, DatabaseBusy) as unavailable:
            result = RegistryFull() if isinstance(unavailable, DatabaseFull) else RegistryBusy()
            for _ in batch:
                self._waiting.popleft().answer(result)
            return
        ids = msgspec.json.encode([opening.session.session_id for opening in batch]).decode()
        keys: dict[str, str] = dict(await self._database.read(SELECT_KEYS, (ids,)))
        limited = [opening for opening in batch if opening.session.session_id not in keys]
        retry_after_s = await self._retry_after_s([opening.session for opening in limited])
        for opening in batch:
            key = keys.get(opening.session.session_id)
            self._waiting.popleft()
            if key is None:
                wait_s = retry_after_s[_limited_by(opening.session)]
                opening.answer(TooManyUnused() if wait_s is None else MachineRateLimited(wait_s))
            else:
                # The server's key was made for this opening alone.
                opening.answer(SessionCreated() if key == opening.session.server_public_key else SessionExists())
        self._batches += 1
        self._answered += len(batch)

    def _opening_row(self, session: NewSession) -> Sequence[Value]:
        seal = self._sealer.seal
        session_id = session.session_id
        return (
            session_id,
            seal(session.server_private_key, column="server_private_key", session_id=session_id),
            session.server_public_key,
            seal(session.shared_secret, column="shared_secret", session_id=session_id),
            session.client_public_key,
            session.provider,
            session.model,
            session.machine_fingerprint,
            session.app_version_hash,
            session.groove_version,
            times.to_text(session.created_at),
            times.to_text(session.created_at - MACHINE_WINDOW_S),
            self.opens_per_contributor_per_h if session.signed_by else self.opens_per_machine_per_h,
            times.to_text(session.created_at + MACHINE_WINDOW_S),
            self._unused_sessions_max,
            session.signed_by,
        )

    async def _retry_after_s(self, sessions: Sequence[NewSession]) -> dict[tuple[str, str], int | None]:
        """For each limit that refused, in how many whole seconds there is room again; None when there is already."""
        limits = {_limited_by(session): session.created_at for session in sessions}
        if not limits:
            return {}
        answers = await self._database.read_snapshot([self._limiting(each, now_s) for each, now_s in limits.items()])
        waits: dict[tuple[str, str], int | None] = {}
        for (limit, now_s), rows in zip(limits.items(), answers, strict=True):
            opened_at = times.from_text(rows[0][0]) if rows else None
            waits[limit] = None if opened_at is None else max(1, math.ceil(opened_at + MACHINE_WINDOW_S - now_s))
        return waits

    def _limiting(self, limited_by: tuple[str, str], now_s: float) -> Query:
        """Ask for the opening that has to be an hour old before there is room for one more."""
        signed_by, machine = limited_by
        since, until = times.to_text(now_s - MACHINE_WINDOW_S), times.to_text(now_s + MACHINE_WINDOW_S)
        if signed_by:
            return SELECT_LIMITING_OF_CONTRIBUTOR, (signed_by, since, until, self.opens_per_contributor_per_h - 1)
        return SELECT_LIMITING_OF_MACHINE, (machine, since, until, self.opens_per_machine_per_h - 1)

    async def forget(self, session_id: str) -> bool:
        """Delete a session that nothing ever came from, keys and all; False for any other.

        Only its actor may ask, which knows that nothing is on its way. Raises `DatabaseUnavailable` when that is not
        possible now. A crash of the machine may undo it.
        """
        (deleted,) = await self._database.write([Statement(DELETE_UNUSED, [(session_id,)])], durable=False)
        return deleted == 1

    async def load(self, session_id: str) -> StoredSession | None:
        """Everything that an actor needs to come back, from one snapshot; None if there is no such session.

        Raises `MasterKeyError` for secrets that were sealed with another key or changed.
        """
        queries: list[Query] = [
            (sql, (session_id,))
            for sql in (SELECT_SESSION, SELECT_ACCEPTED, SELECT_REFUSED, SELECT_GAPS, SELECT_TRAJECTORY)
        ]
        sessions, accepted, refused, gaps, trajectories = await self._database.read_snapshot(queries)
        if not sessions:
            return None
        row = sessions[0]
        return StoredSession(
            session_id=session_id,
            server_private_key=self._unseal(row[0], "server_private_key", session_id),
            server_public_key=row[1],
            shared_secret=self._unseal(row[2], "shared_secret", session_id),
            client_public_key=row[3],
            provider=row[4],
            model=row[5],
            machine_fingerprint=row[6],
            app_version_hash=row[7],
            groove_version=row[8],
            expected_sequence=row[9],
            envelope_count=row[10],
            chunk_count=row[11],
            step_count=row[12],
            bytes_total=row[13],
            closed=bool(row[14]),
            closed_by=closed_by_of(row[15]),
            created_at=times.from_text(row[16]),
            closed_at=None if row[17] is None else times.from_text(row[17]),
            last_activity_at=times.from_text(row[18]),
            placeholder=bool(row[19]),
            signed_by=row[20],
            contributor=row[21],
            accepted=tuple(
                AcceptedEnvelope(envelope_id, EnvelopeKind(kind), sequence, session_hmac)
                for envelope_id, kind, sequence, session_hmac in accepted
            ),
            refused=tuple(RefusedEnvelope(*each) for each in refused),
            gaps=tuple(SequenceGap(*each) for each in gaps),
            trajectory=trajectory_of(trajectories),
        )

    def _unseal(self, sealed: str, column: str, session_id: str) -> str:
        # A session whose opening was lost has no secret to open, and one whose key was damaged has none that opens: it
        # can still be closed, and what it holds be credited.
        if not sealed:
            return ""
        try:
            return self._sealer.unseal(sealed, column=column, session_id=session_id)
        except MasterKeyError as damage:
            log.error("%s: the session can be closed, and takes nothing more", damage)  # noqa: TRY400 it says it all
            return ""

    def statistics(self) -> RegistryStatistics:
        """What waits and what was done."""
        return RegistryStatistics(waiting=len(self._waiting), batches=self._batches, answered=self._answered)
