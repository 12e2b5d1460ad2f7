"""The register of consent: the one task that adds to the consent journal, and all that is asked of it.

Every event names the hash of the one before it, so events are made one after the other, each after the line before it
is on disk. Requests wait in a bounded queue; who goes away while waiting takes nothing back, because the task goes on.
What an envelope's answer depends on (`Restrictions`) changes after the line is on disk, and before the request is
answered: from the answer on it holds.

First envelopes are recorded from what has been projected, behind their answers: sessions.db knows of whom there are
chunks and no event, which a crash cannot lose.
"""

import base64
import logging
from collections.abc import Callable, Iterable
from typing import Any, Final, assert_never, cast

import msgspec
import trio

from actors.consent.restrictions import Restrictions, subject_key, subject_of, subject_of_user
from actors.consent.settings import ConsentMode, ConsentSettings
from actors.consent.signatures import REQUEST_AGE_S_MAX, RequestProof, is_signed
from actors.consent.standing import FIRST_VERSION
from persistence.databases.database import DatabaseUnavailable
from persistence.files.failures import StorageDamage
from persistence.format import times
from persistence.format.consent_events import (
    BEFORE_FIRST,
    ConsentEvent,
    ConsentSource,
    ConsentState,
    Decision,
    checked_event,
    event_id,
    event_sha256,
    state_after,
)
from persistence.format.records import ConsentRecord, ContributorKeyRecord, JournalName
from persistence.journals.journal import AppendRefused, Line
from persistence.journals.lines import parse_consent_line
from persistence.journals.slot import Slot
from persistence.storage import Storage

log = logging.getLogger("central_command.consent")

FIRSTS_AT_ONCE: Final = 256
BY_THE_OPERATOR: Final = frozenset({ConsentSource.OPERATOR, ConsentSource.IMPORT})
EVENT_BYTES_MAX: Final = 4_096
"""More than a line of an event takes: the purposes are at most 16 texts of 64 characters."""


class Said(msgspec.Struct, frozen=True):
    """The event that says it is on disk: a new one, or the last one if that says the same.

    The last one, too, where it is not earlier than what is brought from elsewhere, whatever it says.
    """

    event: ConsentEvent
    is_new: bool


class NotSigned(msgspec.Struct, frozen=True):
    """The contributor has a key, and the request is not signed with it as it must be: one sentence says what lacks."""

    reason: str


class NotLatest(msgspec.Struct, frozen=True):
    """The contributor has a key, and the request names another event as their last one than this."""

    last_sha256: str


class TooManyContributors(msgspec.Struct, frozen=True):
    """As many contributors as there may be have withdrawn, or have keys: nothing was recorded."""


class RegisterFailed(msgspec.Struct, frozen=True):
    """What is stored of the contributor cannot be read: the log says where, and nothing was recorded."""


class SaidElsewhere(msgspec.Struct, frozen=True, kw_only=True):
    """When something was said that is brought from elsewhere, in microseconds since the epoch, and after which notice.

    The notice is that of now where it is None.
    """

    at_us: int
    notice_version: str | None = None
    notice_sha256: str | None = None


class Statement(msgspec.Struct, frozen=True, kw_only=True):
    """What a contributor says, or an operator for them: to be recorded.

    `contributor_id` may be the digest that stands for them. `after` is the hash of their last event, for those who have
    a key; what is of the source `OPERATOR` or `IMPORT` needs no signature, because it comes from whoever has the data
    directory.
    """

    contributor_id: str
    decision: Decision
    version: str
    source: ConsentSource
    proof: RequestProof | None = None
    after: str | None = None
    elsewhere: SaidElsewhere | None = None

    @property
    def subject(self) -> str:
        """The digest that stands for the contributor."""
        return subject_of(self.contributor_id)


class UserStatement(msgspec.Struct, frozen=True, kw_only=True):
    """What a user of an application says, by that application: to be recorded."""

    user_id: str
    decision: Decision
    version: str
    source: ConsentSource = ConsentSource.API

    def __repr__(self) -> str:
        return f"<UserStatement {self.decision}>"

    @property
    def subject(self) -> str:
        """The digest that stands for the user."""
        return subject_of_user(self.user_id)


class _Newcomers(msgspec.Struct, frozen=True):
    """Record the first envelopes of contributors of whom there is no event."""


class _Registration(msgspec.Struct, frozen=True):
    subject: str
    public_key: bytes


SayOutcome = Said | NotSigned | NotLatest | TooManyContributors | AppendRefused | RegisterFailed
RegisterOutcome = bytes | TooManyContributors | AppendRefused | RegisterFailed


class _Request(Slot[Any]):
    """One message and the place for its answer."""

    __slots__ = ("message",)

    def __init__(self, message: "Statement | UserStatement | _Newcomers | _Registration") -> None:
        super().__init__()
        self.message = message


class ConsentRegister:
    """`run` and `follow` must run in a nursery; `load` first."""

    def __init__(
        self,
        storage: Storage,
        settings: ConsentSettings,
        *,
        clock: Callable[[], float],
        random_bytes: Callable[[int], bytes],
    ) -> None:
        self.settings = settings
        """May be replaced at any time."""
        self.restrictions = Restrictions()
        self.withdrawn = trio.Event()
        """Set when somebody has withdrawn: their open sessions are to be closed. Whoever does it puts a new one."""
        self._storage = storage
        self._clock = clock
        self._random_bytes = random_bytes
        self._head = BEFORE_FIRST
        self._last_n = 0
        self._send, self._receive = trio.open_memory_channel[_Request](settings.waiting_max)

    def __repr__(self) -> str:
        return f"<ConsentRegister {self.restrictions!r}>"

    async def load(self) -> None:
        """Read what the databases hold, which is all: recovery is over."""
        consents = self._storage.consents
        self._head = await consents.head_sha256()
        after = ""
        while withdrawn := await consents.withdrawn(after):
            self.restrictions.withdrawn.update(map(subject_key, withdrawn))
            after = withdrawn[-1]
        after = ""
        while keys := await consents.keys(after):
            self.restrictions.keys |= {subject_key(subject): base64.b64decode(key) for subject, key in keys}
            after = keys[-1][0]
        if self.restrictions.withdrawn:
            self.withdrawn.set()  # a crash may have come before their sessions were closed

    async def run(self) -> None:
        """Take one request at a time, until cancelled."""
        async for request in self._receive:
            try:
                request.fill(await self._done(request.message))
            except DatabaseUnavailable as unavailable:
                log.warning("%s; what contributors say can be recorded later", unavailable)
                request.fill(AppendRefused.PROJECTION_BEHIND)
            except StorageDamage as damage:
                log.error("nothing was recorded: %s", damage)  # noqa: TRY400 it says it all
                request.fill(RegisterFailed())

    async def _done(
        self, message: Statement | UserStatement | _Registration | _Newcomers
    ) -> SayOutcome | RegisterOutcome | bool:
        match message:
            case Statement() | UserStatement():
                return await self._record(message)
            case _Registration():
                return await self._register(message)
            case _Newcomers():
                return await self._record_newcomers()
            case unreachable:
                assert_never(unreachable)

    async def follow(self) -> None:
        """Have first envelopes recorded when chunks have been projected, until cancelled."""
        while True:
            await self._storage.projector.wait_contributors()
            await self.record_newcomers()

    # What is asked

    async def record_newcomers(self) -> None:
        """Record the first envelopes of contributors of whom there is no event, as far as they are projected.

        Some at a time, so that others get their turn: of an older data directory that may be everybody.
        """
        has_more = self.settings.mode is ConsentMode.CLIENT
        while has_more:
            request = _Request(_Newcomers())
            await self._send.send(request)
            has_more = await request.wait() is True

    async def say(self, statement: Statement | UserStatement) -> SayOutcome:
        """Record what a contributor or a user says, unless their last event says it already."""
        return cast("SayOutcome", await self._ask(statement))

    async def key_of(self, contributor_id: str, public_key: bytes) -> RegisterOutcome:
        """The key that a contributor has registered; this one from now on, if there was none (first come)."""
        subject = subject_of(contributor_id)
        registered = self.restrictions.keys.get(subject_key(subject))
        if registered is not None:
            return registered
        return cast("RegisterOutcome", await self._ask(_Registration(subject, public_key)))

    def not_signed(self, contributor_id: str, proof: RequestProof | None) -> NotSigned | None:
        """What a request in a contributor's name lacks: nothing where they have no key."""
        key = self.restrictions.keys.get(subject_key(subject_of(contributor_id)))
        if key is None:
            return None
        if proof is None:
            return NotSigned("This contributor has registered a key, and the request must be signed with it.")
        if abs(self._clock() - proof.time_s) > REQUEST_AGE_S_MAX:
            return NotSigned(f"The signed time is more than {REQUEST_AGE_S_MAX} s from the server's.")
        if not is_signed(key, proof.text, proof.signature):
            return NotSigned("The signature is not that of this request by the contributor's registered key.")
        return None

    async def events(self, contributor_id: str) -> list[ConsentEvent]:
        """The last `history_events_max` events of a contributor, in order."""
        await self._settled()
        return await self._events(subject_of(contributor_id), self.settings.history_events_max)

    async def states(self, subjects: Iterable[str]) -> dict[str, ConsentState]:
        """What follows from the last event of each of these, which are digests."""
        await self._settled()
        current = self.settings.current_version
        standings = {subject: await self._storage.consents.standing(subject) for subject in subjects}
        return {subject: state_after(said.decision, said.version, current) for subject, said in standings.items()}

    async def _ask(self, message: Statement | UserStatement | _Registration) -> object:
        request = _Request(message)
        try:
            self._send.send_nowait(request)
        except trio.WouldBlock:
            await trio.lowlevel.checkpoint()
            return AppendRefused.QUEUE_FULL
        return await request.wait()

    # What the task does

    async def _settled(self) -> None:
        """Wait until the databases hold what this has written."""
        await self._storage.projector.wait_projected(JournalName.CONSENT, self._last_n)

    async def _events(self, subject: str, limit: int) -> list[ConsentEvent]:
        places = await self._storage.consents.events(subject, limit)
        records = [parse_consent_line(line) for line in await self._storage.consent.read(places)]
        return [record.event for record in records if isinstance(record, ConsentRecord)]

    async def _record(self, said: Statement | UserStatement) -> SayOutcome:
        # Of a user the application's token answers for them, and no key.
        by_contributor = said if isinstance(said, Statement) and said.source not in BY_THE_OPERATOR else None
        refused = (
            None if by_contributor is None else self.not_signed(by_contributor.contributor_id, by_contributor.proof)
        )
        if refused is not None:
            return refused
        subject, restrictions = said.subject, self.restrictions
        key = subject_key(subject)
        await self._settled()
        last = next(iter(await self._events(subject, 1)), None)
        last_sha256 = BEFORE_FIRST if last is None else event_sha256(last)
        if by_contributor is not None and key in restrictions.keys and by_contributor.after != last_sha256:
            return NotLatest(last_sha256)
        if last is not None and _adds_nothing(said, last):
            return Said(last, is_new=False)
        is_withdrawn = said.decision is Decision.WITHDRAWN
        is_full = len(restrictions.withdrawn) >= self.settings.withdrawn_max
        if is_withdrawn and is_full and key not in restrictions.withdrawn:
            return TooManyContributors()
        event = self._event(subject, said.decision, said.version, said.source, self._head, _elsewhere(said))
        line = _event_line(event)
        # A withdrawal passes the quota, as what ends something does.
        position = await self._storage.consent.append(line.record, line.members, essential=is_withdrawn)
        if isinstance(position, AppendRefused):
            return position
        self._head, self._last_n = event_sha256(event), position.n
        if is_withdrawn:
            restrictions.withdrawn.add(key)
            self.withdrawn.set()
        else:
            restrictions.withdrawn.discard(key)
        return Said(event, is_new=True)

    async def _register(self, registration: _Registration) -> RegisterOutcome:
        key = subject_key(registration.subject)
        registered = self.restrictions.keys.get(key)
        if registered is not None:
            return registered
        if len(self.restrictions.keys) >= self.settings.keys_max:
            return TooManyContributors()
        record = ContributorKeyRecord(
            subject=registration.subject,
            public_key=base64.b64encode(registration.public_key).decode(),
            at_us=self._now_us(),
        )
        position = await self._storage.consent.append(record, _key_members(record))
        if isinstance(position, AppendRefused):
            return position
        self._last_n = position.n
        self.restrictions.keys[key] = registration.public_key
        return registration.public_key

    async def _record_newcomers(self) -> bool:
        """Record first envelopes of some of whom there is a chunk and no event; say whether there may be more.

        What has no room now waits until more chunks come, or for the next start.
        """
        await self._settled()
        subjects = await self._storage.consents.without_event(self._firsts_at_once)
        head, lines = self._head, []
        for subject in subjects:
            event = self._event(subject, Decision.GIVEN, FIRST_VERSION, ConsentSource.CLIENT, head)
            head = event_sha256(event)
            lines.append(_event_line(event))
        if not lines:
            return False
        positions = await self._storage.consent.append_many(lines)
        if isinstance(positions, AppendRefused):
            log.warning("first envelopes could not be recorded as consent yet: %s", positions)
            return False
        self._head, self._last_n = head, positions[-1].n
        return True

    @property
    def _firsts_at_once(self) -> int:
        """How many go into one commit: all of them or none."""
        fits = self._storage.consent.fits_one_commit(FIRSTS_AT_ONCE, FIRSTS_AT_ONCE * EVENT_BYTES_MAX)
        return FIRSTS_AT_ONCE if fits else 1

    def _event(
        self,
        subject: str,
        decision: Decision,
        version: str,
        source: ConsentSource,
        previous_sha256: str,
        elsewhere: SaidElsewhere | None = None,
    ) -> ConsentEvent:
        settings = self.settings
        said = elsewhere or SaidElsewhere(at_us=self._now_us())
        event = ConsentEvent(
            id=event_id(self._random_bytes),
            subject=subject,
            at_us=said.at_us,
            state=decision,
            version=version,
            purposes=settings.purposes,
            notice_version=said.notice_version or settings.notice_version,
            notice_sha256=said.notice_sha256 or settings.notice_sha256,
            source=source,
            previous_sha256=previous_sha256,
        )
        return checked_event(event, is_digest=True)

    def _now_us(self) -> int:
        return round(times.to_microseconds_precision(self._clock()) * 1_000_000)


def _elsewhere(said: Statement | UserStatement) -> SaidElsewhere | None:
    return said.elsewhere if isinstance(said, Statement) else None


def _adds_nothing(said: Statement | UserStatement, last: ConsentEvent) -> bool:
    """Whether the last event says the same, or came after what is brought from elsewhere."""
    elsewhere = _elsewhere(said)
    if elsewhere is not None and elsewhere.at_us <= last.at_us:
        return True
    return (last.state, last.version) == (said.decision, said.version)


def _event_line(event: ConsentEvent) -> Line:
    """The line of an event: its members as they are."""
    return Line(ConsentRecord(event=event, sha256=event_sha256(event)), msgspec.json.encode(event)[1:-1])


def _key_members(record: ContributorKeyRecord) -> bytes:
    return msgspec.json.encode({"contributor_key": record})[1:-1]
