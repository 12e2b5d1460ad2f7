"""A network in memory: connections whose bytes arrive in pieces, and that break when the server dies."""

import errno
import math
import socket
from collections import deque
from collections.abc import Callable

import trio

from tests.simulation.randomness import Stream

PIECES_ONE_IN = 4
"""How often a read returns less than there is."""


class Wire:
    """One direction of a connection: pieces with the moment (an operation's number) at which each was sent."""

    def __init__(self) -> None:
        self.pieces: deque[tuple[bytes, int]] = deque()
        self.changed = trio.Event()
        self.ended = False
        self.broken = False

    def announce(self) -> None:
        """Wake whoever reads."""
        self.changed.set()
        self.changed = trio.Event()


class Address:
    """What hypercorn asks of a socket."""

    family = socket.AF_INET

    def __init__(self, host: str, port: int) -> None:
        self._peer = (host, port)

    def getpeername(self) -> tuple[str, int]:
        """The client's address."""
        return self._peer

    def getsockname(self) -> tuple[str, int]:
        """The server's address."""
        return ("127.0.0.1", 8443)


class SimulatedStream(trio.abc.HalfCloseableStream):
    """One end of a connection."""

    def __init__(self, network: "Network", incoming: Wire, outgoing: Wire, host: str, *, of_server: bool) -> None:
        self.socket = Address(host, 40_000)
        self._network = network
        self._incoming = incoming
        self._outgoing = outgoing
        self._of_server = of_server
        self.received_at = 0

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send; what is sent to an end that has gone is lost."""
        await trio.lowlevel.checkpoint()
        if self._outgoing.broken or self._outgoing.ended:
            raise trio.BrokenResourceError("the connection is broken")
        moment = self._network.answering(len(data)) if self._of_server and data else 0
        if data:
            self._outgoing.pieces.append((bytes(data), moment))
            self._outgoing.announce()

    async def wait_send_all_might_not_block(self) -> None:
        """There is always room."""
        await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Receive what is there, or some of it; `received_at` is when its first byte was sent."""
        await trio.lowlevel.checkpoint()
        wire = self._incoming
        while not wire.pieces:
            if wire.broken:
                raise trio.BrokenResourceError("the connection is broken")
            if wire.ended:
                return b""
            await wire.changed.wait()
        data, self.received_at = wire.pieces.popleft()
        chance = self._network.chance
        take = chance.randint(1, len(data)) if chance.one_in(PIECES_ONE_IN) else len(data)
        take = min(take, max_bytes or take)
        if take < len(data):
            wire.pieces.appendleft((data[take:], self.received_at))
        return data[:take]

    async def send_eof(self) -> None:
        """Send no more."""
        if self._outgoing.broken:
            raise trio.BrokenResourceError("the connection is broken")
        self._outgoing.ended = True
        self._outgoing.announce()
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        """Close both ways: the other end reads to the end of what was sent, and can send no more."""
        self._outgoing.ended = True
        self._outgoing.announce()
        self._incoming.broken = True
        self._incoming.pieces.clear()
        self._incoming.announce()
        await trio.lowlevel.checkpoint()

    def reset(self) -> None:
        """Break the connection: what was sent and not read is gone."""
        for wire in (self._incoming, self._outgoing):
            wire.broken = True
            wire.pieces.clear()
            wire.announce()


class SimulatedListener(trio.abc.Listener[SimulatedStream]):
    """Where a life of the server accepts connections."""

    def __init__(self) -> None:
        self.arriving, self._arrived = trio.open_memory_channel[SimulatedStream](math.inf)

    async def accept(self) -> SimulatedStream:
        """The next connection."""
        return await self._arrived.receive()

    async def aclose(self) -> None:
        """Accept no more."""
        self.arriving.close()
        self._arrived.close()
        await trio.lowlevel.checkpoint()


Answering = Callable[[int], int]
"""Told of every piece of an answer, with its size, before it is sent; returns the number of that moment, or ends it."""


class Network:
    """Between all clients and the server, as long as it listens."""

    def __init__(self, chance: Stream) -> None:
        self.chance = chance
        self.answering: Answering = lambda _size_bytes: 0
        self._listener: SimulatedListener | None = None
        self._streams: list[SimulatedStream] = []

    def listen(self) -> SimulatedListener:
        """Begin to accept connections."""
        self._listener = SimulatedListener()
        return self._listener

    def end(self) -> None:
        """The server's process is gone, and with it all its connections."""
        self._listener = None
        for stream in self._streams:
            stream.reset()
        self._streams.clear()

    async def connect(self, host: str) -> SimulatedStream:
        """Connect from an address; ConnectionRefusedError while nothing listens."""
        await trio.lowlevel.checkpoint()
        if self._listener is None:
            raise ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
        to_server, to_client = Wire(), Wire()
        server = SimulatedStream(self, to_server, to_client, host, of_server=True)
        client = SimulatedStream(self, to_client, to_server, host, of_server=False)
        try:
            self._listener.arriving.send_nowait(server)
        except trio.ClosedResourceError:
            raise ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused") from None
        self._streams.append(server)
        return client
