"""Curation: follows the trajectories journal, and makes of each trajectory one record of the corpus, or none.

Texts of the intake are taken in turn with them (`actors.curation.texts`).

One at a time, in the order of their lines. What is made of a trajectory and the position behind it are committed
together (`persistence.corpus`), so each is taken once, whatever ends the process in between. Followed again from the
beginning (`begin_anew`), a trajectory whose record is up to date is passed by; so going over everything anew can be
interrupted anywhere, and goes on where it was.

What was said of a session after its trajectory was written belongs to its record. What comes when there is a record
already has that record made anew, by a line that takes the earlier one's place. So does what a contributor says of
their consent: once it is withdrawn, their records are taken back, and once it is given again, made anew. Of whom is to
be erased nothing is made, and nothing noted: what there is goes with the erasure (`actors.erasure`).
"""

import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from enum import StrEnum
from functools import partial
from itertools import starmap
from typing import Final

import msgspec
import trio

from actors.curation.consent import Agreement, Consented
from actors.curation.duplicates import KnownSignature, cluster_of
from actors.curation.enrichment.settings import EnrichmentSettings
from actors.curation.fields import FIELDS_VERSION, FieldTags
from actors.curation.past_damage import follow_past_damage
from actors.curation.records import RULES, Head, Record, finish_record, read_head, scrub_trajectory, taken_back
from actors.curation.settings import CurationSettings
from actors.curation.stitched import StitchedTrajectory
from actors.curation.texts import TextCuration
from persistence.closed_sessions import ClosedSessions
from persistence.corpus import Corpus
from persistence.databases.corpus_records import PassedOver
from persistence.format.records import JournalName, Mark
from persistence.journals.reading import StoredLine

log = logging.getLogger("central_command.curation")

CHANGES_MAX: Final = 1_000
"""Late feedback, events of consent, or sessions of one contributor that are looked at together. Guards memory."""


class PassedOverReason(StrEnum):
    """Why a trajectory has no record."""

    NO_CONSENT = "no_consent"
    SCRUBBING_FAILED = "scrubbing_failed"
    TOO_LARGE = "too_large"
    ENDED_THE_PROCESS = "ended_the_process"
    """Making it has ended the process again and again."""
    EXPIRED = "expired"
    """Its time in the corpus is over, or that of its text."""


class CurationStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """How far curation has come, and what it did since it began.

    `followed_n` is the number of the last trajectory that it is done with, `reached_n` that of the last one that there
    is; `texts_followed_n` and `texts_reached_n` say the same of the intake. `waiting_since` is when the first
    line between those was written, in seconds since the epoch; None without one.
    """

    followed_n: int
    reached_n: int
    waiting_since: float | None
    records: int
    passed_over: dict[str, int]
    is_out_of_room: bool
    texts_followed_n: int = 0
    texts_reached_n: int = 0
    text_records: int = 0
    texts_passed_over: dict[str, int] = {}


class Curation:
    """Makes the corpus; `catch_up` once, or `run` until cancelled. One task."""

    def __init__(
        self,
        sessions: ClosedSessions,
        corpus: Corpus,
        *,
        consented: Consented,
        consented_users: Consented,
        settings: CurationSettings,
        enrichment: EnrichmentSettings,
        tagged: Callable[[StitchedTrajectory], FieldTags | None] | None = None,
        report: Callable[[CurationStatistics], None] | None = None,
        kept_since: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._sessions = sessions
        self._corpus = corpus
        self._consented = consented
        self._settings = settings
        self._enrichment = enrichment
        self._tagged = tagged
        self._rules = RULES if tagged is None else f"{RULES} fields-{FIELDS_VERSION}"
        self._report = report
        self._kept_since = kept_since
        self._reached = Mark()
        self._waiting_since: float | None = None
        self._records = 0
        self._passed_over: Counter[str] = Counter()
        self._is_out_of_room = False
        self._texts = TextCuration(
            sessions.texts,
            corpus,
            consented=consented_users,
            is_to_be_erased=sessions.is_user_to_be_erased,
            settings=settings,
            kept_since=kept_since,
            waits=self._say_waiting_since,
            until_written=self._until_written,
        )

    def __repr__(self) -> str:
        return f"<Curation followed={self._corpus.followed.n} of {self._reached.n}>"

    def statistics(self) -> CurationStatistics:
        """Return the current figures."""
        return CurationStatistics(
            followed_n=self._corpus.followed.n,
            reached_n=self._reached.n,
            waiting_since=self._waiting_since,
            records=self._records,
            passed_over=dict(self._passed_over),
            is_out_of_room=self._is_out_of_room,
            texts_followed_n=self._corpus.followed_texts.n,
            texts_reached_n=self._texts.reached.n,
            text_records=self._texts.records,
            texts_passed_over=dict(self._texts.passed_over),
        )

    async def run(self) -> None:
        """Follow until cancelled: every `poll_interval_s`, and late feedback every `feedback_interval_s`."""
        feedback_at = trio.current_time()
        while True:
            await self._follow()
            await self._take_consent()
            if trio.current_time() >= feedback_at:
                await self._take_late_feedback()
                feedback_at = trio.current_time() + self._settings.feedback_interval_s
            await trio.sleep(self._settings.poll_interval_s)

    async def catch_up(self) -> None:
        """Take everything that there is."""
        await self._follow()
        await self._take_consent()
        await self._take_late_feedback()

    async def begin_anew(self) -> None:
        """Go over everything again, from now on: what other rules made a record of gets another one."""
        await self._corpus.move(Mark())
        await self._texts.begin_anew()

    async def _follow(self) -> None:
        """Take what is acknowledged and not taken yet; a damaged place is said and passed by."""
        await self._look_again()
        self._reached = await self._sessions.reached(JournalName.TRAJECTORIES)
        await follow_past_damage(lambda: self._corpus.followed, self._reached, self._follow_from, self._corpus.move)
        await self._texts.follow()
        self._waiting_since = None
        self._say()

    async def _look_again(self) -> None:
        """Look again at what sessions.db does not hold any more, once it does.

        A crash of the machine may take its last transactions away, and a backup is older. Until they are there again,
        consent is what it was before them; so what is made meanwhile must be looked at once more.
        """
        for journal, n in self._corpus.looked_at.items():
            reached = await self._sessions.reached(journal)
            if reached.n < n:
                await self._corpus.look_past(journal, reached.n)

    def _say_waiting_since(self, at: float) -> None:
        self._waiting_since = at
        self._say()

    def _say(self) -> None:
        if self._report is not None:
            self._report(self.statistics())

    async def _follow_from(self, start: Mark) -> None:
        async for lines in self._sessions.scan(start):
            for line in lines:
                if line.position.n > self._reached.n:
                    return
                self._say_waiting_since(line.position.at)
                await self._take(line)
                await trio.lowlevel.checkpoint()

    async def _take(self, line: StoredLine) -> None:
        head = read_head(line.text)
        if head is None:
            await self._corpus.move(line.position.end)
        else:
            await self._take_trajectory(line.text, head, line.position.at, line.position.end)

    async def _take_late_feedback(self) -> None:
        """Make the records anew of which more was said since."""
        await self._heed(JournalName.ENVELOPES, self._sessions.late_feedback, self.reconsider)

    async def _take_consent(self) -> None:
        """Take out of the corpus, or into it, what belongs to those who said something since."""
        await self._heed(JournalName.CONSENT, self._sessions.consents.changes, self._reconsider_all)

    async def _heed(
        self,
        journal: JournalName,
        changes: Callable[[int, int, int], Awaitable[list[tuple[int, str]]]],
        reconsider: Callable[[str], Awaitable[None]],
    ) -> None:
        """Reconsider what the lines of a journal are about that were not looked at yet, a page of them at a time.

        `changes` gives lines with what they are about, behind one number and up to another, at most so many.
        """
        up_to = (await self._sessions.reached(journal)).n
        after = self._corpus.looked_at[journal]
        while page := await changes(after, up_to, CHANGES_MAX):
            for about in dict.fromkeys(about for _, about in page):
                await reconsider(about)
            after = page[-1][0]
            await self._corpus.look_past(journal, after)
        if up_to > after:
            await self._corpus.look_past(journal, up_to)

    async def _reconsider_all(self, subject: str) -> None:
        last = ""
        while page := await self._sessions.consents.sessions(subject, last, CHANGES_MAX):
            for session_id in page:
                await self.reconsider(session_id)
            last = page[-1]
        await self._texts.reconsider(subject)

    async def reconsider(self, session_id: str) -> None:
        """Make the record of a session anew if it is not what it would be now; not before its trajectory is reached."""
        found = await self._sessions.trajectory(session_id)
        if found is None or not await self._corpus.is_followed(found.trajectory_id):
            return
        text = await self._sessions.line_of(found)
        head = read_head(text)
        if head is not None:
            await self._take_trajectory(text, head, found.position.at, None)

    async def _take_trajectory(self, text: bytes, head: Head, at: float, followed: Mark | None) -> None:
        if self._sessions.is_to_be_erased(head.contributor_id, head.session_id):
            await self._move(followed)
            return
        consent = await self._consented(head.contributor_id)
        if not consent.given or at < self._kept_since():
            reason = PassedOverReason.EXPIRED if consent.given else PassedOverReason.NO_CONSENT
            await self._pass_over(head, reason, followed)
            return
        if head.is_expired:
            await self._leave_expired(head, followed)
            return
        late = (await self._sessions.feedback(head.session_id))[len(head.feedback) :]
        known = await self._corpus.record_of(head.trajectory_id)
        if known is not None and (known.record.rules, known.record.feedback) == (
            self._rules,
            len(head.feedback) + len(late),
        ):
            await self._move(followed)
            return
        if len(text) > self._settings.trajectory_bytes_max:
            await self._pass_over(head, PassedOverReason.TOO_LARGE, followed)
            return
        if len(text) >= self._settings.guarded_bytes_min:
            begun = await self._corpus.attempt(head.trajectory_id)
            if begun >= self._settings.attempts_max:
                await self._pass_over(head, PassedOverReason.ENDED_THE_PROCESS, followed)
                return
        made = await self._made(text, head, late, consent)
        if made is None:
            await self._pass_over(head, PassedOverReason.SCRUBBING_FAILED, followed)
            return
        await self._put(made, followed)
        self._records += 1

    async def _leave_expired(self, head: Head, followed: Mark | None) -> None:
        """Leave a record that there is as it is, because it cannot be made anew; without one there will be none."""
        if await self._corpus.record_of(head.trajectory_id) is None:
            await self._pass_over(head, PassedOverReason.EXPIRED, followed)
        else:
            await self._move(followed)

    async def _move(self, followed: Mark | None) -> None:
        if followed is not None:
            await self._corpus.move(followed)

    async def _made(self, text: bytes, head: Head, late: list[bytes], consent: Agreement) -> Record | None:
        """The record of a trajectory; None where none can be made: nothing that is not scrubbed may be written."""
        try:
            scrubbed = scrub_trajectory(
                text, head, late_feedback=late, consent=consent, settings=self._settings, rules=self._rules
            )
        except Exception as error:  # noqa: BLE001 - whatever fails
            _say_failed(head, error)
            return None
        sharing = await self._corpus.sharing(scrubbed.bands, head.trajectory_id)
        try:
            membership = cluster_of(
                scrubbed.signature, starmap(KnownSignature, sharing), self._enrichment.duplicate_similarity_min
            )
            tags = None if self._tagged is None else self._tagged(scrubbed.trajectory)
            return finish_record(scrubbed, membership, tags, self._enrichment)
        except Exception as error:  # noqa: BLE001 - whatever fails
            _say_failed(head, error)
            return None

    async def _pass_over(self, head: Head, reason: PassedOverReason, followed: Mark | None) -> None:
        """Note why there is no record; one that there was is taken back by a line, which is the fact."""
        self._passed_over[reason] += 1
        if await self._corpus.record_of(head.trajectory_id) is not None:
            await self._put(taken_back(head, reason, self._rules), followed)
            return
        passed = PassedOver(head.trajectory_id, head.session_id, head.contributor_id, reason, self._rules)
        await self._corpus.pass_over(passed, followed=followed)

    async def _put(self, made: Record, followed: Mark | None) -> None:
        """Write a line, however long it takes until there is room for it."""
        await self._until_written(partial(self._corpus.put, made.record, made.members, followed=followed))

    async def _until_written(self, write: Callable[[], Awaitable[bool]]) -> None:
        while not await write():
            if not self._is_out_of_room:
                log.warning("no room is left on the disk for the corpus; curation waits for some")
            self._is_out_of_room = True
            self._say()
            await trio.sleep(self._settings.room_retry_s)
        self._is_out_of_room = False


def _say_failed(head: Head, error: Exception) -> None:
    """Never with the error's own text: it may hold what somebody wrote."""
    log.error("no record can be made of trajectory %s (%s)", head.trajectory_id, type(error).__name__)
