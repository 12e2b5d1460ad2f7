"""What is erased because its time is over, without anybody asking: looked for once a day.

What was held for want of consent goes as who asks for it does, by a durable request (`job`), so the credit stays as an
amount of nobody. More of that contributor may come, and is held again.

What is past the days of its tier loses what it held and keeps its names, line by line, a whole day's file at a time
(`persistence.journals.erasing`): every row of the databases stays what it was, so nothing has to be remembered but up
to where it was done. Of refused envelopes whole files go, because their rows say all that counts; of the corpus, whose
lines nothing counts, lines and rows: by when a trajectory was written, and a text was handed over.

A sweep that is interrupted leaves whole files, old or new, and the next one finds what is left.
"""

import logging
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Final

import msgspec
import trio

from actors.consent.settings import ConsentMode, ConsentSettings
from actors.erasure.job import Eraser, TooManyErasures
from actors.sessions.environment import Environment
from persistence.files.whole_file import read_file, replace_file
from persistence.format import json_text, times
from persistence.format.erased_names import new_request
from persistence.format.records import OF_SESSIONS, EnvelopeKind, JournalName, Mark, Position
from persistence.format.submitted_texts import RecordKind
from persistence.journals.erased_lines import is_erased
from persistence.journals.erasing import erasing, expiring
from persistence.journals.erasure_register import ErasureState, ErasureSubject
from persistence.journals.reading import StoredLine
from persistence.settings.retention import RetentionSettings

log = logging.getLogger("central_command.storage")

DAY_S: Final = 86_400.0


class _Tier(msgspec.Struct, frozen=True):
    """Lines of a journal that are kept for so many days; of envelopes, those of these kinds."""

    name: str
    journal: JournalName
    days: int
    kinds: frozenset[str | None] = frozenset()


class _Done(msgspec.Struct):
    """Up to where everything that could go is gone: the end of a line by tier, for the corpus a time by kind."""

    lines: dict[str, Mark] = {}
    corpus_before: dict[RecordKind, str] = {}


class _OfSession(msgspec.Struct, frozen=True):
    session_id: str


class _Record(_OfSession, frozen=True):
    """A line of the corpus; a text's record has its id, and names a session of its application's."""

    record_id: str
    kind: RecordKind = RecordKind.TRAJECTORY

    @property
    def made_of(self) -> str:
        """What it goes with: a text, by its id, or a session."""
        return self.record_id if self.kind is RecordKind.TEXT else self.session_id


class _Envelope(_OfSession, frozen=True):
    type: str | None = None


_OF_SESSION: Final = msgspec.json.Decoder(_OfSession)
_RECORD: Final = msgspec.json.Decoder(_Record)
_ENVELOPE: Final = msgspec.json.Decoder(_Envelope)
_DONE: Final = msgspec.json.Decoder(_Done)

CONTENT: Final = frozenset({None, EnvelopeKind.CHUNK.value, EnvelopeKind.SESSION_CLOSE.value})
FEEDBACK: Final = frozenset({EnvelopeKind.USER_FEEDBACK.value})
"""Feedback may come after the trajectory was written, and is read with it: it stays as long."""


class Expiry:
    """Looks when it is told to: the server has a job for it, once a day."""

    def __init__(
        self, environment: Environment, eraser: Eraser, consent: ConsentSettings, retention: RetentionSettings
    ) -> None:
        self._environment = environment
        self._storage = environment.storage
        self._eraser = eraser
        self._consent = consent
        self._retention = retention
        self._turn = trio.Lock()

    def __repr__(self) -> str:
        return f"<Expiry hold_days={self._consent.hold_days} {self._retention}>"

    async def sweep(self) -> Counter[str]:
        """Erase what is past its time; return how much: sessions that were held, and lines by tier."""
        gone: Counter[str] = Counter()
        async with self._turn:
            if self._consent.mode is ConsentMode.REQUIRED and self._consent.hold_days:
                gone["held sessions"] = await self._erase_held()
            if self._retention.refused_days:
                gone["refused"] = await self._storage.refused_quota.drop_before(self._day(self._retention.refused_days))
            if self._retention.takes_lines:
                gone += await self._expire()
        return +gone

    def _day(self, days: int) -> str:
        """The first day that is kept."""
        return times.day_of(self._environment.clock() - days * DAY_S)

    # What was held

    async def _erase_held(self) -> int:
        now, erased = self._environment.clock(), 0
        sessions_max = self._storage.erasure.settings.erasure_sessions_at_once_max
        while session_ids := await self._storage.consents.held(now - self._consent.hold_days * DAY_S, sessions_max):
            name = f"held until {times.to_text(now)}, {session_ids[0]}"
            asked = await self._eraser.ask(ErasureSubject.HELD, name, session_ids)
            if isinstance(asked, TooManyErasures):
                log.warning("what was held without consent is not erased: set storage.erasures_max higher")
                break
            await self._eraser.erase_pending()
            report = self._eraser.report(asked.request)
            if report is None or report.erasure.state is not ErasureState.DONE:
                break
            erased += len(session_ids)
        return erased

    # Tiers

    async def _expire(self) -> Counter[str]:
        retention, gone = self._retention, Counter[str]()
        done = await self._environment.offload(self._load)
        for tier in (
            _Tier("envelopes", JournalName.ENVELOPES, retention.envelopes_days, CONTENT),
            _Tier("feedback", JournalName.ENVELOPES, retention.trajectories_days, FEEDBACK),
            _Tier("trajectories", JournalName.TRAJECTORIES, retention.trajectories_days),
            _Tier("intake", JournalName.INTAKE, retention.intake_days),
        ):
            if tier.days:
                gone[tier.name], done.lines[tier.name] = await self._expire_lines(
                    tier, done.lines.get(tier.name, Mark())
                )
                await self._environment.offload(self._save, done)
        if retention.corpus_days and self._storage.erasure.corpus.exists:
            before = times.to_text(self._environment.clock() - retention.corpus_days * DAY_S)
            for kind in RecordKind:
                while (after := done.corpus_before.get(kind, "")) < before:
                    erased = await self._expire_corpus(kind, after, before)
                    if erased is None:
                        break
                    gone["corpus"] += erased[0]
                    done.corpus_before[kind] = erased[1]
                    await self._environment.offload(self._save, done)
        return gone

    async def _expire_lines(self, tier: _Tier, start: Mark) -> tuple[int, Mark]:
        """Take from lines what they hold, from a mark on; return of how many, and up to where none is left to do.

        Of a session that has not ended, or is not stitched yet, every line is needed.
        """
        kept_from, reached, is_waiting, erased = self._day(tier.days), start, False, 0
        places: list[Position] = []
        async for lines in self._storage.journals[tier.journal].scan(start):
            old = [line for line in lines if line.position.day < kept_from]
            holding = await self._environment.offload(_holding, tier, old)
            unfinished = set[str]()
            if tier.journal in OF_SESSIONS:  # what a text says of its session is the application's own
                unfinished = await self._storage.erasure.rows.unfinished({session_id for session_id, _ in holding})
            places += [place for session_id, place in holding if session_id not in unfinished]
            is_waiting = is_waiting or bool(unfinished)
            if old and not is_waiting:
                reached = old[-1].position.end
            if len(places) >= self._retention.lines_at_once_max:
                if not await self._erase(tier, places):
                    return erased, start
                erased, places = erased + len(places), []
            if len(old) < len(lines):
                break
        if not await self._erase(tier, places):
            return erased, start
        return erased + len(places), reached

    async def _erase(self, tier: _Tier, places: Sequence[Position]) -> bool:
        rewrite = expiring(tier.journal, self._environment.clock())
        is_done = await self._storage.journals[tier.journal].erase(places, rewrite)
        if not is_done:
            log.warning("%s that are past their time stay: a file of them cannot be written anew now", tier.name)
        return is_done

    async def _expire_corpus(self, kind: RecordKind, after: str, before: str) -> tuple[int, str] | None:
        """Take out of the corpus what was made of trajectories, or of texts, of a time, as many as may be at once.

        Return how many lines, and up to which time; None without room.
        """
        rows = self._storage.erasure.rows
        select = rows.handed_over if kind is RecordKind.TEXT else rows.stitched
        at_once = self._retention.records_at_once_max
        found = await select(after, before, at_once)
        while len(found) == at_once and found[0][1] == found[-1][1]:  # of one commit, so all of it is taken
            at_once *= 2
            found = await select(after, before, at_once)
        reached = before if len(found) < at_once else found[-1][1]
        if not found:
            return 0, reached
        ids = frozenset(each for each, _ in found)
        places: list[Position] = []
        async with self._eraser.stopped_corpus() as stopped:
            async for lines in stopped.scan(Mark()):
                places += await self._environment.offload(_made_of, kind, ids, lines)
            await (stopped.forget_texts(ids) if kind is RecordKind.TEXT else stopped.delete_rows(ids, (), ()))
            rewrite = erasing(JournalName.CORPUS, new_request(), self._environment.clock())
            if not await stopped.erase(places, rewrite):
                log.warning("no room: lines of records that are past their time stay, in no row of the corpus")
                return None
            await stopped.compact()
        return len(places), reached

    # Up to where

    @property
    def _path(self) -> Path:
        return self._storage.layout.retention

    def _load(self) -> _Done:
        text = read_file(self._storage.erasure.files, self._path)
        try:
            return _Done() if text is None else _DONE.decode(text)
        except msgspec.DecodeError:
            return _Done()  # everything is looked at once more

    def _save(self, done: _Done) -> None:
        replace_file(self._storage.erasure.files, self._path, msgspec.json.encode(done))


def _holding(tier: _Tier, lines: Sequence[StoredLine]) -> list[tuple[str, Position]]:
    """The lines of a tier that hold something still: of which session, and where."""
    whole = [line for line in lines if not is_erased(line.text)]
    if tier.journal is not JournalName.ENVELOPES:
        return [(_session(line), line.position) for line in whole]
    read = [(json_text.decode(_ENVELOPE, line.text), line.position) for line in whole]
    return [(envelope.session_id, place) for envelope, place in read if (envelope.type or None) in tier.kinds]


def _made_of(kind: RecordKind, ids: Collection[str], lines: Sequence[StoredLine]) -> list[Position]:
    """The lines of the corpus that were made of the trajectories of these sessions, or of these texts."""
    read = [(json_text.decode(_RECORD, line.text), line.position) for line in lines if not is_erased(line.text)]
    return [place for of, place in read if of.kind is kind and of.made_of in ids]


def _session(line: StoredLine) -> str:
    return json_text.decode(_OF_SESSION, line.text).session_id
