"""Consent on this machine: events, appended and never changed (persistence/format/consent_events.py)."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec

from central_command.training.consent_file import (
    EVENTS,
    ConsentFile,
    append,
    event_of,
    head,
    last_event,
    now_us,
    withdrawn_since,
)
from central_command.training.local_user import CONSENT_DB_PATH
from central_command.training.notice import NOTICE, Notice
from central_command.training.records import plain_metadata
from persistence.format.consent_events import (
    CURRENT_CONSENT_VERSION,
    ChainCheck,
    ConsentEvent,
    ConsentState,
    Decision,
    check_chain,
    state_of,
)
from persistence.format.submitted_texts import ID_CHARS_MAX, is_id

BUSY_TIMEOUT_S: Final = 10.0


class ConsentRecord(msgspec.Struct, frozen=True):
    """What somebody said once. `timestamp` is seconds since the epoch, UTC; `event_id` names it in receipts."""

    user_id: str
    opted_in: bool
    consent_version: str
    timestamp: float
    metadata: dict[str, Any] = msgspec.field(default_factory=dict)
    event_id: str = ""


class ConsentManager:
    """Who has opted in, in the file at `db_path`; safe from any thread and process.

    `notice` is what people were shown before they were asked. The file is made with the first event, 0600. Methods
    raise TrainingDataError when it cannot be read or written, or is in use for longer than `busy_timeout_s`.
    """

    def __init__(
        self, db_path: str | Path = CONSENT_DB_PATH, *, notice: Notice = NOTICE, busy_timeout_s: float = BUSY_TIMEOUT_S
    ) -> None:
        self._file = ConsentFile(Path(db_path).expanduser().absolute(), busy_timeout_s=busy_timeout_s)
        self._notice = notice

    def __repr__(self) -> str:
        return f"<ConsentManager {self._file!r}>"

    def record_consent(
        self,
        user_id: str,
        opted_in: bool,  # noqa: FBT001 (the contract's signature)
        consent_version: str,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        """Append that a user opted in to the terms of a version, or out; on disk when this returns.

        Raises ValueError for what no event can hold: an empty id, a version that is no text, metadata that are no JSON;
        and for an `opted_in` that is neither True nor False, because no other value is anybody's consent.
        """
        if not is_id(user_id):
            raise ValueError(f"user_id must be a text of 1 to {ID_CHARS_MAX} characters")
        if not isinstance(opted_in, bool):
            raise ValueError(f"opted_in must be True or False, not {type(opted_in).__name__}")  # noqa: TRY004
        if not isinstance(consent_version, str):
            raise ValueError(f"consent_version must be a text, not {type(consent_version).__name__}")  # noqa: TRY004
        noted = plain_metadata(metadata)
        with self._file.writing() as connection:
            append(
                connection,
                self._notice,
                user_id,
                Decision.GIVEN if opted_in else Decision.WITHDRAWN,
                consent_version,
                msgspec.json.encode(noted).decode() if noted else "",
            )
            if opted_in:
                self._file.forget_withdrawal(user_id)
        if not opted_in:
            self._file.note_withdrawal(user_id)

    def is_opted_in(self, user_id: str) -> bool:
        """Whether the user's last word was to opt in, to the current terms; False for somebody who said nothing."""
        return self.state(user_id) is ConsentState.GIVEN

    def state(self, user_id: str) -> ConsentState:
        """The same with the reason."""
        with self._file.reading() as connection:
            return state_of(last_event(connection, user_id), CURRENT_CONSENT_VERSION)

    @contextmanager
    def held(self, user_ids: Collection[str], *, since: float | None = None) -> Iterator[dict[str, str]]:
        """Those of the users who have opted in, with the version of their consent; nobody can withdraw in the block.

        With `since` (seconds since the epoch), nobody who has withdrawn at that time or later, even if they have opted
        in again: what was taken before is not theirs to be used.
        """
        with self._file.reading() as connection:
            versions = {}
            for user_id in set(user_ids):
                last = last_event(connection, user_id)
                if last is None or state_of(last, CURRENT_CONSENT_VERSION) is not ConsentState.GIVEN:
                    continue
                if since is None or not withdrawn_since(connection, user_id, since):
                    versions[user_id] = last.version
            yield versions

    def revoke_consent(self, user_id: str) -> bool:
        """Append that a user opted out, unless they have; False, and nothing is appended, if they never said anything.

        When this returns, nothing more of theirs is written, by any process that uses this file.
        """
        if not self._file.exists():
            return False
        with self._file.writing() as connection:
            last = last_event(connection, user_id)
            if last is None:
                return False
            if last.state is not Decision.WITHDRAWN:
                append(connection, self._notice, user_id, Decision.WITHDRAWN, last.version, "")
        self._file.note_withdrawal(user_id)
        return True

    def request_deletion(self, user_id: str) -> dict[str, Any]:
        """Note that a user asked for deletion, to be done by `TrainingDataIntake.delete_user`.

        Returns `{"user_id", "consent_records", "status": "pending"}`. Asking again changes nothing.
        """
        with self._file.writing() as connection:
            connection.execute(
                "INSERT INTO deletion_requests (user_id, requested_us) SELECT ?1, ?2 WHERE NOT EXISTS"
                " (SELECT 1 FROM deletion_requests WHERE user_id = ?1 AND done_us IS NULL)",
                (user_id, now_us()),
            )
            (records,) = connection.execute(
                "SELECT count(*) FROM consent_events WHERE subject = ?", (user_id,)
            ).fetchone()
        return {"user_id": user_id, "consent_records": records, "status": "pending"}

    def pending_deletions(self) -> list[str]:
        """Who asked for deletion and still waits for it, in the order in which they asked."""
        with self._file.reading() as connection:
            if connection is None:
                return []
            rows = connection.execute("SELECT user_id FROM deletion_requests WHERE done_us IS NULL ORDER BY n")
            return [user_id for (user_id,) in rows]

    def deletion_done(self, user_id: str) -> None:
        """Note that a user's data are deleted."""
        if user_id in self.pending_deletions():
            with self._file.writing() as connection:
                connection.execute(
                    "UPDATE deletion_requests SET done_us = ? WHERE user_id = ? AND done_us IS NULL",
                    (now_us(), user_id),
                )

    def get_opted_in_count(self) -> int:
        """How many users have opted in to the current terms."""
        with self._file.reading() as connection:
            if connection is None:
                return 0
            (count,) = connection.execute(
                "SELECT count(*) FROM consent_events WHERE state = 'given' AND version = ?"
                " AND n IN (SELECT max(n) FROM consent_events GROUP BY subject)",
                (CURRENT_CONSENT_VERSION,),
            ).fetchone()
            return int(count)

    def get_consent_history(self, user_id: str) -> list[ConsentRecord]:
        """What a user said, oldest first."""
        return [
            ConsentRecord(
                user_id=event.subject,
                opted_in=event.state is Decision.GIVEN,
                consent_version=event.version,
                timestamp=event.at_us / 1_000_000,
                metadata=msgspec.json.decode(event.metadata) if event.metadata else {},
                event_id=event.id,
            )
            for event in self.events(user_id)
        ]

    def events(self, user_id: str) -> list[ConsentEvent]:
        """The events of a user, oldest first."""
        with self._file.reading() as connection:
            if connection is None:
                return []
            rows = connection.execute(f"{EVENTS} WHERE subject = ? ORDER BY n", (user_id,))
            return [event_of(row) for row in rows]

    def check(self) -> ChainCheck:
        """Whether the events of all users are as they were appended."""
        with self._file.reading() as connection:
            if connection is None:
                return check_chain([])
            rows = connection.execute(f"{EVENTS} ORDER BY n")
            return check_chain(map(event_of, rows), head_sha256=head(connection))
