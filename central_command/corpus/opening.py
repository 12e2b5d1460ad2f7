"""`open_corpus`: trajectories as objects, for programs that train."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from central_command.corpus.filters import Filters
from central_command.corpus.reading import UnreadableLine
from central_command.corpus.stored import StoredCorpus
from central_command.corpus.trajectory import Trajectory


class Corpus:
    """The trajectories of a corpus that pass some filters, in the order in which they came.

    It may be iterated again and again, and from several processes: each time it reads what there is then, a record at a
    time, and holds nothing open in between. A record that was erased, or whose line is damaged, is passed by.
    """

    def __init__(self, data_directory: Path, filters: Filters) -> None:
        self._data_directory = data_directory
        self._filters = filters

    def __repr__(self) -> str:
        return f"<Corpus {self._data_directory}>"

    def __iter__(self) -> Iterator[Trajectory]:
        stored = StoredCorpus(self._data_directory)
        behind_n = 0
        while True:
            # Not held open while the caller works: a page, and then on from its last line.
            with stored.snapshot() as snapshot:
                page = list(islice(snapshot.records(behind_n), PAGE_ROWS))
            if not page:
                return
            for row in page:
                contributor = stored.pseudonyms.of(row.record.contributor_id)
                if self._filters.against_row(row.record, contributor) is not None:
                    continue
                try:
                    trajectory = stored.read(row.position).trajectory
                except UnreadableLine:
                    continue
                if self._filters.against(trajectory) is None:
                    yield trajectory
            behind_n = page[-1].position.n

    def examples(self) -> Iterator[dict[str, Any]]:
        """Yield the trajectories as plain dicts: what `datasets.Dataset.from_generator` takes."""
        for trajectory in self:
            yield msgspec.to_builtins(trajectory)


PAGE_ROWS = 500
"""Rows that are held while their records are read; guards memory."""


def open_corpus(path: str | Path, **filters: Any) -> Corpus:
    """The corpus of a data directory, of which only what passes the filters (`Filters`) is shown.

    Lists may be given for tuples. Raises NoDataDirectory where there is no corpus, TypeError for a filter that there is
    none of, ValueError for an address: only folders of this machine can be read.
    """
    if "://" in str(path):
        raise ValueError(f"{path} is an address: name a data directory of this machine.")
    root = Path(path)
    try:
        chosen = msgspec.convert(filters, Filters, strict=True)
    except msgspec.ValidationError as error:
        raise TypeError(str(error)) from None
    unknown = filters.keys() - {field.name for field in msgspec.structs.fields(Filters)}
    if unknown:
        raise TypeError(f"there is no filter {min(unknown)!r}")
    StoredCorpus(root)
    return Corpus(root, chosen)
