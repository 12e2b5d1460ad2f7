"""What applications ask of the intake: records taken, what users said recorded, and users erased.

A record is taken if its user's last event says so, to the terms that are current. That is looked up, and after it
nothing is awaited until the records are handed to the journal, but for a look at who has withdrawn meanwhile: so from
the answer to a withdrawal on, nothing of that user is taken.
"""

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from actors.consent.register import ConsentRegister, SayOutcome, UserStatement
from actors.consent.restrictions import subject_key, subject_of_user
from actors.consent.settings import ConsentSettings
from actors.intake.reading import RecordRefusal, RefusedRecord, SubmittedRecord
from persistence.format.consent_events import ConsentState, Decision
from persistence.format.records import IntakeRecord
from persistence.journals.journal import AppendRefused, Journal, Line

_REFUSED: Final = {
    ConsentState.NONE: RefusedRecord(RecordRefusal.NO_CONSENT, "The user has not agreed to anything."),
    ConsentState.OUTDATED: RefusedRecord(
        RecordRefusal.OUTDATED_CONSENT, "The user has agreed to other terms than the current ones."
    ),
    ConsentState.WITHDRAWN: RefusedRecord(RecordRefusal.CONSENT_WITHDRAWN, "The user has withdrawn."),
}
_ERASED: Final = RefusedRecord(RecordRefusal.ERASED, "The user's data was erased, and no more of it is taken.")
_NOT_STORED: Final = RefusedRecord(
    RecordRefusal.NOT_STORED, "There was no room to store this record; send it again later."
)


class TakenRecord(msgspec.Struct, frozen=True):
    """The record is on disk, under this id."""

    record_id: str


RecordOutcome = TakenRecord | RefusedRecord


class _Waiting(msgspec.Struct, frozen=True):
    """A line to be stored: which record of the request it is, and whose."""

    place: int
    record_id: str
    user: bytes
    line: Line


class IntakeDesk:
    """Takes records; who may hand them over is not decided here."""

    def __init__(self, register: ConsentRegister, journal: Journal, *, random_bytes: Callable[[int], bytes]) -> None:
        self._register = register
        self._journal = journal
        self._random_bytes = random_bytes

    def __repr__(self) -> str:
        return f"<IntakeDesk {self._register!r}>"

    @property
    def consent(self) -> ConsentSettings:
        """The terms that are current."""
        return self._register.settings

    async def say(self, statement: UserStatement) -> SayOutcome:
        """Record what a user says, unless they have said it already; the answer comes after it is on disk."""
        return await self._register.say(statement)

    async def withdraw(self, user_id: str) -> SayOutcome | None:
        """Record that a user has withdrawn; None where there is nothing to withdraw."""
        subject = subject_of_user(user_id)
        state = (await self._register.states([subject]))[subject]
        if state in {ConsentState.NONE, ConsentState.WITHDRAWN}:
            return None
        version = self.consent.current_version
        return await self.say(UserStatement(user_id=user_id, decision=Decision.WITHDRAWN, version=version))

    async def submit(
        self, records: Sequence[SubmittedRecord | RefusedRecord], *, token_id: str
    ) -> list[RecordOutcome] | AppendRefused:
        """Store what may be stored; one outcome for each, after it is on disk, or why nothing could be stored."""
        subjects = {
            each.user_id: subject_of_user(each.user_id) for each in records if isinstance(each, SubmittedRecord)
        }
        states = await self._register.states(list(subjects.values()))
        outcomes: list[RecordOutcome] = []
        waiting: list[_Waiting] = []
        for each in records:
            if isinstance(each, RefusedRecord):
                outcomes.append(each)
                continue
            subject = subjects[each.user_id]
            refused = self._refused(subject_key(subject)) or _REFUSED.get(states[subject])
            if refused is None:
                record = self._record(each, subject)
                line = Line(record, _members(record, each, self.consent.current_version, token_id))
                waiting.append(_Waiting(len(outcomes), record.record_id, subject_key(subject), line))
            outcomes.append(refused or _NOT_STORED)
        stored = 0
        while group := self._next_group(waiting, outcomes):
            positions = await self._journal.append_many([waited.line for waited in group])
            if isinstance(positions, AppendRefused):
                return outcomes if stored else positions
            for stored_now in group:
                outcomes[stored_now.place] = TakenRecord(stored_now.record_id)
            stored += len(group)
        return outcomes

    def _refused(self, user: bytes) -> RefusedRecord | None:
        """Why nothing of a user is taken since a moment ago."""
        restrictions = self._register.restrictions
        if user in restrictions.erased:
            return _ERASED
        return _REFUSED[ConsentState.WITHDRAWN] if user in restrictions.withdrawn else None

    def _next_group(self, waiting: list[_Waiting], outcomes: list[RecordOutcome]) -> list[_Waiting]:
        """Take from what waits as much as fits into one commit, without what somebody has withdrawn meanwhile."""
        group: list[_Waiting] = []
        size_bytes = 0
        while waiting:
            first = waiting[0]
            if (refused := self._refused(first.user)) is not None:
                outcomes[first.place] = refused
                waiting.pop(0)
                continue
            size_bytes += first.line.size_bytes
            if not self._journal.fits_one_commit(len(group) + 1, size_bytes):
                break
            group.append(waiting.pop(0))
        return group

    def _record(self, submitted: SubmittedRecord, subject: str) -> IntakeRecord:
        return IntakeRecord(
            record_id=self._random_bytes(16).hex(),
            subject=subject,
            session_id=submitted.session_id,
            content_type=submitted.content_type,
        )


def _members(record: IntakeRecord, submitted: SubmittedRecord, version: str, token_id: str) -> bytes:
    members = {
        "record_id": record.record_id,
        "subject": record.subject,
        "session_id": record.session_id,
        "content_type": record.content_type,
        "content": msgspec.Raw(submitted.content),
        "metadata": msgspec.Raw(submitted.metadata),
        "consent_version": version,
        "token": token_id,
    }
    return msgspec.json.encode(members)[1:-1]
