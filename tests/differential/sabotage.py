"""Differences planted on purpose: the comparison must notice each of them."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any
from unittest import mock

import h11

from central_command.http.connections import repeated
from central_command.http.connections.http1 import Http1Protocol
from central_command.http.connections.received import Received
from central_command.http.connections.repeated import AnswerHeads, RepeatedHead
from central_command.http.connections.strict_parsing import StrictConnection
from central_command.http.requests.exchange import Edge
from central_command.http.requests.limits import FREE, Charge


def _octal_length() -> Any:
    """A length with a zero before it is read in another way in place."""
    match = RepeatedHead.match

    def other(head: RepeatedHead, data: bytes) -> Any:
        found = match(head, data)
        if found is None or not re.search(rb"(?i)\r\ncontent-length:[ \t]*0\d", data[: found[0]]):
            return found
        return found[0], found[1] + 1, found[2]

    return mock.patch.object(RepeatedHead, "match", other)


def _no_cors_in_place() -> Any:
    """Answers in place lack a header."""
    return mock.patch.object(repeated, "CORS_HEADERS", repeated.CORS_HEADERS[:1])


def _other_answer_in_place() -> Any:
    """Answers of one status have other headers in place."""
    of = AnswerHeads.of

    def other(heads: AnswerHeads, reply: Any) -> bytes:
        head = of(heads, reply)
        return head.replace(b"retry-after", b"x-retry-after") if reply.status == HTTPStatus.TOO_MANY_REQUESTS else head

    return mock.patch.object(AnswerHeads, "of", other)


def _connection_varies() -> Any:
    """What must be the same in each repeated head is not compared."""
    return mock.patch.object(repeated, "_NEVER_VARIES", frozenset())


def _unlimited_in_place() -> Any:
    """What is answered in place does not count against its address."""

    answer = Edge.answer_in_place

    async def unlimited(edge: Edge, visit: Any, body: bytes, write: Any) -> Any:
        if isinstance(visit._charge, Charge):
            visit._charge.give_back()
        visit._charge = FREE
        return await answer(edge, visit, body, write)

    return mock.patch.object(Edge, "answer_in_place", unlimited)


def _bound_of_incomplete_heads_only() -> Any:
    """The bound of a head holds only until its end has come."""
    take_head = Received.take_head

    def other(received: Received) -> Any:
        if b"\r\n\r\n" not in received._bytes[:4_000]:
            return take_head(received)
        with mock.patch.object(received, "_head_bytes_max", 4_000):
            return take_head(received)

    return mock.patch.object(Received, "take_head", other)


def _bound_of_incomplete_lines_only() -> Any:
    """The bound of what stands between chunks holds only until its end has come, as h11 has it."""
    return mock.patch.object(StrictConnection, "_count", return_value=None)


def _body_fails_at_once() -> Any:
    """What is wrong with a body is answered when it is found, whatever the application is about to answer."""

    async def other(protocol: Http1Protocol, stream: Any) -> bool:
        try:
            return await read_body(protocol, stream)
        finally:
            if stream.failed_status is not None and protocol.connection.our_state is h11.SEND_RESPONSE:
                await protocol.refuse(stream.failed_status)
                await protocol._close()

    read_body = Http1Protocol._read_body
    return mock.patch.object(Http1Protocol, "_read_body", other)


def _bytes_behind_the_last_request_are_refused() -> Any:
    """What stands behind a request that closes its connection is answered 400, if it comes before the answer."""
    go_on = Http1Protocol._go_on

    async def other(protocol: Http1Protocol) -> None:
        is_answered = protocol.stream is not None and not protocol._reads_body
        if is_answered and protocol._received and protocol.connection.their_state is h11.MUST_CLOSE:
            await protocol.refuse(HTTPStatus.BAD_REQUEST)
            await protocol._close()
        await go_on(protocol)

    return mock.patch.object(Http1Protocol, "_go_on", other)


def _invitation_by_timing() -> Any:
    """100 Continue is left out when the body has come by then."""
    invite = Http1Protocol._invite

    async def other(protocol: Http1Protocol) -> None:
        if protocol._reads_body:
            await invite(protocol)
        protocol._awaits_invitation = False

    return mock.patch.object(Http1Protocol, "_invite", other)


def _half_closed_is_gone() -> Any:
    """A client that ends its side counts as gone at once."""
    go_on = Http1Protocol._go_on

    async def other(protocol: Http1Protocol) -> None:
        if not protocol._client_ended or protocol.stream is None or protocol._reads_body:
            await go_on(protocol)

    return mock.patch.object(Http1Protocol, "_go_on", other)


SABOTAGES: dict[str, Callable[[], Any]] = {
    name.removeprefix("_").replace("_", " "): plant
    for name, plant in tuple(globals().items())
    if name.startswith("_") and callable(plant) and getattr(plant, "__module__", "") == __name__
}


@contextmanager
def sabotaged(name: str | None) -> Iterator[None]:
    """Plant one of these, or none."""
    if name is None:
        yield
        return
    with SABOTAGES[name]():
        yield
