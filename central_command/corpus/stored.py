"""The corpus of a data directory, read beside the server: rows by its database, lines by their places. Blocking."""

import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from central_command.corpus.filters import check_known
from central_command.corpus.pseudonyms import Pseudonyms
from central_command.corpus.reading import Read, ReadRecord, UnreadableLine, read_line, read_text_line
from central_command.corpus.trajectory import Judgement
from persistence.databases.corpus_records import StoredRecord
from persistence.databases.corpus_snapshot import CorpusSnapshot, corpus_snapshot
from persistence.databases.corpus_texts import StoredText
from persistence.databases.summaries import Summary
from persistence.files.failures import StorageFailure
from persistence.files.file_system import OsFileSystem
from persistence.format.layout import DataLayout
from persistence.format.records import JournalName, Position
from persistence.journals.erasure_register import ErasureRegister, register_path
from persistence.journals.reading import JournalDamage, JournalOutOfReach
from persistence.journals.stored import StoredJournal
from persistence.keys.sealing import load_pseudonym_key

Row = TypeVar("Row", StoredRecord, StoredText)


class Rows(msgspec.Struct, Generic[Row], frozen=True):
    """Some rows of a corpus in the order of their ids: those that are shown, and the last id that was looked at.

    That is None where there is nothing behind.
    """

    shown: list[Row]
    behind: str | None


class ShownRecords:
    """The records of a snapshot but for those that somebody has asked to be erased: they are handed out no more.

    An erasure takes its time, and in what was restored it waits until a server starts.
    """

    def __init__(self, snapshot: CorpusSnapshot, erasures: ErasureRegister) -> None:
        self._snapshot = snapshot
        self._erasures = erasures
        self.reached_n = snapshot.reached_n

    def records(self) -> Iterator[StoredRecord]:
        """Yield them in the order of their lines."""
        return filter(self._is_shown, self._snapshot.records())

    def texts(self) -> Iterator[StoredText]:
        """Yield the texts of the intake in the order of their lines."""
        return filter(self._is_shown_text, self._snapshot.texts())

    def records_behind(self, place: str, count: int) -> Rows[StoredRecord]:
        """Look at so many behind a place; "" begins with the first."""
        rows = self._snapshot.records_behind(place, count)
        last = rows[-1].record.trajectory_id if len(rows) == count else None
        return Rows([row for row in rows if self._is_shown(row)], last)

    def texts_behind(self, place: str, count: int) -> Rows[StoredText]:
        """Look at so many texts behind a place."""
        rows = self._snapshot.texts_behind(place, count)
        last = rows[-1].record.record_id if len(rows) == count else None
        return Rows([row for row in rows if self._is_shown_text(row)], last)

    def held(self, record_ids: Collection[str]) -> set[str]:
        """Of some records, of sessions or of texts, those that are in the corpus, and handed out."""
        of_sessions = self._snapshot.names(record_ids)
        of_texts = self._snapshot.users(set(record_ids).difference(record_id for record_id, _, _ in of_sessions))
        return {
            *(record_id for record_id, *named in of_sessions if not self._erasures.names(*named)),
            *(record_id for record_id, subject in of_texts if not self._erasures.names_user(subject)),
        }

    def of_session(self, session_id: str) -> StoredRecord | None:
        """The record of a session; None where it is not in the corpus, or not handed out."""
        found = self._snapshot.of_session(session_id)
        return found if found is not None and self._is_shown(found) else None

    def sessions_beginning(self, text: str, limit: int) -> list[str]:
        """The sessions that are handed out and whose ids begin with `text`, of the first `limit`."""
        found = self._snapshot.sessions_beginning(text, limit)
        return [session_id for session_id in found if self.of_session(session_id) is not None]

    def summaries(self, session_ids: Collection[str]) -> dict[str, Summary]:
        """Titles and summaries by the sessions that have them; who asks was handed these sessions."""
        return self._snapshot.summaries(session_ids)

    def reason(self, session_id: str, record_id: str) -> str | None:
        """Why a session, or a text by its record, is not in the corpus; None where nothing is known of it."""
        return self._snapshot.reason(session_id, record_id)

    def judgements(self) -> Iterator[tuple[str, Judgement]]:
        """What a judge said, by the ids of trajectories, also of such as are not shown."""
        for trajectory_id, judged in self._snapshot.judgements():
            yield trajectory_id, msgspec.convert(judged, Judgement, from_attributes=True)

    def providers(self) -> list[str]:
        """The agents that there are sessions of."""
        return self._snapshot.providers()

    def _is_shown(self, stored: StoredRecord) -> bool:
        return not self._erasures.names(stored.record.contributor_id, stored.record.session_id)

    def _is_shown_text(self, stored: StoredText) -> bool:
        return not self._erasures.names_user(stored.record.subject)


class StoredCorpus:
    """The corpus of a data directory. Makes the key of pseudonyms if there is none yet, and nothing else.

    Raises MasterKeyError where that key cannot be used.
    """

    def __init__(self, data_directory: Path) -> None:
        self._layout = DataLayout(data_directory)
        with self.snapshot():  # that there is a corpus is known before a key is made
            pass
        self._journal = StoredJournal.of(self._layout, JournalName.CORPUS)
        self._read_line: Callable[[Position], bytes] = self._journal.read_now
        self.pseudonyms = Pseudonyms(load_pseudonym_key(self._layout.keys))

    def __repr__(self) -> str:
        return f"<StoredCorpus {self._layout.root}>"

    @property
    def root(self) -> Path:
        """The data directory."""
        return self._layout.root

    @contextmanager
    def snapshot(self) -> Iterator["ShownRecords"]:
        """The corpus.db as it is now. Raises NoDataDirectory, DatabaseFailure."""
        erasures = ErasureRegister(register_path(self._layout), OsFileSystem(), time.time)
        with corpus_snapshot(self._layout) as snapshot:
            yield ShownRecords(snapshot, erasures)

    def check_providers(self, asked: Collection[str], taken: Collection[str]) -> None:
        """Raise ValueError for a provider that nothing is of, nor can be: `taken` are those that a server takes."""
        if asked:
            with self.snapshot() as snapshot:
                known = sorted({*taken, *snapshot.providers()})
            check_known("provider", asked, known)

    @contextmanager
    def kept_open(self) -> Iterator[None]:
        """As long as the block lasts, records are read without opening their file for each: for who reads many."""
        with self._journal.kept_open() as read:
            self._read_line = read
            try:
                yield
            finally:
                self._read_line = self._journal.read_now

    def read(self, place: Position) -> Read:
        """Read a session's record by its place; raises UnreadableLine for one that is damaged, or was erased.

        Raises StorageFailure where the disk fails, or an archive is out of reach: nothing is left out for that.
        """
        return read_line(self._line(place), self.pseudonyms.of)

    def check(self, place: Position) -> None:
        """Raise what reading a record by its place would raise, but for what its line says: nothing of it is kept."""
        self._line(place)

    def read_text(self, place: Position) -> ReadRecord:
        """Read a text's record by its place; raises UnreadableLine likewise."""
        return read_text_line(self._line(place), self.pseudonyms.of)

    def _line(self, place: Position) -> bytes:
        try:
            return self._read_line(place)
        except JournalOutOfReach as error:
            raise StorageFailure(str(error)) from None
        except JournalDamage:
            raise UnreadableLine("damaged") from None
