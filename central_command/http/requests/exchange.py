"""One request and its answer, seen from the outside: between the server (hypercorn) and the framework (Quart).

Here is what must hold for every exchange, whatever the framework does with it:

- It counts against the bounds of memory from its first byte to its last (`admission`) and against the budget of its
  address (`limits`), which is asked before its body is awaited; and it is logged and counted once, when it is answered.
- Every answer carries the CORS header and the request's id, and there is an answer even when the framework fails.
- An answer may be ready while the client is still sending its body (413, 429, ...). Closing then would reset the
  connection, and the client would see the reset instead of the answer. So the answer goes out whole, the rest of the
  body is read and dropped, within bounds of time and bytes, and only then the exchange ends.
- What is refused for its head is refused so whether or not its body comes, and is whole: nothing asks for the body
  before it is known to be wanted, and a body that fails ends only those requests that wanted it.
- Once the answer is out, the framework is not told of the server's `http.disconnect`: quart-trio would cancel the task
  that is still ending the exchange, and with it the server's timer for idle connections, which would then stay forever.
"""

import logging
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from functools import partial
from http import HTTPStatus
from typing import cast
from urllib.parse import urlsplit

import msgspec
import trio
from hypercorn.typing import ASGIReceiveCallable, ASGIReceiveEvent, ASGISendCallable, ASGISendEvent, HTTPScope, Scope

from central_command.http.gateway import Gateway
from central_command.http.requests.addresses import ClientKeys, Front
from central_command.http.requests.admission import Admission, BodyPermit
from central_command.http.requests.cookies import cookie_in
from central_command.http.requests.direct import (
    UNSUPPORTED_ENCODING,
    DirectEndpoint,
    ReceivedBody,
    StreamEndpoint,
    WritePiece,
    body_too_large,
    body_too_slow,
    declared_length,
    is_encoded,
)
from central_command.http.requests.first_bytes import FIRST_BYTES, session_in
from central_command.http.requests.limits import FREE, AddressLimits, Charge
from central_command.http.requests.refusal_pages import RefusalPages
from central_command.http.requests.replies import (
    BATCH_PATH,
    CLOSE_PATH,
    INGEST_PATH,
    INTERNAL_ERROR,
    NDJSON_TYPE,
    PROBE_PATHS,
    HttpProblem,
    Replies,
    Reply,
    guard_headers,
    problem,
)
from central_command.http.requests.request_figures import NO_ROUTE, RequestFigures, code_of
from central_command.http.requests.request_ids import REQUEST_ID_HEADER, RequestIds
from central_command.http.requests.request_log import CLIENT_GONE, RequestLog, printable
from central_command.http.settings import HttpSettings
from central_command.process.logs import REQUEST_ID

Application = Callable[[Scope, ASGIReceiveCallable, ASGISendCallable], Awaitable[None]]
RawHeaders = list[tuple[bytes, bytes]]

EXCHANGE_KEY = "central_command.exchange"
"""Where the framework's request finds its exchange, in the ASGI scope."""

INVITE_KEY = "central_command.invite_body"
"""Where an exchange finds, in the state of its scope, what tells the client to send the body (100 Continue)."""

BODY_FAILED = "central_command.body_failed"
"""The type of the message that stands in the place of a body's rest which does not come or is malformed."""

SESSION_PATHS = frozenset({INGEST_PATH, BATCH_PATH, CLOSE_PATH})
"""Where the body says whose session it is about, and the work is done whether or not anybody waits for it."""

WRITTEN_BYTES = 1_048_576
"""How much of an answer is written at once."""

CORS_HEADERS: RawHeaders = [
    (b"access-control-allow-origin", b"*"),
    (b"access-control-expose-headers", b"Retry-After, X-Request-Id"),
]

logger = logging.getLogger("central_command.http")


class Exchange:
    """Carries one request to the framework and its answer back."""

    def __init__(self, scope: HTTPScope, receive: ASGIReceiveCallable, send: ASGISendCallable, edge: "Edge") -> None:
        self._scope = scope
        self._receive_raw = receive
        self._send_raw = send
        self._edge = edge
        self.address = edge.addresses.of(scope)
        self._permit = edge.admission.permit(self.address)
        self._read_ahead: deque[ASGIReceiveEvent] = deque()
        self.charge: Charge = FREE
        self._received_bytes = 0
        self._received_at_answer = 0
        self._body_ended = trio.Event()
        self._body_wanted = trio.Event()
        self._invite: Callable[[], Awaitable[None]] | None = scope.get("state", {}).get(INVITE_KEY)
        self._client_gone = False
        self._status: int | None = None
        self._answered_at: float | None = None
        self._id = edge.request_ids.of(scope)
        self.route: str | None = None
        """The endpoint's route, once the framework knows it; `NO_ROUTE` where it finds none."""
        self.refusal_code = ""
        """What the answer says that it is a refusal for, if it does."""

    def __repr__(self) -> str:
        method, path = self._scope["method"], printable(self._scope["path"])
        return f"<Exchange {method} {path} status={self._status} received={self._received_bytes} bytes>"

    @property
    def front(self) -> Front:
        """How the client names this server."""
        return self._edge.addresses.front(self._scope)

    @property
    def limits(self) -> AddressLimits:
        """What all addresses have left."""
        return self._edge.limits

    async def run(self, application: Application) -> None:
        """Have the request answered; raises nothing but cancellation."""
        began_at = trio.current_time()
        REQUEST_ID.set(self._id)
        path = _path(self._scope)
        counted = path not in PROBE_PATHS
        entered = counted and self._edge.admission.enter(self.address)
        try:
            refused = self._refusal(path, admitted=entered or not counted)
            if refused is None and counted and self._scope["method"] != "OPTIONS":
                refused = await self._take_charge(path or "")
            endpoint = self._endpoint(path or "") if self._scope["method"] == "POST" else None
            if refused is not None:
                await self._refuse(self._edge.refusal(self._scope, path or "", refused))
            elif endpoint is not None:
                await self._guarded(partial(self._answer_directly, endpoint, path or ""), path or "")
            else:
                scope = cast("HTTPScope", {**self._scope, "path": path, EXCHANGE_KEY: self})
                await self._guarded(partial(application, scope, self.receive, self.send), path or "")
        finally:
            if entered:
                self._edge.admission.leave(self.address)
            self._permit.release()
            ended_at = trio.current_time() if self._answered_at is None else self._answered_at
            self._note(path or "", ended_at - began_at)

    def hold(self, count_bytes: int) -> bool:
        """Take bytes of the body into memory until the exchange ends, or say that there is no room."""
        return self._permit.hold(count_bytes)

    async def want_body(self) -> HttpProblem | None:
        """Have the body sent, also by a client that waits to be told so; or say what refuses it before it is read."""
        if is_encoded(self._scope):
            return UNSUPPORTED_ENCODING
        settings, may_be_large = self._edge.settings, _path(self._scope) == INGEST_PATH
        bytes_max = settings.body_bytes_hard_max if may_be_large else settings.body_bytes_max
        if declared_length(self._scope) > bytes_max:
            return body_too_large(settings, hard=may_be_large)
        await self._ask_for_body()
        return None

    async def _ask_for_body(self) -> None:
        self._body_wanted.set()
        if self._invite is not None:
            invite, self._invite = self._invite, None
            await invite()

    def refuse_body(self) -> None:
        """Want no more of the body: what is wrong with its rest does not matter to the answer."""
        self._body_wanted = trio.Event()

    async def receive(self) -> ASGIReceiveEvent:
        """The framework's `receive`: the body as it comes, and the client's going away while it matters."""
        while True:
            message = self._read_ahead.popleft() if self._read_ahead else await self._receive_raw()
            if message["type"] == BODY_FAILED:
                self._body_ended.set()
                await self._body_wanted.wait()  # a request that is refused for its head has its answer all the same
                self._client_gone = True
                return {"type": "http.disconnect"}
            if message["type"] == "http.disconnect":
                self._body_ended.set()
                if self._answered_at is not None:
                    await trio.sleep_forever()
                self._client_gone = True
                return message
            if message["type"] != "http.request":
                return message
            self._received_bytes += len(message["body"])
            if not message["more_body"]:
                self._body_ended.set()
            if self._answered_at is None:
                return message
            if self._received_bytes - self._received_at_answer > self._edge.settings.linger_bytes_max:
                self._body_ended.set()

    async def send(self, message: ASGISendEvent) -> None:
        """The framework's `send`: completes the headers, and ends the exchange only when the body has ended too."""
        if message["type"] == "http.response.start":
            self._status = message["status"]
            headers = [(REQUEST_ID_HEADER, self._id), *message["headers"], *CORS_HEADERS]
            await self._send_raw({**message, "headers": headers})
            return
        if message["type"] == "http.response.body" and not message["more_body"]:
            if not self._body_ended.is_set():
                if message["body"]:
                    await self._send_raw({**message, "more_body": True})
                message = {**message, "body": b""}
            self._answered_at = trio.current_time()
            self._received_at_answer = self._received_bytes
            # A client that was not told to send its body may never do so: the connection is closed without it.
            if not self._body_ended.is_set() and self._invite is None:
                with trio.move_on_after(self._edge.settings.linger_s):
                    await self._body_ended.wait()
        await self._send_raw(message)

    async def _guarded(self, answer: Callable[[], Awaitable[None]], path: str) -> None:
        """Answer, and answer 500 where that fails before anything was sent."""
        try:
            await answer()
        except Exception:
            logger.exception("%s %s failed.", self._scope["method"], printable(self._scope["path"]))
        if self._status is None and not self._client_gone:
            failed = HttpProblem(500, "internal_error", INTERNAL_ERROR)
            await self._refuse(self._edge.refusal(self._scope, path, failed))

    async def _take_charge(self, path: str) -> HttpProblem | None:
        """Take the request from its address's budget, or else from its session's or browser's; or return the 429."""
        taken = self._edge.limits.take(self.address, path)
        if isinstance(taken, HttpProblem):
            taken = await self._take_own(path) or taken
        if isinstance(taken, HttpProblem):
            self.refuse_body()
            return taken
        self.charge = taken
        return None

    async def _take_own(self, path: str) -> Charge | None:
        """Take the request from a budget beside its address's, which has nothing left; None where there is none.

        A browser's is for what the framework answers: the other endpoints have budgets of sessions, or of their own.
        """
        limits, is_post = self._edge.limits, self._scope["method"] == "POST"
        if is_post and path in SESSION_PATHS:
            if not limits.sessions.is_any_at(self.address):
                return None
            return limits.take_for_session(self.address, session_in(await self._first_bytes()))
        if self._endpoint(path) is not None or not limits.browsers.is_any_at(self.address):
            return None
        cookie = cookie_in(self._scope["headers"], is_secure=self.front.is_secure)
        return limits.take_for_browser(self.address, cookie)

    async def _first_bytes(self) -> bytes:
        """The body's first bytes, as many as come within `linger_s`; `receive` hands them out again."""
        await self._ask_for_body()
        first = b""
        with trio.move_on_after(self._edge.settings.linger_s):
            while len(first) < FIRST_BYTES:
                message = await self._receive_raw()
                self._read_ahead.append(message)
                if message["type"] != "http.request":
                    break
                first += message["body"][:FIRST_BYTES]
                if not message["more_body"]:
                    break
        return first

    def _endpoint(self, path: str) -> Callable[[ReceivedBody], Awaitable[Reply | None]] | None:
        streaming = self._edge.streaming.get(path)
        return self._edge.direct.get(path) if streaming is None else partial(streaming, self._write_piece)

    async def _answer_directly(self, endpoint: Callable[[ReceivedBody], Awaitable[Reply | None]], path: str) -> None:
        """Read the body within its bounds, have it answered, and stop when the client goes away meanwhile."""
        body = await self.want_body() or await self._body(path)
        if isinstance(body, HttpProblem):
            self.refuse_body()
            await self._refuse(problem(path, body))
        elif body is not None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._drain, nursery.cancel_scope)
                answering = endpoint(self._handed_over(body))
                del body  # a batch takes it apart, and both would be held
                if (reply := await answering) is not None:
                    await self._write(reply)
                nursery.cancel_scope.cancel()

    def _handed_over(self, text: bytes) -> ReceivedBody:
        """The body for its endpoint; from now on its memory is counted for as long as anyone has it."""
        permit, self._permit = self._permit, self._edge.admission.permit(self.address)
        return ReceivedBody(text, self.address, permit, self.charge)

    async def _body(self, path: str) -> bytes | HttpProblem | None:
        """The whole body; or what is wrong with it; None when the client went away."""
        settings = self._edge.settings
        if declared_length(self._scope) > settings.body_bytes_max:
            refused = await self._let_large_body_in(path, None)
            if refused is not None:
                return refused
        parts: list[bytes] = []
        with trio.move_on_after(settings.body_timeout_s):
            while True:
                message = await self.receive()
                if message["type"] != "http.request":
                    return None
                if not self.hold(len(message["body"])):
                    return self._edge.replies.bodies_full()
                parts.append(message["body"])
                if self._received_bytes > settings.body_bytes_max:
                    refused = await self._let_large_body_in(path, parts)
                    if refused is not None:
                        return refused
                if not message["more_body"]:
                    return parts[0] if len(parts) == 1 else b"".join(parts)
        return body_too_slow(settings)

    async def _let_large_body_in(self, path: str, parts: list[bytes] | None) -> HttpProblem | None:
        """Let more than `body_bytes_max` come from a session that is open; or return what is wrong with that.

        Only one envelope may be so large. Its first bytes, of which nothing was read yet when there are no `parts`,
        say whose it is.
        """
        settings = self._edge.settings
        length = max(declared_length(self._scope), self._received_bytes)
        if path != INGEST_PATH:
            return body_too_large(settings)
        if length > settings.body_bytes_hard_max:
            return body_too_large(settings, hard=True)
        if self._permit.is_large:
            return None
        session_id = session_in(await self._first_bytes() if parts is None else _beginning(parts))
        if session_id is None or not await self._edge.gateway.is_open(session_id):
            return body_too_large(settings)
        return None if self._permit.become_large() else self._edge.replies.large_bodies_full()

    def _refusal(self, path: str | None, *, admitted: bool) -> HttpProblem | None:
        """What keeps the request from the framework, if anything."""
        if self._scope["http_version"] not in self._edge.http_versions:
            sentence = "This version of HTTP is not supported; use HTTP/1.1."
            return HttpProblem(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "http_version", sentence)
        if path is None:
            return HttpProblem(HTTPStatus.BAD_REQUEST, "bad_request", "The request's target is no path.")
        if not admitted:
            return self._edge.replies.overloaded("overloaded", "The server handles too many requests; come back later.")
        return None

    async def _refuse(self, reply: Reply) -> None:
        """Answer without the framework, reading what comes so that the server is never kept waiting."""
        if guards := guard_headers(_path(self._scope) or ""):
            reply = msgspec.structs.replace(reply, headers=(*reply.headers, *guards))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._drain, nursery.cancel_scope)
            await self._write(reply)
            nursery.cancel_scope.cancel()

    async def _write(self, reply: Reply) -> None:
        self.refusal_code = reply.code
        await self.send({"type": "http.response.start", "status": reply.status, "headers": reply.raw_headers()})
        # Piece by piece, as each has its own time: a client may take long for a large answer, and still take it.
        last = max(0, len(reply.body) - 1) // WRITTEN_BYTES * WRITTEN_BYTES
        for start in range(0, last, WRITTEN_BYTES):
            piece = reply.body[start : start + WRITTEN_BYTES]
            await self.send({"type": "http.response.body", "body": piece, "more_body": True})
        await self.send({"type": "http.response.body", "body": reply.body[last:], "more_body": False})

    async def _write_piece(self, piece: bytes, *, more: bool) -> None:
        if self._status is None:
            headers = [(b"content-type", NDJSON_TYPE.encode())]
            await self.send({"type": "http.response.start", "status": HTTPStatus.OK, "headers": headers})
        await self.send({"type": "http.response.body", "body": piece, "more_body": more})

    async def _drain(self, on_disconnect: trio.CancelScope) -> None:
        while (await self.receive())["type"] != "http.disconnect":
            pass
        on_disconnect.cancel()

    def _note(self, path: str, duration_s: float) -> None:
        """Write the request's line and count it: it is answered."""
        status, method = self._logged_status(), self._scope["method"]
        self._edge.log.write(method, self._scope["path"], status, duration_s)
        route = self.route if self.route is not None else path if path in self._edge.fixed_routes else NO_ROUTE
        self._edge.figures.answered(method, route, status, duration_s)
        if self._status is not None and path not in PROBE_PATHS:  # what a probe says of the server is no refusal
            self._edge.figures.refused((self.refusal_code or code_of(self._status),))

    def _logged_status(self) -> int:
        if self._answered_at is None and self._client_gone:
            return CLIENT_GONE
        # Without a status the exchange was cut off by the end of the server.
        return HTTPStatus.SERVICE_UNAVAILABLE if self._status is None else self._status


class Visit:
    """A request that is answered in place: its place among all, the memory of its body, what it costs its address.

    Where the address has no budget left, only a body that is there already is looked at: it may be a known session's.
    """

    __slots__ = ("_charge", "_edge", "_permit", "address", "scope")

    def __init__(self, edge: "Edge", scope: HTTPScope, address: str) -> None:
        self.scope = scope
        self._edge = edge
        self.address = address
        self._permit: BodyPermit | None = BodyPermit(edge.admission, address)
        self._charge: Charge | HttpProblem | None = edge.limits.take(address, scope["path"])

    @property
    def may_wait(self) -> bool:
        """Whether its body is waited for."""
        return isinstance(self._charge, Charge)

    def hold(self, count_bytes: int) -> bool:
        """Take bytes of the body in, or say that there is no room for them."""
        return self._permit is not None and self._permit.hold(count_bytes)

    def handed_over(self) -> BodyPermit | None:
        """The permit, which from now on is whoever's the body is."""
        permit, self._permit = self._permit, None
        return permit

    def charge_for(self, body: bytes) -> Charge | HttpProblem:
        """What the request costs, or the 429; once."""
        charge, self._charge = self._charge, None
        assert charge is not None
        if isinstance(charge, HttpProblem):
            return self._edge.limits.take_for_session(self.address, session_in(body)) or charge
        return charge

    def leave(self) -> None:
        """The request has ended, or goes the ordinary way, where it is counted anew."""
        if isinstance(self._charge, Charge):
            self._charge.give_back()
        self._charge = self._permit = None
        self._edge.admission.leave(self.address)


class Edge:
    """What all exchanges share; call it as the ASGI application around `application`."""

    def __init__(
        self,
        application: Application,
        gateway: Gateway,
        settings: HttpSettings,
        log: RequestLog,
        direct: Mapping[str, DirectEndpoint],
        limits: AddressLimits,
        streaming: Mapping[str, StreamEndpoint],
        figures: RequestFigures,
        request_ids: RequestIds,
        fixed_routes: Collection[str],
    ) -> None:
        """`fixed_routes` are those whose path is the same in each request."""
        self._application = application
        self.fixed_routes = frozenset(fixed_routes)
        self.figures = figures
        self.request_ids = request_ids
        self.gateway = gateway
        self.addresses = ClientKeys(settings)
        self.direct = direct
        self.streaming = streaming
        self.in_place_paths = SESSION_PATHS & {*direct, *streaming}
        self.limits = limits
        self.settings = settings
        self.log = log
        self.replies = Replies(settings)
        self.admission = Admission(
            requests_max=settings.requests_in_flight_max,
            bodies_bytes_max=settings.bodies_bytes_max,
            body_bytes_max=settings.body_bytes_max,
            large_bodies_max=settings.large_bodies_max,
            large_body_bytes=settings.body_bytes_hard_max,
            connections_max=settings.connections_max,
            share_per_address=settings.share_per_address,
        )
        self.http_versions = frozenset({"1.0", "1.1", "2"} if settings.http2 else {"1.0", "1.1"})
        self.refusal_pages: RefusalPages | None = None
        """Pages for what is refused before a route is looked for; None where there are no pages."""

    def refusal(self, scope: HTTPScope, path: str, found: HttpProblem) -> Reply:
        """What is wrong with a request, in the form that its path answers with, or as who sent it shows it."""
        page = None if self.refusal_pages is None else self.refusal_pages.reply(path, scope["headers"], found)
        return problem(path, found) if page is None else page

    # Requests that the connection answers in place (`http.connections.http1`): the same bounds, without an exchange.

    def is_answered_in_place(self, scope: HTTPScope) -> bool:
        """Whether a request is for an endpoint that nobody stops waiting for: its work is done all the same."""
        return scope["method"] == "POST" and scope["path"] in self.in_place_paths

    def enter_in_place(self, scope: HTTPScope, body_bytes: int) -> "Visit | None":
        """Take a request in of which only the head is read; one that cannot be is for an exchange to refuse."""
        address = self.addresses.of(scope)
        if body_bytes > self.settings.body_bytes_max or not self.admission.enter(address):
            return None
        return Visit(self, scope, address)

    async def answer_in_place(self, visit: "Visit", body: bytes, write: WritePiece) -> Reply | None:
        """Answer a request that was taken in; None when the answer was written in pieces."""
        path = visit.scope["path"]
        charge = visit.charge_for(body)
        if isinstance(charge, HttpProblem):
            return problem(path, charge)
        received = ReceivedBody(body, visit.address, visit.handed_over(), charge)
        streaming = self.streaming.get(path)
        answering = self.direct[path](received) if streaming is None else streaming(write, received)
        del body, received  # a batch takes it apart, and both would be held
        try:
            return await answering
        except Exception:
            logger.exception("%s %s failed.", visit.scope["method"], printable(path))
            return problem(path, HttpProblem(500, "internal_error", INTERNAL_ERROR))

    def log_in_place(self, scope: HTTPScope, status: int, duration_s: float, code: str) -> None:
        """Write the request's line and count it: it is answered, and refused if there is a `code`."""
        method, path = scope["method"], scope["path"]
        self.log.write(method, path, status, duration_s)
        self.figures.answered(method, path, status, duration_s)
        if code:
            self.figures.refused((code,))

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        """Serve one ASGI scope."""
        if scope["type"] == "http":
            await Exchange(scope, receive, send, self).run(self._application)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000, "reason": None})
        else:
            await self._application(scope, receive, send)


def _beginning(parts: Sequence[bytes]) -> bytes:
    """The first bytes of a body whose parts these are, without a copy of the rest."""
    beginning = b""
    for part in parts:
        beginning += part[:FIRST_BYTES]
        if len(beginning) >= FIRST_BYTES:
            break
    return beginning


def _path(scope: HTTPScope) -> str | None:
    """The request's path, also of an absolute target (RFC 9112, section 3.2.2), `*` of OPTIONS; None without one."""
    target = scope["path"]
    if target.startswith("/") or (target == "*" and scope["method"] == "OPTIONS"):
        return target
    try:
        parts = urlsplit(target)
    except ValueError:
        return None
    return (parts.path or "/") if parts.scheme in {"http", "https"} and parts.netloc else None
