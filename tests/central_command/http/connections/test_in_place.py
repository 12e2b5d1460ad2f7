"""Bodies that are taken in where they stand: each byte is held before the next is waited for, or none of them."""

from collections.abc import Iterator
from typing import Any, cast

import h11
import pytest
import trio

from actors.envelopes.reading import Envelope
from actors.sessions.outcomes import Accepted
from central_command.http.connections.in_place import InPlace
from central_command.http.connections.repeated import AnswerHeads, RepeatedHeads, repeated_head
from central_command.http.connections.timer import ConnectionTimer
from central_command.http.requests.exchange import Edge
from central_command.http.requests.replies import INGEST_PATH

BODY = b'{"session_id":"sess_1","chunk_sequence":0}'
HEAD = b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (INGEST_PATH.encode(), len(BODY))
WITH_HEAD, AT_ONCE = BODY[:10], BODY[10:18]
LATER = (BODY[18:30], BODY[30:])


def bodies_bytes(edge: Edge) -> int:
    """What all bodies hold now."""
    return edge.admission.statistics().bodies_bytes


class Socket:
    """What comes behind the head: some bytes at once, others part by part; notes what is held while each is awaited."""

    def __init__(self, edge: Edge) -> None:
        self._edge = edge
        self._later: Iterator[bytes] = iter(LATER)
        self.held: list[int] = []
        self.taken = b""

    def receive_now(self, bytes_max: int) -> bytes | None:
        self.held.append(bodies_bytes(self._edge))
        return self._took(AT_ONCE)

    async def receive(self, bytes_max: int) -> bytes | None:
        self.held.append(bodies_bytes(self._edge))
        await trio.lowlevel.checkpoint()
        return self._took(next(self._later))

    def _took(self, part: bytes) -> bytes:
        self.taken += part
        return part


def repetition() -> RepeatedHeads:
    """The head as it was seen before."""
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(HEAD)
    request = connection.next_event()
    assert isinstance(request, h11.Request)
    scope = {
        "type": "http",
        "method": "POST",
        "path": INGEST_PATH,
        "headers": list(request.headers),
        "client": ("192.0.2.1", 5_000),
    }
    found = repeated_head(HEAD, request, cast("Any", scope), 1_000)
    assert found is not None
    seen = RepeatedHeads()
    seen.add(found)
    return seen


def on(edge: Edge, source: Socket) -> InPlace:
    """A connection that is read from `source`."""

    async def nothing(*_arguments: Any) -> None:
        await trio.lowlevel.checkpoint()

    timer = ConnectionTimer(idle_s=5, read_s=5, write_s=5, silent=lambda: None, stuck=nothing, terminated=nothing)
    return InPlace(edge, AnswerHeads(list), timer, source, nothing, lambda: False)


async def test_what_has_come_of_a_body_is_held_while_the_rest_is_awaited(make_app: Any, gateway: Any) -> None:
    """Also what came with its head; and all of it for as long as the envelope is on its way."""
    edge: Edge = make_app().asgi_app
    source = Socket(edge)

    async def ingest(_envelope: Envelope) -> Accepted:
        source.held.append(bodies_bytes(edge))
        await trio.lowlevel.checkpoint()
        return Accepted("env_1")

    gateway.ingest = ingest
    answered = await on(edge, source).answer(repetition(), HEAD + WITH_HEAD, 10)
    assert (answered.requests, answered.rest) == (1, b"")
    assert source.held == [10, 18, 30, len(BODY)]
    assert bodies_bytes(edge) == 0


@pytest.mark.parametrize("room", [9, 17, 29, len(BODY) - 1])
async def test_what_there_is_no_room_for_goes_the_ordinary_way_with_nothing_held(make_app: Any, room: int) -> None:
    """With its head, so that it is refused there like any other; wherever within it the room ends."""
    edge: Edge = make_app(bodies_bytes_max=room).asgi_app
    source = Socket(edge)
    answered = await on(edge, source).answer(repetition(), HEAD + WITH_HEAD, 10)
    assert (answered.requests, answered.rest) == (0, HEAD + WITH_HEAD + source.taken)
    assert max(source.held, default=0) <= room
    found = edge.admission.statistics()
    assert (found.bodies_bytes, found.requests_in_flight, found.bodies_refused) == (0, 0, 1)
