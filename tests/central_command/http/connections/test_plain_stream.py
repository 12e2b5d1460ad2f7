"""The stream that waits only when there is something to wait for."""

import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from central_command.http.connections.plain_stream import PlainStream

MUCH = bytes(range(256)) * 40_000
"""More than the kernel takes for someone who does not read."""


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[PlainStream, trio.SocketStream]]:
    """Two ends of a TCP connection: ours, and the client's."""
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        client = await trio.testing.open_stream_to_socket_listener(listener)
        accepted = await listener.accept()
    async with client, PlainStream.taken_from(accepted) as stream:
        yield stream, client


async def test_what_is_sent_arrives_however_much_it_is() -> None:
    async with connected() as (stream, client):
        received = bytearray()

        async def read() -> None:
            async for piece in client:
                received.extend(piece)

        async def send() -> None:
            await stream.send_all(MUCH)
            await stream.send_all(b"the end")
            await stream.send_eof()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            await wait_all_tasks_blocked()  # the kernel takes no more
            assert received == b""
            nursery.start_soon(read)
        assert bytes(received) == MUCH + b"the end"


async def test_what_arrives_is_received_in_pieces_and_then_the_end() -> None:
    async with connected() as (stream, client):
        assert stream.receive_now(10) is None
        await client.send_all(b"abcdef")
        assert await stream.receive_some(2) == b"ab"
        assert stream.receive_now(3) == b"cde"
        assert await stream.receive_some() == b"f"
        await client.send_eof()
        assert await stream.receive_some(10) == b""
        assert stream.receive_now(10) is None


async def test_after_an_answer_the_next_request_is_waited_for() -> None:
    """Whether it comes later, or was there before the answer was sent."""
    async with connected() as (stream, client):
        await stream.send_all(b"answer")
        pieces: list[bytes] = []

        async def receive() -> None:
            pieces.append(await stream.receive_some(100))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive)
            await wait_all_tasks_blocked()
            assert pieces == []
            await client.send_all(b"later")
        await client.send_all(b"before")
        await stream.send_all(b"answer")
        pieces.append(await stream.receive_some(100))
        assert pieces == [b"later", b"before"]


async def test_both_directions_are_cancelled_where_they_wait() -> None:
    async with connected() as (stream, _client):
        with trio.move_on_after(0) as receiving:
            await stream.receive_some(1)
        with trio.move_on_after(0.01) as sending:
            await stream.send_all(MUCH)
        assert receiving.cancelled_caught
        assert sending.cancelled_caught


@pytest.mark.parametrize("way", ["receive_some", "send_all"])
async def test_who_is_cancelled_does_nothing(way: str) -> None:
    async with connected() as (stream, client):
        await client.send_all(b"x")
        with trio.CancelScope() as scope:
            scope.cancel()
            await getattr(stream, way)(*([b"answer"] if way == "send_all" else []))
        assert scope.cancelled_caught
        assert await stream.receive_some() == b"x"
        with trio.move_on_after(0) as nothing:
            await client.receive_some()
        assert nothing.cancelled_caught


async def test_a_connection_that_was_reset_is_broken() -> None:
    async with connected() as (stream, client):
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await client.aclose()
        with pytest.raises(trio.BrokenResourceError, match="receiving failed"):
            await stream.receive_some()
        with pytest.raises(trio.BrokenResourceError, match="sending failed"):
            await stream.send_all(b"x")
        with pytest.raises(trio.BrokenResourceError, match="ending failed"):
            await stream.send_eof()
        assert stream.receive_now(1) is None


async def test_closing_wakes_whoever_waits_and_ends_the_connection() -> None:
    async with connected() as (stream, client):
        found: list[str] = []

        async def waiting(way: str, *arguments: object) -> None:
            with pytest.raises(trio.ClosedResourceError):
                await getattr(stream, way)(*arguments)
            found.append(way)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(waiting, "receive_some")
            nursery.start_soon(waiting, "send_all", MUCH)
            await wait_all_tasks_blocked()
            await stream.aclose()
        assert sorted(found) == ["receive_some", "send_all"]
        for way, *arguments in (
            ("receive_some",),
            ("send_all", b""),
            ("send_eof",),
            ("wait_send_all_might_not_block",),
        ):
            await waiting(way, *arguments)
        await stream.aclose()
        assert stream.receive_now(1) is None
        while await client.receive_some():
            pass


async def test_it_closes_also_for_one_who_is_cancelled() -> None:
    async with connected() as (stream, client):
        await trio.aclose_forcefully(stream)
        assert await client.receive_some() == b""
