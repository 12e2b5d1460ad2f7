"""A record of the corpus opened to be looked at: where its steps are, and the bytes between two places. Blocking."""

import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import msgspec

from central_command.corpus.pseudonyms import StoredPseudonyms
from central_command.corpus.reading import UnreadableLine, read_line
from central_command.corpus.titles import summaries_of
from central_command.corpus.trajectory import Trajectory
from central_command.viewing.settings import ViewerSettings
from central_command.viewing.steps import ViewedStep, read_step, texts_of
from persistence.databases.search_rows import IndexedSession
from persistence.databases.session_reading import SessionReader, session_reader
from persistence.databases.summaries import Summary
from persistence.files.file_system import OsFileSystem
from persistence.format.layout import DataLayout
from persistence.format.records import JournalName
from persistence.format.step_places import BLOCK_STEPS, StepBlock, StepPlace
from persistence.journals.erasure_register import ErasureRegister, register_path
from persistence.journals.reading import JournalDamage, JournalOutOfReach
from persistence.journals.stored import StoredJournal

BLOCKS_HELD: Final = 8
"""Blocks of one record that are held while it is looked at; guards memory."""

RELATED_MAX: Final = 50
"""Sessions that are named of each kind that one is joined with."""


class Missing(StrEnum):
    """Why there is nothing to be shown."""

    NOT_THERE = "not_there"
    """The corpus holds no such session, as far as its index has come; or somebody has asked for it to be erased."""
    UNREADABLE = "unreadable"
    """Its line is damaged, or cannot be taken apart."""
    TOO_LARGE = "too_large"
    """It is larger than may be held in memory at once."""


class MissingError(Exception):
    """There is nothing to be shown, for a reason."""

    def __init__(self, reason: Missing) -> None:
        super().__init__(reason)
        self.reason = reason


class Related(msgspec.Struct, frozen=True):
    """Sessions that one is joined with, by their ids."""

    continues: tuple[str, ...] = ()
    continued_by: tuple[str, ...] = ()
    parents: tuple[str, ...] = ()
    sub_agents: tuple[str, ...] = ()

    @property
    def ids(self) -> tuple[str, ...]:
        """All of them."""
        return (*self.continues, *self.continued_by, *self.parents, *self.sub_agents)


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """All that is known of a session but for its steps. `points` are the parts of its score, by their names."""

    session: IndexedSession
    trajectory: Trajectory
    points: dict[str, float]
    related: Related
    counts: dict[str, int]
    turns: int


class OpenRecord:
    """A record, as long as its index is open."""

    def __init__(self, session: IndexedSession, reader: SessionReader, journal: StoredJournal) -> None:
        self.session = session
        self._reader = reader
        self._journal = journal
        self._blocks: dict[int, list[StepPlace]] = {}

    def __repr__(self) -> str:
        return f"<OpenRecord {self.session.session_id}>"

    def read(self, start: int, end: int) -> bytes:
        """The bytes of its line between two offsets."""
        return self._journal.part_now(self.session.position, start, min(end, self.session.length))

    def summaries(self) -> list[StepBlock]:
        """Its blocks, without the places."""
        return self._reader.summaries(self.session.n)

    def places(self, first: int) -> list[StepPlace]:
        """The places of the block that a step is in; empty behind the last one."""
        number = (max(first, 1) - 1) // BLOCK_STEPS
        if number not in self._blocks:
            if len(self._blocks) > BLOCKS_HELD:
                self._blocks.clear()
            found = self._reader.blocks(self.session.n, first)
            self._blocks[number] = found[0].step_places() if found and found[0].first // BLOCK_STEPS == number else []
        return self._blocks[number]

    def place(self, number: int) -> StepPlace | None:
        """The place of one step."""
        return next((each for each in self.places(number) if each.place == number), None)

    def step(self, place: StepPlace, bytes_max: int) -> ViewedStep:
        """A step as it is shown."""
        return read_step(place, self.read, bytes_max)

    def texts(self, place: StepPlace) -> Iterator[str]:
        """All that a step says."""
        return texts_of(place, self.read)

    def related(self, shown: Callable[[Collection[IndexedSession]], list[IndexedSession]]) -> Related:
        """What it is joined with, of the sessions that are `shown`."""
        reader, session = self._reader, self.session
        return Related(
            continues=_ids(shown(reader.continues(session))),
            continued_by=_ids(shown(reader.continued_by(session, RELATED_MAX))),
            parents=_ids(shown(reader.parents(session, RELATED_MAX))),
            sub_agents=_ids(shown(reader.sub_agents(session, RELATED_MAX))),
        )


class Records:
    """The records of a data directory. Makes the key of pseudonyms if there is none yet."""

    def __init__(self, data_directory: Path, settings: ViewerSettings) -> None:
        self._layout = DataLayout(data_directory)
        self.settings = settings
        self._journal = StoredJournal.of(self._layout, JournalName.CORPUS)
        self._erasures = ErasureRegister(register_path(self._layout), OsFileSystem(), time.time)
        self._lock = threading.Lock()
        self.pseudonym = StoredPseudonyms(self._layout.keys).of
        """What stands for a contributor."""

    def __repr__(self) -> str:
        return f"<Records of {self._layout.root}>"

    @contextmanager
    def index(self) -> Iterator[SessionReader]:
        """The index as it is now; raises NoDataDirectory, SearchTimedOut, DatabaseFailure."""
        with session_reader(self._layout, self.settings.timeout_s) as reader:
            yield reader

    @contextmanager
    def opened(self, session_id: str) -> Iterator[OpenRecord]:
        """A record to be looked at; raises MissingError, and as `index`."""
        with self.index() as reader:
            session = reader.session(session_id)
            if session is None or not self.shown([session]):
                raise MissingError(Missing.NOT_THERE)
            if not session.log_end:
                raise MissingError(Missing.UNREADABLE)
            record = OpenRecord(session, reader, self._journal)
            # A line that was erased, or replaced by a restored file, is another one; what it begins with tells.
            expected = b'{"kind":"trajectory","record_id":"%s"' % session.record_id.encode()
            older = b'{"record_id":"%s"' % session.record_id.encode()
            if not record.read(0, len(expected)).startswith((expected, older)):
                raise MissingError(Missing.NOT_THERE)
            yield record

    def shown(self, sessions: Collection[IndexedSession]) -> list[IndexedSession]:
        """Those that nobody has asked to be erased."""
        with self._lock:
            self._erasures.read_on()
            return [each for each in sessions if not self._erasures.names(each.contributor_id, each.session_id)]

    def summaries(self, session_ids: Collection[str]) -> dict[str, Summary]:
        """Titles and summaries by the sessions that have them; none where corpus.db cannot be read, which is logged."""
        return summaries_of(self._layout, session_ids)

    def head(self, record: OpenRecord) -> Head:
        """All but the steps; raises MissingError."""
        session = record.session
        if session.length - (session.log_end - session.log_start) > self.settings.head_bytes_max:
            raise MissingError(Missing.TOO_LARGE)
        line = record.read(0, session.log_start) + b"[]" + record.read(session.log_end, session.length)
        summaries = record.summaries()
        counts = dict[str, int]()
        for block in summaries:
            for kind, count in block.type_counts().items():
                counts[kind] = counts.get(kind, 0) + count
        return Head(
            session=session,
            trajectory=self._trajectory(line),
            points=_points(line),
            related=record.related(self.shown),
            counts=counts,
            turns=sum(block.turns for block in summaries),
        )

    def trajectory(self, record: OpenRecord) -> Trajectory:
        """All of a record, for what cannot be made of less; raises MissingError, JournalOutOfReach."""
        if record.session.length > self.settings.download_bytes_max:
            raise MissingError(Missing.TOO_LARGE)
        try:
            return self._trajectory(self._journal.read_now(record.session.position))
        except JournalOutOfReach:
            raise
        except JournalDamage:
            raise MissingError(Missing.UNREADABLE) from None

    def _trajectory(self, line: bytes) -> Trajectory:
        try:
            return read_line(line, self.pseudonym).trajectory
        except UnreadableLine:
            raise MissingError(Missing.UNREADABLE) from None


class _Scored(msgspec.Struct, frozen=True):
    score: dict[str, Any] = {}


_SCORED: Final = msgspec.json.Decoder(_Scored)


def _points(line: bytes) -> dict[str, float]:
    try:
        score = _SCORED.decode(line).score
    except msgspec.DecodeError:
        return {}
    return {name: float(value) for name, value in score.items() if type(value) in {int, float}}


def _ids(sessions: Collection[IndexedSession]) -> tuple[str, ...]:
    return tuple(each.session_id for each in sessions)
