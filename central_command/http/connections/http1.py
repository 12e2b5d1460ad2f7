"""HTTP/1.1 on a connection: hypercorn's protocol class, with a shorter way for requests that repeat each other.

What a client sees depends on the bytes that it sent, not on how they were cut into packets, how fast they came or which
way they took (`tests/differential/` compares them):

- One request at a time: its head when it is whole, then its body, then its answer. What stands behind it waits until
  then. Once an answer says that the connection closes, nothing behind its request is read as one (RFC 9112, section
  9.6).
- What is wrong with a body comes to the application in its place behind the body's bytes. A request that is refused for
  its head is refused all the same; where the body was wanted, the answer is the 400 or 431 of this protocol.
- A client that ends its side behind whole requests is answered, for `half_closed_s`; then it counts as gone. (What is
  answered in place is never given up: there nobody reads while an answer is made.)
- 100 Continue goes out when the application wants the body, and then always. An answer that comes instead of it closes
  the connection, because whether the body still follows is the client's choice (RFC 9110, section 10.1.1).
"""

import math
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from itertools import chain
from typing import cast

import h11
import trio
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol import ProtocolWrapper
from hypercorn.protocol.events import Body, EndBody, Request, Response
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.protocol.h11 import STREAM_ID, H11Protocol
from hypercorn.protocol.http_stream import ASGIHTTPState, HTTPStream
from hypercorn.typing import ASGIReceiveEvent, ConnectionState

from central_command.http.connections.in_place import InPlace, Source
from central_command.http.connections.received import Received
from central_command.http.connections.repeated import AnswerHeads, RepeatedHeads, repeated_head
from central_command.http.connections.strict_parsing import StrictConnection, announces_body
from central_command.http.connections.timer import ConnectionTimer
from central_command.http.requests.exchange import BODY_FAILED, CORS_HEADERS, INVITE_KEY, Edge
from central_command.http.requests.refusal_pages import RefusalPages
from central_command.http.requests.replies import GUARD_HEADERS, NO_STORE, HttpProblem, Reply, error
from central_command.http.requests.request_ids import REQUEST_ID_HEADER


class Http1Protocol(H11Protocol):
    """HTTP/1.1 and nothing else; its own refusals are JSON, and headers are written together with what follows them."""

    connection: h11.Connection
    stream: "_Stream | None"
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
        self._head_bytes_max = wrapper.config.h11_max_incomplete_size
        self.connection = StrictConnection(self._head_bytes_max)
        self._edge = edge
        self._in_place = InPlace(edge, heads, timer, source, source.write, wrapper.context.terminated.is_set)
        self._received = Received(self._head_bytes_max)
        self._client_ended = False
        self._is_closing = False
        self._reads_body = False
        self._answered = trio.Event()
        self._awaits_invitation = False
        self._repeated = RepeatedHeads()

    async def handle(self, event: Event) -> None:
        """Take what the connection received, or its end; returns when more is needed to go on."""
        if isinstance(event, RawData):
            await self.take_in(event.data)
        elif isinstance(event, Closed):
            self._is_closing = True
            self._answered.set()
            await self._close_stream()

    async def take_in(self, data: bytes) -> None:
        """Take what the connection received; nothing is its end."""
        if data:
            self._received.put(data)
        else:
            self._client_ended = True
            self._received.end()
        await self._go_on()

    async def _go_on(self) -> None:
        going_on = True
        while going_on and not self._is_closing:
            if self.stream is None:
                going_on = await self._begin_request()
            elif self._reads_body:
                going_on = await self._read_body(self.stream)
            elif self._received or self._client_ended:
                with trio.move_on_after(self._edge.settings.half_closed_s if self._client_ended else math.inf):
                    await self._answered.wait()
                going_on = self.stream is None
            else:
                going_on = False

    async def _begin_request(self) -> bool:
        """Have the next requests answered in place, or begin one of them; False when there is none yet or any more."""
        head: bytes | None = None
        try:
            has_come = self._received.skip_empty_lines()
            if has_come and self._repeated and not await self._answer_in_place():
                return False
            if (head := self._received.take_head()) is None:
                if self._client_ended:
                    await self._close()
                return False
            self.connection.receive_data(head)
            request = self.connection.next_event()
            assert isinstance(request, h11.Request)
        except h11.RemoteProtocolError as problem:
            rest = head or self._received.take()
            await self.refuse(problem.error_status_hint, lambda pages, found: pages.reply_to_head(rest, found))
            await self._close()
            return False
        await self.send(Updated(idle=False))
        await self._begin_exchange(head, request)
        return True

    async def _answer_in_place(self) -> bool:
        """Answer what repeats a head; False when nothing is there behind it, or the connection is closed then."""
        # The last request of a connection goes the ordinary way, which says so and closes.
        requests_max = self.config.keep_alive_max_requests - self.keep_alive_requests - 1
        outcome = await self._in_place.answer(self._repeated, self._received.take(), requests_max)
        self.keep_alive_requests += outcome.requests
        if outcome.requests:
            self._received.begin_request()
        if outcome.must_close:
            await self._close()
            return False
        if outcome.rest:
            self._received.put(outcome.rest)
        return bool(outcome.rest) or self._client_ended

    async def _begin_exchange(self, head: bytes, request: h11.Request) -> None:
        self._reads_body = True
        self._answered = trio.Event()
        self._awaits_invitation = self.connection.they_are_waiting_for_100_continue and announces_body(request)
        state = {INVITE_KEY: self._invite} if self._awaits_invitation else self.connection_state
        self.stream = _Stream(self)
        await self.stream.handle(
            Request(
                stream_id=STREAM_ID,
                headers=list(request.headers),
                http_version=request.http_version.decode(),
                method=request.method.decode("ascii"),
                raw_path=request.target,
                state=cast("ConnectionState", state),
            )
        )
        self.keep_alive_requests += 1
        if (
            self._edge.is_answered_in_place(self.stream.scope)
            and (seen := repeated_head(head, request, self.stream.scope, self._head_bytes_max)) is not None
        ):
            self._repeated.add(seen)

    async def _read_body(self, stream: "_Stream") -> bool:
        """Hand on what has come of the body; False when more is needed."""
        if self._received:
            self.connection.receive_data(self._received.take())
        if self._client_ended:
            self.connection.receive_data(b"")
        while self.stream is stream:
            try:
                event = self.connection.next_event()
            except h11.RemoteProtocolError as problem:
                self._reads_body = False
                await stream.fail_body(problem.error_status_hint)
                return True
            if isinstance(event, h11.Data):
                await stream.handle(Body(stream_id=STREAM_ID, data=event.data))
            elif isinstance(event, h11.EndOfMessage):
                self._reads_body = False
                self._received.put(self.connection.trailing_data[0])
                await stream.handle(EndBody(stream_id=STREAM_ID))
                return True
            else:
                return False
        return True

    async def _invite(self) -> None:
        """Tell the client that its body is wanted."""
        self._awaits_invitation = False
        headers = self.config.response_headers("h11")
        await self._send_h11_event(h11.InformationalResponse(status_code=HTTPStatus.CONTINUE, headers=headers))

    async def stream_send(self, event: StreamEvent) -> None:
        """Write what the application answers."""
        if not isinstance(event, Response):
            await super().stream_send(event)
            return
        headers = [*event.headers, *self.config.response_headers("h11")]
        if self._awaits_invitation or self.keep_alive_requests >= self.config.keep_alive_max_requests:
            headers.append((b"connection", b"close"))
        await self._send_h11_event(h11.Response(status_code=event.status_code, headers=headers))

    async def _maybe_recycle(self) -> None:
        """The answer has ended: be ready for the next request, or close."""
        has_failed = self.stream is not None and self.stream.failed_status is not None
        await self._close_stream()
        self._answered.set()
        states = {self.connection.our_state, self.connection.their_state}
        if has_failed or states != {h11.DONE} or self.context.terminated.is_set():
            await self._close()
            return
        if self._received:  # a copy of it may be in h11, which lets go of nothing
            self.connection = StrictConnection(self._head_bytes_max)
        else:
            self.connection.start_next_cycle()
        await self.send(Updated(idle=True))

    async def _close(self) -> None:
        self._is_closing = True
        await self.send(Closed())

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

    async def refuse(
        self, status_code: int, page: Callable[[RefusalPages, HttpProblem], Reply | None] = lambda _pages, _found: None
    ) -> None:
        """Answer what is no valid HTTP/1.1; the connection must then be closed. `page` is for who shows pages."""
        sentence = f"The request is not valid HTTP/1.1 ({HTTPStatus(status_code).phrase})."
        found = HttpProblem(status_code, "bad_request", sentence, (*GUARD_HEADERS, *NO_STORE))
        pages = self._edge.refusal_pages
        reply = (None if pages is None else page(pages, found)) or error(status_code, sentence)
        headers = [
            (REQUEST_ID_HEADER, self._edge.request_ids.new()),
            *reply.raw_headers(),
            (b"connection", b"close"),
        ]
        headers = list(chain(headers, CORS_HEADERS, self.config.response_headers("h11")))
        with suppress(h11.LocalProtocolError):  # an answer is already on its way
            await self._send_h11_event(h11.Response(status_code=status_code, headers=headers))
            await self._send_h11_event(h11.Data(data=reply.body))
            await self._send_h11_event(h11.EndOfMessage())


class _Stream(HTTPStream):
    """One request and its answer, as hypercorn's; where the application leaves it unanswered, the protocol answers."""

    def __init__(self, protocol: Http1Protocol) -> None:
        super().__init__(
            protocol.app,
            protocol.config,
            protocol.context,
            protocol.task_group,
            protocol.ssl,
            protocol.client,
            protocol.server,
            protocol.stream_send,
            STREAM_ID,
        )
        self._refuse = protocol.refuse
        self.failed_status: int | None = None
        """What is wrong with the body, if anything: the status of an answer that says so."""

    async def fail_body(self, status: int) -> None:
        """Tell the application, behind what came of the body, that no more of it can be read."""
        self.failed_status = status
        await self.app_put(cast("ASGIReceiveEvent", {"type": BODY_FAILED}))

    async def _send_error_response(self, status_code: int) -> None:
        path, headers = self.scope["path"], self.scope["headers"]
        await self._refuse(
            status_code if self.failed_status is None else self.failed_status,
            lambda pages, found: pages.reply(path, headers, found),
        )
        self.state = ASGIHTTPState.CLOSED
