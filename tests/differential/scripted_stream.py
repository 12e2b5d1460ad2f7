"""A connection in memory whose client is a script: pieces of bytes, with pauses between them, and perhaps an end."""

import socket
from collections import deque

import trio
import trio.testing

from central_command.http.connections.plain_stream import PlainStream


class Address:
    """What hypercorn asks of a socket."""

    family = socket.AF_INET

    def getpeername(self) -> tuple[str, int]:
        """The client's address."""
        return ("127.0.0.1", 40_000)

    def getsockname(self) -> tuple[str, int]:
        """The server's address."""
        return ("127.0.0.1", 8443)


class ScriptedStream(PlainStream):
    """The server's end of such a connection; the client's is `put` and `end`, and what was `sent` to it."""

    def __init__(self) -> None:
        self.socket = Address()  # type: ignore[assignment] # as much of it as is asked for
        self.sent = bytearray()
        self.has_ended = False
        """Whether the server sends no more."""
        self._pieces: deque[bytes] = deque()
        self._client_ended = False
        self._is_closed = False
        self._changed = trio.Event()

    def put(self, piece: bytes) -> None:
        """Have a piece arrive; one that comes after the server has closed is lost."""
        if piece and not self._is_closed:
            self._pieces.append(piece)
            self._announce()

    def end(self) -> None:
        """End the client's side."""
        self._client_ended = True
        self._announce()

    def _announce(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send; there is always room."""
        await trio.lowlevel.checkpoint()
        if self.has_ended:
            raise trio.ClosedResourceError("this side has ended")
        self.sent += data

    async def wait_send_all_might_not_block(self) -> None:
        """There is always room."""
        await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """The next piece, or as much of it as is wanted."""
        await trio.lowlevel.checkpoint_if_cancelled()
        while True:
            if self._is_closed:
                raise trio.ClosedResourceError("this connection was closed")
            if self._pieces:
                return self._next(max_bytes or 65_536)
            if self._client_ended:
                return b""
            await self._changed.wait()

    def receive_now(self, max_bytes: int) -> bytes | None:
        """As the real one: nothing, the client's end, or a piece."""
        return self._next(max_bytes) if self._pieces and not self._is_closed else None

    def _next(self, max_bytes: int) -> bytes:
        piece = self._pieces.popleft()
        if len(piece) > max_bytes:
            self._pieces.appendleft(piece[max_bytes:])
        return piece[:max_bytes]

    async def send_eof(self) -> None:
        """Tell the client that no more will be sent."""
        await trio.lowlevel.checkpoint()
        if self.has_ended:
            raise trio.ClosedResourceError("this side has ended")
        self.has_ended = True

    async def aclose(self) -> None:
        """Close both ways."""
        self.has_ended = self._is_closed = True
        self._pieces.clear()
        self._announce()
        await trio.lowlevel.checkpoint()
