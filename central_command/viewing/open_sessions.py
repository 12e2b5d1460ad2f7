"""Sessions that are still open, raw, as they grow: their steps by the lines of their envelopes. For operators alone.

What is held of a session are the places of its steps; a step is read from its envelope's line, of which the last few
are held. A session has at most as many envelopes as `sessions.envelopes_max` says, and each its bound of bytes.
"""

import logging
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager
from typing import Final, Protocol, TypeVar

import msgspec
import trio

from central_command.process.bounded_threads import BoundedThreads, FullError
from central_command.viewing.desk import BUSY, FAILED, UnableError
from central_command.viewing.settings import ViewerSettings
from central_command.viewing.steps import ViewedStep, read_step, texts_of
from persistence.databases.database import DatabaseFailure
from persistence.databases.session_index import LinePosition, SessionRow
from persistence.files.failures import StorageFailure
from persistence.format import json_text
from persistence.format.records import EnvelopeKind, Position
from persistence.format.step_places import BLOCK_STEPS, LogPlace, StepBlock, StepPlace, StepsInOrder, blocks
from persistence.journals.reading import JournalDamage

log = logging.getLogger("central_command.http")

CHUNK_BITS: Final = 32
"""Of an offset, those that are within an envelope's steps; the rest is the envelope's number."""

CHUNKS_HELD: Final = 2
"""Envelopes of one session whose steps are held; guards memory."""

T = TypeVar("T")

FULL: Final = ("viewer_busy", "Too many follow open sessions just now; come back in a moment.")


class _Chunk(msgspec.Struct, frozen=True):
    trajectory_log: msgspec.Raw = msgspec.Raw(b"[]")


_CHUNK: Final = msgspec.json.Decoder(_Chunk)


class Index(Protocol):
    """What is known of sessions."""

    async def one(self, session_id: str) -> SessionRow | None:
        """One session."""
        ...

    async def line_positions(self, session_id: str) -> list[LinePosition]:
        """Where its lines are."""
        ...

    async def sessions_page(
        self, limit: int, *, older_than: tuple[float, str] | None = None, closed: bool | None = None
    ) -> list[SessionRow]:
        """Sessions, the newest first; `older_than` is the creation and the id of the last one of the page before."""
        ...


class OpenSession:
    """The steps of a session as far as it has come. Its methods block, but for `row`; one thread at a time."""

    def __init__(self, row: SessionRow, read_line: Callable[[Position], bytes]) -> None:
        self.row = row
        self._read_line = read_line
        self._lines: list[Position] = []
        self._order = StepsInOrder()
        self._blocks: list[StepBlock] = []
        self._places: list[StepPlace] = []
        self._held: OrderedDict[int, bytes] = OrderedDict()

    def __repr__(self) -> str:
        return f"<OpenSession {self.row.session_id}: {len(self._places)} steps>"

    @property
    def total(self) -> int:
        """How many steps there are."""
        return len(self._places)

    def take(self, row: SessionRow, lines: list[Position]) -> None:
        """Take in what has come since; raises msgspec.DecodeError, JournalDamage, StorageFailure, OSError.

        What could not be read is read again the next time.
        """
        self.row = row
        new = lines[len(self._lines) :]
        for place in new:
            number = len(self._lines)
            self._lines.append(place)
            try:
                text = self._chunk(number)
            except BaseException:
                self._lines.pop()
                raise
            self._order.take(LogPlace(number << CHUNK_BITS, (number << CHUNK_BITS) + len(text)), text)
        if new:
            self._places = self._order.places()
            self._blocks = list(blocks(self._places))

    def summaries(self) -> list[StepBlock]:
        """All blocks."""
        return self._blocks

    def places(self, first: int) -> list[StepPlace]:
        """The places of the block that a step is in."""
        start = (max(first, 1) - 1) // BLOCK_STEPS * BLOCK_STEPS
        return self._places[start : start + BLOCK_STEPS]

    def place(self, number: int) -> StepPlace | None:
        """The place of one step."""
        return self._places[number - 1] if 0 < number <= len(self._places) else None

    def step(self, place: StepPlace, bytes_max: int) -> ViewedStep:
        """A step as it is shown."""
        return read_step(place, self.read, bytes_max)

    def texts(self, place: StepPlace) -> Iterator[str]:
        """All that a step says."""
        return texts_of(place, self.read)

    def read(self, start: int, end: int) -> bytes:
        """The bytes of steps of one envelope between two offsets."""
        number = start >> CHUNK_BITS
        begin = number << CHUNK_BITS
        return self._chunk(number)[start - begin : end - begin]

    def _chunk(self, number: int) -> bytes:
        """The JSON text of an envelope's steps."""
        if number not in self._held:
            line = self._read_line(self._lines[number])
            self._held[number] = bytes(json_text.decode(_CHUNK, line).trajectory_log)
            while len(self._held) > CHUNKS_HELD:
                self._held.popitem(last=False)
        self._held.move_to_end(number)
        return self._held[number]


@contextmanager
def _readable() -> Iterator[None]:
    """Say it in a sentence where the databases cannot be read."""
    try:
        yield
    except DatabaseFailure as error:
        log.error("open sessions cannot be read: %s", error)  # noqa: TRY400 (the sentence says it all)
        raise UnableError(*FAILED) from None


class OpenSessions:
    """Finds open sessions, and holds the places of those that were looked at last."""

    def __init__(
        self,
        index: Index,
        read_line: Callable[[Position], bytes],
        settings: ViewerSettings,
        *,
        stopping: trio.Event,
    ) -> None:
        """`stopping` is set when the server begins to stop: nobody follows anything from then on."""
        self._index = index
        self._read_line = read_line
        self.settings = settings
        self._stopping = stopping
        self._known: OrderedDict[str, OpenSession] = OrderedDict()
        self._threads = BoundedThreads(1, settings.waiting_max)
        self._followers = 0

    def __repr__(self) -> str:
        return f"<OpenSessions {len(self._known)} known, {self._followers} followers>"

    async def found(self, session_id: str) -> OpenSession | None:
        """A session as it is now; None where there is none, or it was closed. Raises UnableError."""
        with _readable():
            row = await self._index.one(session_id)
            return None if row is None or row.closed else await self._taken(row)

    async def listed(self, older_than: tuple[float, str] | None = None) -> list[SessionRow]:
        """Open sessions, the newest first: one more than a page has, where there are more. Raises UnableError."""
        with _readable():
            return await self._index.sessions_page(self.settings.sessions_max + 1, older_than=older_than, closed=False)

    async def _taken(self, row: SessionRow) -> OpenSession:
        lines = await self._index.line_positions(row.session_id)
        chunks = [each.position for each in lines if each.kind is EnvelopeKind.CHUNK]
        session = self._known.setdefault(row.session_id, OpenSession(row, self._read_line))
        self._known.move_to_end(row.session_id)
        while len(self._known) > max(1, self.settings.live_max):
            self._known.popitem(last=False)
        await self.look(lambda: session.take(row, chunks))
        return session

    async def look(self, work: Callable[[], T]) -> T:
        """What a function finds in a session, in a thread; one at a time. Raises UnableError."""
        try:
            return await self._threads.answer(work, abandon_on_cancel=False)
        except FullError:
            raise UnableError(*BUSY) from None
        except (JournalDamage, msgspec.DecodeError):
            raise UnableError("viewer_failed", "The session's envelopes cannot be read.") from None
        except (StorageFailure, OSError) as error:
            log.error("an open session cannot be shown: %s", error)  # noqa: TRY400 (the sentence says it all)
            raise UnableError(*FAILED) from None

    def check_room(self) -> None:
        """Raise UnableError where too many follow already."""
        if self._followers >= self.settings.live_max:
            raise UnableError(*FULL)

    async def follow(self, session_id: str, behind: int) -> AsyncGenerator[OpenSession | None, None]:
        """Yield a session each time it has grown past so many steps, and None once it is closed; then it ends.

        It ends without a None when the server begins to stop. Raises UnableError where too many follow already.
        """
        self.check_room()
        self._followers += 1
        try:
            while not self._stopping.is_set():
                with _readable():
                    row = await self._index.one(session_id)
                    session = None if row is None else await self._taken(row)
                if session is not None and session.total > behind:
                    behind = session.total
                    yield session
                if row is None or row.closed:  # the last steps came before
                    self._known.pop(session_id, None)
                    yield None
                    return
                with trio.move_on_after(self.settings.live_poll_s):
                    await self._stopping.wait()
        finally:
            self._followers -= 1
