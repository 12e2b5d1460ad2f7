"""What an open session sent, kept in memory until its close so that stitching need not read the disk.

It is a convenience with two bounds: its own (`chunk_buffer_bytes_max`) and one over all sessions. Past either it lets
go of everything, and the close reads the session's lines back from the journal.
"""

import msgspec

from persistence.format.records import EnvelopeKind


class BufferBudget:
    """The bytes that all buffers together may hold."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._bytes_taken = 0

    @property
    def bytes_taken(self) -> int:
        """Bytes held now."""
        return self._bytes_taken

    def take(self, size_bytes: int) -> bool:
        """Take bytes from the budget if they are there."""
        if self._bytes_taken + size_bytes > self._bytes_max:
            return False
        self._bytes_taken += size_bytes
        return True

    def give_back(self, size_bytes: int) -> None:
        """Return bytes to the budget."""
        self._bytes_taken -= size_bytes
        assert self._bytes_taken >= 0


class StoredText(msgspec.Struct, frozen=True):
    """One accepted line of a session: its kind and the text of its members, without braces, as the journal takes it."""

    kind: EnvelopeKind
    text: bytes

    def __repr__(self) -> str:
        return f"<StoredText {self.kind} {len(self.text)} bytes>"


class SessionBuffer:
    """One session's accepted lines in the order in which they were accepted; `is_complete` while it holds all."""

    def __init__(self, budget: BufferBudget, *, bytes_max: int, is_complete: bool) -> None:
        self._budget = budget
        self._bytes_max = bytes_max
        self._bytes = 0
        self._texts: list[StoredText] = []
        self.is_complete = is_complete

    @property
    def texts(self) -> tuple[StoredText, ...]:
        """The lines held; all of the session's only while `is_complete`."""
        return tuple(self._texts)

    def add(self, stored: StoredText) -> None:
        """Keep one more line, or let go of all when a bound is reached."""
        if not self.is_complete:
            return
        size_bytes = len(stored.text)
        if self._bytes + size_bytes > self._bytes_max or not self._budget.take(size_bytes):
            self.is_complete = False
            self.release()
            return
        self._bytes += size_bytes
        self._texts.append(stored)

    def release(self) -> None:
        """Let go of all lines; the buffer counts as incomplete from now on."""
        self._budget.give_back(self._bytes)
        self._bytes = 0
        self._texts.clear()
        self.is_complete = False
