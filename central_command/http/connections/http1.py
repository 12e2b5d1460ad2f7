"""HTTP/1.1 on a connection: hypercorn's protocol class, with a shorter way for requests that repeat each other."""

from contextlib import suppress
from http import HTTPStatus
from itertools import chain
from typing import Protocol

import h11
import trio
from hypercorn.events import Closed, Event, RawData
from hypercorn.protocol import ProtocolWrapper
from hypercorn.protocol.events import Request
from hypercorn.protocol.h11 import STREAM_ID, H11Protocol
from hypercorn.protocol.http_stream import HTTPStream

from central_command.http.connections.repeated import HEAD_END, AnswerHeads, RepeatedHead, repeated_head
from central_command.http.connections.strict_parsing import StrictConnection
from central_command.http.connections.timer import ConnectionTimer
from central_command.http.requests.exchange import CORS_HEADERS, Edge
from central_command.http.requests.replies import JSON_TYPE, error

_REST_OF_BODY_S_MAX = 1.0
"""Longer than this, a body is waited for in the ordinary way, with that way's bounds and answers."""


class Source(Protocol):
    """Where a protocol finds the bytes of a body that it reads in place."""

    async def receive(self, bytes_max: int) -> bytes | None:
        """The next bytes, empty at the client's end; None when the connection is broken."""
        ...

    def receive_now(self, bytes_max: int) -> bytes | None:
        """What is there already; None when that is nothing, or cannot be known."""
        ...


class Http1Protocol(H11Protocol):
    """HTTP/1.1 and nothing else; its own refusals are JSON, and headers are written together with what follows them.

    A request that repeats the head of one before it (`repeated`) is read and answered in place:
    no parser, no task and no channel between connection and endpoint. It counts against the same bounds and limits and
    is logged alike. What it waits for is only its own answer: the next request stays in the socket until then.
    """

    connection: h11.Connection
    _held = b""

    def __init__(
        self,
        wrapper: ProtocolWrapper,
        edge: Edge,
        heads: AnswerHeads,
        timer: ConnectionTimer,
        source: Source,
    ) -> None:
        super().__init__(
            wrapper.app,
            wrapper.config,
            wrapper.context,
            wrapper.task_group,
            wrapper.state,
            wrapper.ssl,
            wrapper.client,
            wrapper.server,
            wrapper.send,
        )
        self.connection = StrictConnection(wrapper.config.h11_max_incomplete_size)
        self._edge = edge
        self._heads = heads
        self._timer = timer
        self._source = source
        self._first_bytes = b""
        self._has_begun = False
        self._repeated: RepeatedHead | None = None

    async def handle(self, event: Event) -> None:
        """Take what the connection received, or its end."""
        if isinstance(event, RawData) and event.data and self._is_between_requests():
            data = event.data
            if self._repeated is not None:
                data = await self._answer_repeated(self._repeated, data)
                if not data:
                    return
            self._first_bytes = data
            event = RawData(data=data)
        await super().handle(event)

    def _is_between_requests(self) -> bool:
        connection = self.connection
        return (
            self.stream is None
            and connection.our_state is h11.IDLE
            and connection.their_state is h11.IDLE
            and not connection.trailing_data[0]
        )

    async def _answer_repeated(self, head: RepeatedHead, data: bytes) -> bytes:
        """Answer the requests that `data` begins with, as far as they repeat `head`; return what is left for h11."""
        while data and (found := head.match(data)) is not None and self._may_go_on():
            body_start, length, scope = found
            if not self._edge.enter_in_place(length):
                break
            self._timer.idle_since = None
            began_at = trio.current_time()
            status: int | None = None
            try:
                body, data = await self._body(data, body_start, body_start + length)
                if body is None:
                    break
                self._has_begun = False
                answering = self._edge.answer_in_place(scope, body, self._write_piece)
                del body
                answered = await answering
                status = HTTPStatus.OK if answered is None else answered.status
                if answered is not None and self._has_begun:
                    await self.send(Closed())  # it failed: an answer without its end is seen to be none
                    return b""
                if answered is not None:
                    await self.send(RawData(data=self._heads.of(answered) + answered.body))
            finally:
                self._edge.leave_in_place(length)
                ended_at = trio.current_time()
                if status is not None:
                    self._edge.log_in_place(scope, status, ended_at - began_at)
            self.keep_alive_requests += 1
            self._timer.idle_since = ended_at
            if self.context.terminated.is_set():
                await self.send(Closed())
                return b""
            if data:
                # Refusals wait for nothing: who sends many at once must not keep all others waiting.
                await trio.lowlevel.checkpoint()
        return data

    async def _write_piece(self, piece: bytes, *, more: bool) -> None:
        """Write a piece of an answer whose length is not known: a chunk (RFC 9112, section 7.1)."""
        head = b"" if self._has_begun else self._heads.of_stream()
        self._has_begun = True
        chunk = b"%x\r\n%b\r\n" % (len(piece), piece) if piece else b""
        await self.send(RawData(data=b"".join((head, chunk, b"" if more else b"0\r\n\r\n"))))

    def _may_go_on(self) -> bool:
        """Whether the connection stays open after one more request: closing it is the ordinary way's."""
        return not self.context.terminated.is_set() and (
            self.keep_alive_requests + 1 < self.config.keep_alive_max_requests
        )

    async def _body(self, data: bytes, start: int, end: int) -> tuple[bytes | None, bytes]:
        """The body that stands at `start` to `end`, and what follows it; or None, and all that was received."""
        if len(data) >= end:
            return data[start:end], data[end:]
        missing = end - len(data)
        # Most clients write head and body one after the other: by now the body is here, and no scope is needed.
        at_once = self._source.receive_now(missing) or b""
        if len(at_once) == missing:
            return data[start:] + at_once, b""
        parts = [data, at_once]
        missing -= len(at_once)
        with trio.move_on_after(_REST_OF_BODY_S_MAX):
            while missing:
                part = await self._source.receive(missing)
                if not part:
                    break
                parts.append(part)
                missing -= len(part)
        if missing:
            return None, b"".join(parts)
        parts[0] = data[start:]
        return b"".join(parts), b""

    async def _send_h11_event(self, event: h11.Event) -> None:
        try:
            data = self.connection.send(event) or b""
        except h11.LocalProtocolError:
            if self.connection.their_state != h11.ERROR:
                raise
            return
        self._held += data
        if self._held and not isinstance(event, h11.Response):
            held, self._held = self._held, b""
            await self.send(RawData(data=held))

    async def _check_protocol(self, event: h11.Request) -> None:
        """Take no part in upgrades."""

    async def _create_stream(self, request: h11.Request) -> None:
        self.stream = HTTPStream(
            self.app,
            self.config,
            self.context,
            self.task_group,
            self.ssl,
            self.client,
            self.server,
            self.stream_send,
            STREAM_ID,
        )
        await self.stream.handle(
            Request(
                stream_id=STREAM_ID,
                headers=list(request.headers),
                http_version=request.http_version.decode(),
                method=request.method.decode("ascii"),
                raw_path=request.target,
                state=self.connection_state,
            )
        )
        self.keep_alive_requests += 1
        self._remember(request)

    def _remember(self, request: h11.Request) -> None:
        """Keep the head of a request that may be answered in place when it comes again."""
        end = self._first_bytes.find(HEAD_END) + len(HEAD_END)
        head, self._first_bytes = self._first_bytes[:end], b""
        assert isinstance(self.stream, HTTPStream)
        scope = self.stream.scope
        if end >= len(HEAD_END) and self._edge.is_answered_in_place(scope):
            self._repeated = repeated_head(head, request, scope, self.config.h11_max_incomplete_size)

    async def _send_error_response(self, status_code: int) -> None:
        sentence = f"The request is not valid HTTP/1.1 ({HTTPStatus(status_code).phrase})."
        reply = error(status_code, sentence)
        headers = [
            (b"content-type", JSON_TYPE.encode()),
            (b"content-length", b"%d" % len(reply.body)),
            (b"connection", b"close"),
        ]
        headers = list(chain(headers, CORS_HEADERS, self.config.response_headers("h11")))
        with suppress(h11.LocalProtocolError):  # an answer is already on its way
            await self._send_h11_event(h11.Response(status_code=status_code, headers=headers))
            await self._send_h11_event(h11.Data(data=reply.body))
            await self._send_h11_event(h11.EndOfMessage())
