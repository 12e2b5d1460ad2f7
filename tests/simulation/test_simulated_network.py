"""The simulated network carries bytes in order, ends and breaks as connections do, and knows when each was sent."""

from itertools import count

import pytest
import trio

from tests.simulation.network import Network, SimulatedListener, SimulatedStream
from tests.simulation.randomness import stream


@pytest.fixture
async def network() -> Network:
    return Network(stream(1, "network"))


async def connected(network: Network) -> tuple[SimulatedStream, SimulatedStream]:
    listener: SimulatedListener = network.listen()
    client = await network.connect("10.0.0.1")
    return client, await listener.accept()


async def everything(end: SimulatedStream) -> bytes:
    received = b""
    while piece := await end.receive_some():
        received += piece
    return received


async def test_bytes_arrive_in_order_and_now_and_then_in_pieces(network: Network) -> None:
    client, server = await connected(network)
    sent = [bytes([n]) * 50 for n in range(40)]
    for data in sent:
        await client.send_all(data)
    await client.send_eof()
    pieces = []
    while piece := await server.receive_some():
        pieces.append(piece)
    assert b"".join(pieces) == b"".join(sent)
    assert len(pieces) > len(sent)


async def test_nobody_listens_before_the_start_and_after_the_end(network: Network) -> None:
    with pytest.raises(ConnectionRefusedError):
        await network.connect("10.0.0.1")
    await connected(network)
    network.end()
    with pytest.raises(ConnectionRefusedError):
        await network.connect("10.0.0.1")


async def test_what_was_sent_before_a_close_still_arrives(network: Network) -> None:
    client, server = await connected(network)
    await server.send_all(b"the answer")
    await server.aclose()
    assert await everything(client) == b"the answer"
    with pytest.raises(trio.BrokenResourceError):
        await client.send_all(b"more")


async def test_nothing_arrives_after_the_server_has_died(network: Network) -> None:
    client, server = await connected(network)
    await server.send_all(b"an answer that is on its way")
    network.end()
    with pytest.raises(trio.BrokenResourceError):
        await client.receive_some()
    with pytest.raises(trio.BrokenResourceError):
        await server.send_all(b"an answer of the dead")


async def test_an_answer_carries_the_moment_of_its_first_byte(network: Network) -> None:
    """Only what the server sends is counted, and a piece that is read in parts keeps its moment."""
    moments = count(1)
    network.answering = lambda _size_bytes: next(moments)
    client, server = await connected(network)
    await client.send_all(b"a request")
    await server.send_all(b"head")
    await server.send_all(b"body")
    assert await client.receive_some(2) in {b"h", b"he"}
    assert client.received_at == 1
    await server.aclose()
    await everything(client)
    assert client.received_at == 2
    assert server.socket.getpeername()[0] == "10.0.0.1"
