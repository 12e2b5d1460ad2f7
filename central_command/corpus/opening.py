"""`open_corpus`: trajectories, and records of the intake, as objects, for programs that train."""

import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec

from actors.envelopes.settings import SchemaSettings
from central_command.corpus.asked_members import read_members
from central_command.corpus.choosing import FIRST, Records, Shelf, Trajectories, look_through
from central_command.corpus.filters import FOR_RECORDS, Filters, check_values
from central_command.corpus.stored import StoredCorpus
from central_command.corpus.trajectory import Record, Trajectory
from persistence.files.failures import NoDataDirectory

HOST_AND_PORT: Final = re.compile(r"\A[\w.\[\]:-]+:[0-9]{1,5}(/|\Z)")
"""What looks like a server whose URL lacks its beginning."""
PAGE_ROWS: Final = 500
"""Rows that are held while their records are read; guards memory."""


class Holding(Protocol):
    """Where a corpus is: a folder of this machine, or a server."""

    def trajectories(self, filters: Filters) -> Iterator[Trajectory]:
        """Yield the trajectories that pass."""
        ...

    def records(self, filters: Filters) -> Iterator[Record]:
        """Yield the records of the intake that pass."""
        ...


class Corpus:
    """The trajectories of a corpus that pass some filters, in the order of their ids, which is one by chance.

    It may be iterated again and again, and from several processes: each time it reads what there is then, and holds
    nothing open in between. Each record that is there all the while comes exactly once, also where curation makes it
    anew meanwhile. A record that was erased, or whose line is damaged, is passed by.
    """

    def __init__(self, holding: Holding, filters: Filters) -> None:
        self._holding = holding
        self._filters = filters

    def __repr__(self) -> str:
        return f"<Corpus {self._holding!r}>"

    def __iter__(self) -> Iterator[Trajectory]:
        return self._holding.trajectories(self._filters)

    def records(self, **filters: Any) -> Iterator[Record]:
        """Yield the records of the intake that pass these filters (`FOR_RECORDS`), in the order of their ids.

        The corpus's own filters are about trajectories. Raises TypeError for a filter that there is none of,
        ValueError for a value of one that nothing can have.
        """
        return self._holding.records(_chosen(filters, FOR_RECORDS, for_records=True))

    def examples(self) -> Iterator[dict[str, Any]]:
        """Yield the trajectories as plain dicts: what `datasets.Dataset.from_generator` takes."""
        for trajectory in self:
            yield msgspec.to_builtins(trajectory)


class Folder:
    """The corpus of a data directory. Raises NoDataDirectory where there is none."""

    def __init__(self, data_directory: Path) -> None:
        self._data_directory = data_directory
        StoredCorpus(data_directory)

    def check(self, filters: Filters) -> None:
        """Raise ValueError for a provider that nothing is of, nor is by default."""
        StoredCorpus(self._data_directory).check_providers(filters.providers, SchemaSettings().providers)

    def __repr__(self) -> str:
        return str(self._data_directory)

    def trajectories(self, filters: Filters) -> Iterator[Trajectory]:
        """Yield the trajectories that pass, a record at a time."""
        stored = StoredCorpus(self._data_directory)
        yield from _all(stored, Trajectories(stored, filters))

    def records(self, filters: Filters) -> Iterator[Record]:
        """Yield the records of the intake that pass."""
        stored = StoredCorpus(self._data_directory)
        yield from _all(stored, Records(stored, filters))


def open_corpus(place: str | Path, *, token: str | None = None, **filters: Any) -> Corpus:
    """The corpus of a data directory or of a running server, of which only what passes the filters (`Filters`) comes.

    A server is named by its URL, such as `https://central.example`, and asked with a token of the scope `export`, by
    default that of the environment variable `CENTRAL_COMMAND_TOKEN`; nothing is asked before the corpus is iterated.
    Iterating it raises NotServedError where the server refuses, or does not answer.

    Lists may be given for tuples. Raises NoDataDirectory where there is no corpus, TypeError for a filter that there is
    none of, ValueError for a value of one that nothing can have, and for a URL or a token that is none. Of providers
    there are those that servers take by default, and those in the corpus; a server's are known when it is asked.
    """
    if not isinstance(place, str | Path):
        raise TypeError(f"a corpus is in a folder or at a server's URL, and {type(place).__name__} is neither")
    chosen = _chosen(filters, [field.name for field in msgspec.structs.fields(Filters)])
    if "://" in str(place):
        from central_command.corpus.served import Server  # noqa: PLC0415 (a folder needs nothing of HTTP)

        return Corpus(Server(str(place), token), chosen)
    if not Path(place).exists():
        raise NoDataDirectory(_nowhere(str(place)))
    folder = Folder(Path(place))
    folder.check(chosen)
    return Corpus(folder, chosen)


def _nowhere(place: str) -> str:
    if HOST_AND_PORT.match(place):
        return f"there is no folder {place}; if that is a server, its URL begins with http:// or https://."
    return f"there is no folder {place}: name a server's data directory, or the URL of a server (https://…)."


def _all(stored: StoredCorpus, shelf: "Shelf[Any, Any]") -> Iterator[Any]:
    place: str | None = FIRST
    while place is not None:
        for looked in look_through(stored, shelf, place, PAGE_ROWS):
            place = looked.behind
            if looked.item is not None:
                yield looked.item


def _chosen(filters: dict[str, Any], known: Collection[str], *, for_records: bool = False) -> Filters:
    unknown = filters.keys() - set(known)
    if unknown:
        raise TypeError(f"there is no filter {min(unknown)!r}")
    chosen = read_members(filters, Filters)
    check_values(chosen, for_records=for_records)
    return chosen
