"""Requests that repeat the head of one before them (`repeated`), read and answered where they stand.

No parser, no task and no channel between connection and endpoint. Such a request counts against the same bounds and
limits as any other, and is logged and counted alike. What it waits for is only its own answer: the next one stays in
the socket until then.
"""

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Protocol

import msgspec
import trio

from central_command.http.connections.repeated import AnswerHeads, RepeatedHeads, identified
from central_command.http.connections.timer import ConnectionTimer
from central_command.http.requests.exchange import Edge, Visit
from central_command.http.requests.replies import Reply
from central_command.process.logs import REQUEST_ID

_REST_OF_BODY_S_MAX = 1.0
"""Longer than this, a body is waited for in the ordinary way, with that way's bounds and answers."""


class Source(Protocol):
    """A connection: where the bytes of a body are found, and those of an answer are written."""

    async def receive(self, bytes_max: int) -> bytes | None:
        """The next bytes, empty at the client's end; None when the connection is broken."""
        ...

    def receive_now(self, bytes_max: int) -> bytes | None:
        """What is there already; None when that is nothing, or cannot be known."""
        ...

    async def write(self, data: bytes) -> None:
        """Write bytes: takes as long as the client takes to accept them."""
        ...


class AnsweredInPlace(msgspec.Struct, frozen=True):
    """How many requests were answered, what is left for the ordinary way, and whether the connection ends here."""

    requests: int
    rest: bytes
    must_close: bool = False


class InPlace:
    """Answers in place on one connection; `write` writes to it, and `is_terminated` says that the server ends."""

    def __init__(
        self,
        edge: Edge,
        heads: AnswerHeads,
        timer: ConnectionTimer,
        source: Source,
        write: Callable[[bytes], Awaitable[None]],
        is_terminated: Callable[[], bool],
    ) -> None:
        self._edge = edge
        self._heads = heads
        self._timer = timer
        self._source = source
        self._write = write
        self._is_terminated = is_terminated
        self._has_begun = False
        self._request_id = b""

    async def answer(self, seen: RepeatedHeads, data: bytes, requests_max: int) -> AnsweredInPlace:
        """Answer the requests that `data` begins with, as far as they repeat heads, at most `requests_max`."""
        requests = 0
        while data and requests < requests_max and not self._is_terminated():
            found = seen.match(data)
            if found is None:
                break
            body_start, length, scope, has_id = found
            visit = self._edge.enter_in_place(scope, length)
            if visit is None:
                break
            self._timer.idle_since = None
            began_at = self._timer.now()
            self._request_id = self._edge.request_ids.of(scope) if has_id else self._edge.request_ids.new()
            REQUEST_ID.set(self._request_id)
            status: int | None = None
            answered: Reply | None = None
            try:
                body, data = await self._body(data, body_start, body_start + length, visit)
                if body is None:
                    break
                self._has_begun = False
                answering = self._edge.answer_in_place(visit, body, self._write_piece)
                del body
                answered = await answering
                status = HTTPStatus.OK if answered is None else answered.status
                if answered is not None and self._has_begun:
                    # It failed: an answer without its end is seen to be none.
                    return AnsweredInPlace(requests, b"", must_close=True)
                if answered is not None:
                    await self._write(identified(self._heads.of(answered), self._request_id, answered.body))
            finally:
                visit.leave()
                ended_at = self._timer.now()
                if status is not None:
                    code = "" if answered is None else answered.code
                    self._edge.log_in_place(scope, status, ended_at - began_at, code)
                REQUEST_ID.set(b"")
            requests += 1
            self._timer.idle_since = ended_at
            if self._is_terminated():
                return AnsweredInPlace(requests, b"", must_close=True)
            if data:
                # Refusals wait for nothing: who sends many at once must not keep all others waiting.
                await trio.lowlevel.checkpoint()
        return AnsweredInPlace(requests, data)

    async def _write_piece(self, piece: bytes, *, more: bool) -> None:
        """Write a piece of an answer whose length is not known: a chunk (RFC 9112, section 7.1)."""
        head = b"" if self._has_begun else identified(self._heads.of_stream(), self._request_id)
        self._has_begun = True
        chunk = b"%x\r\n%b\r\n" % (len(piece), piece) if piece else b""
        await self._write(b"".join((head, chunk, b"" if more else b"0\r\n\r\n")))

    async def _body(self, data: bytes, start: int, end: int, visit: Visit) -> tuple[bytes | None, bytes]:
        """The body that stands at `start` to `end`, and what follows it; or None, and all that was received.

        None is also for a body that there is no room for, or that is not there while its address has no budget left.
        """
        if not visit.hold(min(len(data), end) - start):
            return None, data
        if len(data) >= end:
            return data[start:end], data[end:]
        missing = end - len(data)
        # Most clients write head and body one after the other: by now the body is here, and no scope is needed.
        at_once = self._source.receive_now(missing) or b""
        if not visit.hold(len(at_once)):
            return None, data + at_once
        if len(at_once) == missing:
            return data[start:] + at_once, b""
        if not visit.may_wait:
            return None, data + at_once
        parts = [data, at_once]
        missing -= len(at_once)
        with trio.move_on_after(_REST_OF_BODY_S_MAX):
            while missing:
                part = await self._source.receive(missing)
                if not part:
                    break
                parts.append(part)
                missing -= len(part)
                if not visit.hold(len(part)):
                    return None, b"".join(parts)
        if missing:
            return None, b"".join(parts)
        parts[0] = data[start:]
        return b"".join(parts), b""
