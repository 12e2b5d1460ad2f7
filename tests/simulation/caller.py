"""A client's HTTP: a connection kept open, requests in pieces, answers within a time, and what can go wrong."""

from collections.abc import Sequence
from enum import Enum, auto

import trio

from tests.simulation.model import Reply, parsed
from tests.simulation.network import SimulatedStream
from tests.simulation.randomness import Stream
from tests.simulation.world import World

TIMEOUT_S = 30.0
"""As the published client's."""
READ_BYTES = 65_536


class Mishap(Enum):
    """What goes wrong with a request on the client's side."""

    NONE = auto()
    CUT_SHORT = auto()
    """The client disconnects in the middle of the request."""
    GONE = auto()
    """It disconnects after the request, before its answer."""


class BrokenAnswer(Exception):  # noqa: N818
    """The connection ended before the answer did."""


class _Connection:
    """One connection, and what was read from it and not yet taken."""

    def __init__(self, stream: SimulatedStream) -> None:
        self.stream = stream
        self._buffer = b""
        self._moments: list[tuple[int, int]] = []
        """Where in the buffer each piece begins, and when it was sent."""

    async def read_reply(self, results: list[Reply] | None = None) -> tuple[Reply, bool]:
        """The next answer, and whether the connection stays open after it.

        Of a batch's answer each line is a reply of its own, put in `results` as soon as it is there.
        """
        await self._fill_to_end_of(b"\r\n\r\n")
        began_at = self._moment()
        head = self._take(self._buffer.index(b"\r\n\r\n") + 4).decode("latin-1").lower().split("\r\n")
        headers = dict(line.split(": ", 1) for line in head[1:] if line)
        status, body = int(head[0].split(" ")[1]), b""
        if headers.get("transfer-encoding") == "chunked":
            await self._read_results([] if results is None else results)
        else:
            size = int(headers.get("content-length", "0"))
            await self._fill(size)
            body = self._take(size)
        return Reply(status, parsed(body), began_at), headers.get("connection") != "close"

    async def _read_results(self, results: list[Reply]) -> None:
        while True:
            await self._fill_to_end_of(b"\r\n")
            size = int(self._take(self._buffer.index(b"\r\n") + 2), 16)
            await self._fill(size + 2)
            began_at = self._moment()
            for line in self._take(size + 2)[:-2].splitlines():
                result = parsed(line)
                results.append(Reply(int(result["status"]), result, began_at))
            if not size:
                return

    async def _fill_to_end_of(self, mark: bytes) -> None:
        while mark not in self._buffer:
            await self._receive()

    async def _fill(self, size: int) -> None:
        while len(self._buffer) < size:
            await self._receive()

    async def _receive(self) -> None:
        piece = await self.stream.receive_some(READ_BYTES)
        if not piece:
            raise BrokenAnswer
        self._moments.append((len(self._buffer), self.stream.received_at))
        self._buffer += piece

    def _moment(self) -> int:
        """When the buffer's first byte was sent."""
        return next(moment for start, moment in reversed(self._moments) if start <= 0)

    def _take(self, count: int) -> bytes:
        taken, self._buffer = self._buffer[:count], self._buffer[count:]
        moved = [(start - count, moment) for start, moment in self._moments]
        behind = [place for place, (start, _) in enumerate(moved) if start <= 0]
        self._moments = moved[behind[-1] :] if behind else moved
        return taken


class Caller:
    """One machine that calls the server, a request (or a pipeline of them) at a time."""

    def __init__(self, world: World, host: str) -> None:
        self._world = world
        self._host = host
        self._lock = trio.Lock()
        self._connection: _Connection | None = None

    async def ask(self, method: str, path: str, body: bytes = b"", mishap: Mishap = Mishap.NONE) -> Reply | None:
        """Send a request and return its answer; None when there was none."""
        replies = await self.ask_all([(method, path, body)], mishap)
        return replies[0] if replies else None

    async def ask_batch(self, path: str, envelopes: Sequence[bytes]) -> list[Reply]:
        """Send envelopes in one request, and return the results that came, in order; none when it was refused."""
        results: list[Reply] = []
        await self.ask_all([("POST", path, b"\n".join(envelopes))], results=results)
        return results

    async def ask_all(
        self,
        requests: Sequence[tuple[str, str, bytes]],
        mishap: Mishap = Mishap.NONE,
        results: list[Reply] | None = None,
    ) -> list[Reply]:
        """Send requests one after the other without waiting, and return the answers that came, in order."""
        world, chance = self._world, self._world.stream("caller")
        world.counts["requests"] += len(requests)
        octets = b"".join(request_bytes(*request, chance) for request in requests)
        replies: list[Reply] = []
        async with self._lock:
            with trio.move_on_after(TIMEOUT_S) as scope:
                try:
                    connection = await self._connected()
                    if mishap is Mishap.CUT_SHORT:
                        octets = octets[: chance.randrange(len(octets))]
                    await self._send(connection, octets, chance)
                    if mishap is not Mishap.NONE:
                        world.counts[f"disconnect {mishap.name.lower()}"] += 1
                        for _ in range(chance.randrange(12)):
                            await trio.lowlevel.checkpoint()
                        await self._hang_up()
                        return []
                    while len(replies) < len(requests):
                        reply, stays = await connection.read_reply(results)
                        world.happened(f"answer {reply.status} {str(reply.body)[:90]}")
                        replies.append(reply)
                        if not stays:
                            await self._hang_up()
                            break
                except (OSError, trio.BrokenResourceError, trio.ClosedResourceError, BrokenAnswer):
                    await self._hang_up()
            if scope.cancelled_caught:
                world.counts["client time-outs"] += 1
                await self._hang_up()
        if chance.one_in(8):
            await self._hang_up()
        return replies

    async def _connected(self) -> _Connection:
        if self._connection is None:
            self._connection = _Connection(await self._world.network.connect(self._host))
        return self._connection

    async def _send(self, connection: _Connection, octets: bytes, chance: Stream) -> None:
        if chance.one_in(5):
            cut = chance.randint(0, len(octets))
            await connection.stream.send_all(octets[:cut])
            await trio.sleep(chance.any_of((0.0, 0.01, 1.0)))
            octets = octets[cut:]
        await connection.stream.send_all(octets)

    async def _hang_up(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with trio.CancelScope(shield=True):
                await connection.stream.aclose()


def request_bytes(method: str, path: str, body: bytes, chance: Stream) -> bytes:
    """A request as a client writes it, now and then with a chunked body."""
    head = f"{method} {path} HTTP/1.1\r\nhost: simulated\r\ncontent-type: application/json\r\n"
    if method == "GET":
        return f"{head}\r\n".encode()
    if chance.one_in(12):
        cut = chance.randint(1, max(1, len(body) - 1))
        chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:cut], body[cut:]) if part)
        return f"{head}transfer-encoding: chunked\r\n\r\n".encode() + chunks + b"0\r\n\r\n"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body
