"""Agents as the published clients drive them: what they repeat, what they give up, and how they count on.

Facts about those clients, from the decisions on the contract: a queue sends one envelope at a time; any 2xx counts as
delivered, whatever its body says; anything else, a time-out or a broken connection is repeated with the same bytes
after 1, 2, 4, 8 and 16 s, and then the envelope is dropped; the sequence is counted up for every envelope that is
signed, whatever becomes of it. At the end come the last chunk, SESSION_CLOSE and feedback, and when the queue is empty
a close by HTTP, which is tried once.
"""

import json
import socket
from collections.abc import Sequence
from contextlib import suppress
from random import Random
from typing import Any, Self

import h11
import msgspec
import trio

from tests.server_process import CLOSE, INGEST, OPEN
from tests.signing_client import SigningClient, dumps

RETRY_DELAYS_S = (1.0, 2.0, 4.0, 8.0, 16.0)
INGEST_TIMEOUT_S = 30.0
SESSION_TIMEOUT_S = 10.0
RECEIVE_BYTES = 65_536


class Connection:
    """One connection from a loopback address of its own, made anew when it breaks; one request at a time."""

    def __init__(self, port: int, *, source: str = "127.0.0.1") -> None:
        self._port = port
        self._source = source
        self.forwarded_for: str | None = None
        """What a proxy in front of the server would say of the client's address."""
        self._socket: trio.socket.SocketType | None = None
        self._protocol = h11.Connection(our_role=h11.CLIENT)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close it; the next request makes a new one."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    async def request(self, method: str, path: str, body: bytes = b"") -> tuple[int, dict[str, Any]]:
        """Send one request and return status and JSON of its answer; OSError when the connection breaks."""
        try:
            return await self._request(method, path, body)
        except h11.ProtocolError as error:
            self.close()
            raise ConnectionError("the answer broke off") from error
        except BaseException:
            self.close()
            raise

    async def _request(self, method: str, path: str, body: bytes) -> tuple[int, dict[str, Any]]:
        if self._socket is None:
            await self._connect()
        assert self._socket is not None
        head = [("Host", "localhost"), ("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
        if self.forwarded_for is not None:
            head.append(("X-Forwarded-For", self.forwarded_for))
        data = self._protocol.send(h11.Request(method=method, target=path, headers=head)) or b""
        data += self._protocol.send(h11.Data(data=body)) or b""
        self._protocol.send(h11.EndOfMessage())
        view = memoryview(data)
        while view:
            view = view[await self._socket.send(view) :]
        answer = await self._answer(self._socket)
        if self._protocol.our_state is h11.DONE and self._protocol.their_state is h11.DONE:
            self._protocol.start_next_cycle()
        else:
            self.close()
        return answer

    async def _answer(self, connected: trio.socket.SocketType) -> tuple[int, dict[str, Any]]:
        status, received = 0, bytearray()
        while True:
            event = self._protocol.next_event()
            if event is h11.NEED_DATA:
                self._protocol.receive_data(await connected.recv(RECEIVE_BYTES))
            elif isinstance(event, h11.Response):
                status = event.status_code
            elif isinstance(event, h11.Data):
                received += event.data
            elif isinstance(event, h11.EndOfMessage):
                return status, json.loads(bytes(received)) if received else {}
            elif isinstance(event, h11.ConnectionClosed):
                raise ConnectionError("the server closed the connection")

    async def _connect(self) -> None:
        self._protocol = h11.Connection(our_role=h11.CLIENT)
        connection = trio.socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await connection.bind((self._source, 0))
            await connection.connect(("127.0.0.1", self._port))
        except BaseException:
            connection.close()
            raise
        self._socket = connection


class Made(msgspec.Struct):
    """What one agent made, and what its client believes became of it; `answers` counts statuses and refusal codes."""

    session_id: str
    opened: bool = False
    envelopes: int = 0
    steps: int = 0
    steps_delivered: int = 0
    dropped: int = 0
    close_delivered: bool = False
    answers: dict[str, int] = {}


class PublishedAgent:
    """One session of one agent, from its opening to its end."""

    def __init__(self, name: str, port: int, *, source: str, random: Random) -> None:
        self._client = SigningClient(f"sess_{name}", contributor_id=f"{random.getrandbits(128):032x}")
        self._connection = Connection(port, source=source)
        self._random = random
        self.made = Made(self._client.session_id)

    async def run(self, *, chunks: int, steps: int, pause_s: float) -> None:
        """Open, send so many chunks with about `pause_s` between the making of two, and end the session."""
        async with self._connection:
            if not await self._open():
                return
            send, receive = trio.open_memory_channel[tuple[bytes, int]](chunks + 2)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._drain, receive)
                async with send:
                    for _ in range(chunks):
                        await trio.sleep(pause_s * self._random.uniform(0.5, 1.5))
                        await send.send((self._chunk(steps), steps))
                    await send.send((self._client.close(), 0))
                    await send.send((self._client.feedback(), 0))
            body = dumps({"session_id": self.made.session_id}).encode()
            with trio.move_on_after(SESSION_TIMEOUT_S), suppress(OSError):
                await self._connection.request("POST", CLOSE, body)

    def _chunk(self, steps: int) -> bytes:
        log = [self._client.step(content=f"{self._random.random()} " * 20) for _ in range(steps)]
        return self._client.chunk_of(log)

    async def _open(self) -> bool:
        body = dumps(self._client.opening()).encode()
        answer = await self._delivered(OPEN, body, SESSION_TIMEOUT_S)
        if answer is None:
            return False
        self._client.opened(answer["server_public_key"])
        self.made.opened = True
        return True

    async def _drain(self, queue: trio.MemoryReceiveChannel[tuple[bytes, int]]) -> None:
        async for body, steps in queue:
            self.made.envelopes += 1
            self.made.steps += steps
            answer = await self._delivered(INGEST, body, INGEST_TIMEOUT_S)
            if answer is None:
                self.made.dropped += 1
                continue
            self.made.steps_delivered += steps
            self.made.close_delivered |= b'"SESSION_CLOSE"' in body[:200]

    async def _delivered(self, path: str, body: bytes, timeout_s: float) -> dict[str, Any] | None:
        """Send until a 2xx comes or the client gives up."""
        for delay_s in (*RETRY_DELAYS_S, None):
            with trio.move_on_after(timeout_s):
                try:
                    status, members = await self._connection.request("POST", path, body)
                except OSError as error:
                    self._count(type(error).__name__)
                else:
                    self._count(str(members.get("code", status)))
                    if 200 <= status < 300:
                        return members
            if delay_s is not None:
                await trio.sleep(delay_s)
        return None

    def _count(self, what: str) -> None:
        self.made.answers[what] = self.made.answers.get(what, 0) + 1


async def run_fleet(agents: Sequence[PublishedAgent], *, start_s: float, **session: Any) -> None:
    """Run agents side by side, their starts spread over `start_s`."""

    async def later(agent: PublishedAgent, delay_s: float) -> None:
        await trio.sleep(delay_s)
        await agent.run(**session)

    async with trio.open_nursery() as nursery:
        for index, agent in enumerate(agents):
            nursery.start_soon(later, agent, start_s * index / len(agents))
