"""Which sessions say that they go on from one: as far as the index of the corpus has come."""

from typing import Final, Protocol

from persistence.databases.search_reading import SearchTimedOut
from persistence.databases.session_reading import session_reader
from persistence.files.failures import NoDataDirectory, StorageFailure
from persistence.format.layout import DataLayout

CONTINUED_MAX: Final = 16
"""Sessions that are named; a session that grows again and again goes on in one after the other."""


class Chain(Protocol):
    """Who knows what goes on from what."""

    def continued_by(self, session_id: str) -> list[str]:
        """The sessions of the same contributor that go on from one, at most `CONTINUED_MAX`. Blocking."""
        ...


class IndexedChain:
    """The chain by the index of a data directory; without one nothing is known to go on."""

    def __init__(self, layout: DataLayout, timeout_s: float) -> None:
        self._layout = layout
        self._timeout_s = timeout_s

    def __repr__(self) -> str:
        return f"<IndexedChain {self._layout.root}>"

    def continued_by(self, session_id: str) -> list[str]:
        """The sessions that go on from one; none where the index cannot be asked now."""
        try:
            with session_reader(self._layout, self._timeout_s) as reader:
                session = reader.session(session_id)
                found = [] if session is None else reader.continued_by(session, CONTINUED_MAX)
        except (NoDataDirectory, SearchTimedOut, StorageFailure):
            return []
        return [each.session_id for each in found]
