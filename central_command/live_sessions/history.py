"""A session's conversation, handed out piece by piece: a bounded number at once, each read in a thread."""

import logging
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from typing import Final, Literal

import msgspec

from central_command.live_sessions.settings import LiveSettings
from central_command.process.bounded_threads import BoundedThreads, FullError
from persistence.files.failures import StorageFailure
from persistence.keys.sealing import MasterKeyError

log = logging.getLogger("central_command.http")

PIECE_BYTES: Final = 65_536
"""A piece ends behind the message that makes it so long."""
HISTORY_FORMATS: Final = ("messages",)


class NoHistory(msgspec.Struct, frozen=True):
    """Why there is none, and a sentence: no such session in the corpus, too large, damaged, too many at once, or
    not readable now.
    """

    why: Literal["absent", "large", "damaged", "busy", "failed"]
    sentence: str


Messages = Iterator[dict[str, object]]
FindHistory = Callable[[str], Callable[[], Messages] | NoHistory]
"""For a session what reads its messages, or why there are none. It blocks, and so does what it gives."""


class HistoryDesk:
    """Hands conversations out; `find` looks a session up. One counts from its look-up until it is handed out."""

    def __init__(self, find: FindHistory, settings: LiveSettings) -> None:
        self._find = find
        self._threads = BoundedThreads(settings.histories_max, 0)

    def __repr__(self) -> str:
        return f"<HistoryDesk {self._threads}>"

    async def history(self, session_id: str) -> AsyncIterator[bytes] | NoHistory:
        """The conversation as pieces of one JSON array, or why there is none.

        Nothing of it is held before the first piece is asked for, and one piece behind another.
        """
        try:
            found = await self._threads.answer(partial(self._find, session_id))
        except FullError:
            return NoHistory("busy", "Too many conversations are being handed out; come back later.")
        except (StorageFailure, MasterKeyError, OSError) as error:
            log.error("the history of a session: %s", error)  # noqa: TRY400 (the sentence says it all)
            return NoHistory("failed", "The corpus cannot be read now; come back later.")
        return found if isinstance(found, NoHistory) else self._pieces(found)

    async def _pieces(self, read: Callable[[], Messages]) -> AsyncIterator[bytes]:
        with self._threads.counted():  # only from now on: whoever has gone by now asks for no piece
            try:
                pieces = pieces_of(await self._threads.run(read, abandon_on_cancel=False))
                while piece := await self._threads.run(partial(next, pieces, b""), abandon_on_cancel=False):
                    yield piece
            except (StorageFailure, MasterKeyError, OSError) as error:  # who reads it sees that the array does not end
                log.error("the history of a session broke off: %s", error)  # noqa: TRY400 (the sentence says it all)


def pieces_of(messages: Messages) -> Iterator[bytes]:
    """One JSON array of the messages, in pieces that are not empty."""
    piece, between = bytearray(b"["), b""
    for message in messages:
        piece += between + msgspec.json.encode(message)
        between = b","
        if len(piece) >= PIECE_BYTES:
            yield bytes(piece)
            piece.clear()
    yield bytes(piece) + b"]"
