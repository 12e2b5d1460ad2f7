"""The corpus of a data directory, read beside the server: rows by its database, lines by their places. Blocking."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from central_command.corpus.pseudonyms import Pseudonyms
from central_command.corpus.reading import Read, UnreadableLine, read_line
from persistence.databases.corpus_snapshot import CorpusSnapshot, corpus_snapshot
from persistence.format.layout import DataLayout
from persistence.format.records import JournalName, Position
from persistence.journals.reading import JournalDamage
from persistence.journals.stored import StoredJournal
from persistence.keys.sealing import load_pseudonym_key


class StoredCorpus:
    """The corpus of a data directory. Makes the key of pseudonyms if there is none yet, and nothing else.

    Raises MasterKeyError where that key cannot be used.
    """

    def __init__(self, data_directory: Path) -> None:
        self._layout = DataLayout(data_directory)
        with self.snapshot():  # that there is a corpus is known before a key is made
            pass
        self._journal = StoredJournal.of(self._layout, JournalName.CORPUS)
        self.pseudonyms = Pseudonyms(load_pseudonym_key(self._layout.keys))

    def __repr__(self) -> str:
        return f"<StoredCorpus {self._layout.root}>"

    @contextmanager
    def snapshot(self) -> Iterator[CorpusSnapshot]:
        """The corpus.db as it is now. Raises NoDataDirectory, DatabaseFailure."""
        with corpus_snapshot(self._layout) as snapshot:
            yield snapshot

    def read(self, place: Position) -> Read:
        """Read a record by its place; raises UnreadableLine for one that is damaged, or was erased."""
        try:
            line = self._journal.read_now(place)
        except JournalDamage:
            raise UnreadableLine("damaged") from None
        return read_line(line, self.pseudonyms.of)
