"""A TCP connection as a stream that waits only when there is something to wait for.

trio's own `SocketStream` suspends the task after every read and write that succeeded, so that others get their turn. On
a connection that answers requests every request waits for its answer anyway, and each of those turns costs as much as
parsing the request. This stream suspends only where the socket is not ready.
"""

import socket

import trio


class PlainStream(trio.abc.HalfCloseableStream):
    """A stream over a connected socket; one task may send and one may receive at a time.

    Every call looks whether it was cancelled, and raises as trio's streams do: BrokenResourceError when the connection
    failed, ClosedResourceError when it was closed on this side.
    """

    def __init__(self, connected: socket.socket) -> None:
        connected.setblocking(False)  # noqa: FBT003 the standard library's signature
        self.socket = connected
        self._is_answered = False

    def __repr__(self) -> str:
        return f"<PlainStream {self.socket.fileno()}>"

    @classmethod
    def taken_from(cls, stream: trio.SocketStream) -> "PlainStream":
        """Take the connection over from a stream of trio's, which is closed by that."""
        return cls(socket.socket(fileno=stream.socket.detach()))

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send all of `data`."""
        await trio.lowlevel.checkpoint_if_cancelled()
        self._is_answered = True
        sent = self._send(data)
        if sent == len(data):
            return
        with memoryview(data) as whole:
            while sent < len(whole):
                await self.wait_send_all_might_not_block()
                sent += self._send(whole[sent:])

    def _send(self, data: bytes | bytearray | memoryview) -> int:
        """Send what the kernel takes now; returns how many bytes."""
        self._check_open()
        try:
            return self.socket.send(data)
        except BlockingIOError:
            return 0
        except OSError as problem:
            raise trio.BrokenResourceError(f"sending failed: {problem.strerror}") from problem

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until the kernel takes more."""
        self._check_open()
        await trio.lowlevel.wait_writable(self.socket)

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """The next bytes, at most `max_bytes` (65,536 without it); empty at the peer's end."""
        await trio.lowlevel.checkpoint_if_cancelled()
        self._check_open()
        if self._is_answered:
            # Whoever has just been answered has not yet asked again: to look would be for nothing.
            self._is_answered = False
            await trio.lowlevel.wait_readable(self.socket)
        while True:
            self._check_open()
            try:
                return self.socket.recv(max_bytes or 65_536)
            except BlockingIOError:
                await trio.lowlevel.wait_readable(self.socket)
            except OSError as problem:
                raise trio.BrokenResourceError(f"receiving failed: {problem.strerror}") from problem

    def receive_now(self, max_bytes: int) -> bytes | None:
        """What is there already, at most `max_bytes`; None when that is nothing, the end or a failure."""
        try:
            return self.socket.recv(max_bytes) or None
        except OSError:
            return None

    async def send_eof(self) -> None:
        """Tell the peer that nothing more will be sent."""
        await trio.lowlevel.checkpoint()
        self._check_open()
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError as problem:
            raise trio.BrokenResourceError(f"ending failed: {problem.strerror}") from problem

    async def aclose(self) -> None:
        """Close the connection; whoever waits for it gets ClosedResourceError."""
        if self.socket.fileno() >= 0:
            trio.lowlevel.notify_closing(self.socket)
            self.socket.close()
        await trio.lowlevel.checkpoint()

    def _check_open(self) -> None:
        if self.socket.fileno() < 0:
            raise trio.ClosedResourceError("this connection was closed")
