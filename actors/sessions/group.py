"""Chunks of one session that go to the journal together, and what the session will be like once they are there.

The state itself moves on only after the append; until then the next chunk is checked against what is counted here.
"""

from collections.abc import Sequence

from actors.sessions.state import SessionState
from persistence.journals.journal import Journal, Line


class ChunkGroup:
    """Checked chunks with consecutive sequence numbers, from the state's next one on, not yet appended."""

    def __init__(self, state: SessionState, journal: Journal) -> None:
        self._state = state
        self._journal = journal
        self._lines: list[Line] = []
        self._bytes = 0

    def __repr__(self) -> str:
        return f"<ChunkGroup {len(self._lines)} lines, {self._bytes} bytes>"

    def __len__(self) -> int:
        return len(self._lines)

    @property
    def expected_sequence(self) -> int:
        """The next sequence number after these chunks."""
        return self._state.expected_sequence + len(self._lines)

    @property
    def size_bytes(self) -> int:
        """No less than the bytes that these chunks will take in the journal."""
        return self._bytes

    def has_room_for(self, line: Line) -> bool:
        """Whether one more line can share their group commit; an empty group takes any."""
        return self._journal.fits_one_commit(len(self._lines) + 1, self._bytes + line.size_bytes)

    def add(self, line: Line) -> None:
        """Take in the next chunk."""
        self._lines.append(line)
        self._bytes += line.size_bytes

    def take(self) -> Sequence[Line]:
        """Return the lines, and hold none from now on."""
        lines, self._lines, self._bytes = self._lines, [], 0
        return lines
