"""A connection that takes time: passes bytes on to a port of this machine, each way half of a round trip later.

`python -m bench.delay PORT ROUND_TRIP_MS` prints the port it listens on, and runs until it is killed. Bytes are held
back, not slowed down: as many as fit a socket's buffers may be under way.
"""

import sys
from contextlib import suppress
from functools import partial
from typing import Final

import trio

PIECE_BYTES: Final = 65_536
UNDER_WAY_MAX: Final = 1_024
"""Pieces of one direction that are held back at most."""


async def relay(port: int, delay_s: float, near: trio.SocketStream) -> None:
    """Serve one connection."""
    async with near, await trio.open_tcp_stream("127.0.0.1", port) as far, trio.open_nursery() as nursery:
        for source, target in ((near, far), (far, near)):
            held, ready = trio.open_memory_channel[tuple[float, bytes]](UNDER_WAY_MAX)
            nursery.start_soon(_receive, source, held, delay_s)
            nursery.start_soon(_send, ready, target)


async def _receive(
    source: trio.SocketStream, held: trio.MemorySendChannel[tuple[float, bytes]], delay_s: float
) -> None:
    async with held:
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            while piece := await source.receive_some(PIECE_BYTES):
                await held.send((trio.current_time() + delay_s, piece))


async def _send(ready: trio.MemoryReceiveChannel[tuple[float, bytes]], target: trio.SocketStream) -> None:
    async with ready:
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            async for due, piece in ready:
                await trio.sleep_until(due)
                await target.send_all(piece)
            await target.send_eof()


async def serve(port: int, delay_s: float) -> None:
    """Listen on a free port until killed."""
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    print(listener.socket.getsockname()[1], flush=True)
    await trio.serve_listeners(partial(relay, port, delay_s), [listener])


if __name__ == "__main__":
    trio.run(serve, int(sys.argv[1]), float(sys.argv[2]) / 2_000)
