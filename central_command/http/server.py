"""The server under the application: sockets, TLS, connections and their bounds.

hypercorn's protocol and connection classes do the work, but not its `serve`: that has no bound on connections and lets
an exception in one of them end them all. What differs from hypercorn's own `TCPServer`:

- A failing connection is logged and closed, alone.
- A connection that the client ended is over at once; hypercorn keeps its socket until the idle timer has run out.
- HTTP/1.1 stays HTTP/1.1: upgrades to h2c and WebSocket are ignored, as RFC 9110, section 7.8 allows, and HTTP/2 with
  prior knowledge is refused. With `http2` on, HTTP/2 is negotiated by TLS (ALPN) only.
- Writing has a time-out and can be cancelled. hypercorn shields it without one, so that a client that sends requests
  but reads no answers could hold up the shutdown for good.
- What the parser itself refuses (400, 431, 501) is JSON with the CORS header as well.
"""

import logging
import math
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from itertools import chain
from pathlib import Path

import h11
import trio
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol import ProtocolWrapper
from hypercorn.protocol.events import Request
from hypercorn.protocol.h11 import STREAM_ID, H11Protocol
from hypercorn.protocol.http_stream import HTTPStream
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import AppWrapper, ConnectionState, TaskGroup
from hypercorn.utils import repr_socket_addr, wrap_app
from quart import Quart

from central_command.http.exchange import CORS_HEADERS
from central_command.http.replies import JSON_TYPE, error
from central_command.http.settings import HttpSettings, HttpSettingsError

_CLOSE_TIMEOUT_S = 1.0  # for the last words of TLS; the connection is given up either way
_H2_STREAMS_MAX = 32

Listener = trio.SocketListener | trio.SSLListener[trio.SocketStream]
Stream = trio.SocketStream | trio.SSLStream[trio.SocketStream]

logger = logging.getLogger("central_command.http")


class CannotListenError(Exception):
    """The address cannot be listened on; the text is one sentence."""


class ServerConfig(Config):
    """hypercorn's settings, and those that it does not have."""

    listen_host: str
    listen_port: int
    connections_max: int
    write_timeout_s: float


def hypercorn_config(settings: HttpSettings) -> ServerConfig:
    """The server's configuration; raises HttpSettingsError when the TLS files do not work."""
    config = ServerConfig()
    config.listen_host = settings.host
    config.listen_port = settings.port
    config.connections_max = settings.connections_max
    config.write_timeout_s = settings.write_timeout_s
    config.backlog = settings.backlog
    config.keep_alive_timeout = settings.keep_alive_s
    config.keep_alive_max_requests = settings.keep_alive_requests_max
    config.read_timeout = settings.read_timeout_s  # type: ignore[assignment] # any number of seconds will do
    config.ssl_handshake_timeout = settings.tls_handshake_timeout_s
    config.h11_max_incomplete_size = settings.headers_bytes_max
    config.h2_max_header_list_size = settings.headers_bytes_max
    config.h2_max_concurrent_streams = _H2_STREAMS_MAX
    config.graceful_timeout = settings.graceful_timeout_s
    config.alpn_protocols = ["h2", "http/1.1"] if settings.http2 else ["http/1.1"]
    config.include_server_header = False
    config.accesslog = None  # request_log writes the one line a request
    config.errorlog = logger
    _set_tls(config, settings)
    return config


def _set_tls(config: ServerConfig, settings: HttpSettings) -> None:
    certificate, key = settings.tls_certificate, settings.tls_key
    if certificate is None and key is None:
        return
    if certificate is None or key is None:
        absent = "http.tls_certificate" if certificate is None else "http.tls_key"
        raise HttpSettingsError(f"TLS needs both http.tls_certificate and http.tls_key, but {absent} is not set.")
    for name, path in (("http.tls_certificate", certificate), ("http.tls_key", key)):
        try:
            Path(path).read_bytes()
        except OSError as problem:
            raise HttpSettingsError(f"{name}: {path} cannot be read: {problem.strerror}.") from problem
    config.certfile, config.keyfile = certificate, key
    config.keyfile_password = ""  # an encrypted key is refused below instead of asking at the terminal
    try:
        config.create_ssl_context()
    except (ssl.SSLError, OSError, ValueError) as problem:
        sentence = f"{certificate} and {key} are no PEM certificate with its own unencrypted private key."
        raise HttpSettingsError(f"http.tls_certificate, http.tls_key: {sentence}") from problem


async def serve(
    app: Quart,
    config: ServerConfig,
    *,
    shutdown_trigger: Callable[[], Awaitable[object]],
    task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until `shutdown_trigger` returns, then let requests end for at most `graceful_timeout`.

    Started with the URLs listened on. Raises CannotListenError.
    """
    listeners = await _listen(config)
    context = WorkerContext(None)
    wrapped = wrap_app(app, 0, "asgi")
    open_connections: set[Connection] = set()

    async def handle(stream: Stream) -> None:
        if len(open_connections) >= config.connections_max:
            await trio.aclose_forcefully(stream)
            return
        connection = Connection(wrapped, config, context, stream)
        open_connections.add(connection)
        try:
            await connection.run()
        finally:
            open_connections.discard(connection)

    async with trio.open_nursery() as connections:
        async with trio.open_nursery() as accepting:
            accepting.start_soon(partial(trio.serve_listeners, handle, listeners, handler_nursery=connections))
            task_status.started([_url(listener) for listener in listeners])
            await shutdown_trigger()
            accepting.cancel_scope.cancel()
        await context.terminated.set()
        connections.cancel_scope.deadline = trio.current_time() + config.graceful_timeout


async def _listen(config: ServerConfig) -> list[Listener]:
    try:
        listeners = await trio.open_tcp_listeners(config.listen_port, host=config.listen_host, backlog=config.backlog)
    except OSError as problem:
        place = f"{config.listen_host}, port {config.listen_port}"
        raise CannotListenError(f"Cannot listen on {place}: {problem.strerror or problem}.") from problem
    context = config.create_ssl_context()
    if context is None:
        return list(listeners)
    return [trio.SSLListener(listener, context, https_compatible=True) for listener in listeners]


def _url(listener: Listener) -> str:
    plain = listener.transport_listener if isinstance(listener, trio.SSLListener) else listener
    assert isinstance(plain, trio.SocketListener)
    scheme = "https" if isinstance(listener, trio.SSLListener) else "http"
    return f"{scheme}://{repr_socket_addr(plain.socket.family, plain.socket.getsockname())}"


class Connection(TCPServer):
    """One connection, bounded in time and unable to harm the others."""

    config: ServerConfig
    stream: Stream  # type: ignore[assignment] # hypercorn declares only one of the two that it takes

    def __init__(self, app: AppWrapper, config: ServerConfig, context: WorkerContext, stream: Stream) -> None:
        self._protocol: ProtocolWrapper | None = None
        self._client_ended = False
        self._reading = trio.CancelScope()
        super().__init__(app, config, context, ConnectionState({}), stream)  # type: ignore[arg-type] # as above
        self._idle_timer = IdleTimer(config.keep_alive_timeout, context.terminated.wait)
        self.idle_task = self._idle_timer  # type: ignore[assignment] # the two methods of it that are used

    @property
    def protocol(self) -> ProtocolWrapper:
        """What speaks HTTP on this connection."""
        assert self._protocol is not None
        return self._protocol

    @protocol.setter
    def protocol(self, wrapper: ProtocolWrapper) -> None:  # hypercorn's `run` has no other place to choose it
        if isinstance(wrapper.protocol, H11Protocol):
            wrapper.protocol = Http1Protocol(
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
        self._protocol = wrapper

    async def run(self) -> None:
        """Serve the connection to its end; raises nothing but cancellation."""
        try:
            await super().run()
        except* Exception as problem:
            logger.exception("A connection failed and was closed.", exc_info=problem)
        finally:
            await trio.aclose_forcefully(self.stream)

    async def protocol_send(self, event: Event) -> None:
        """Write what the protocol has to say, within `write_timeout_s`."""
        if isinstance(event, Updated) and self._client_ended:
            return  # no timer for what is over
        if not isinstance(event, RawData):
            await super().protocol_send(event)
            if isinstance(event, Closed):
                # A request that came while the connection was being closed would be waited on for ever.
                self._reading.cancel()
            return
        async with self.send_lock:
            try:
                with trio.fail_after(self.config.write_timeout_s):
                    await self.stream.send_all(event.data)
            except (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
                await trio.aclose_forcefully(self.stream)
                await self.protocol.handle(Closed())

    async def _read_data(self) -> None:
        with self._reading:
            await super()._read_data()
        self._client_ended = True
        self._idle_timer.end()

    async def _idle_timeout(self) -> None:
        with trio.CancelScope(shield=True):
            await self._initiate_server_close()

    async def _initiate_server_close(self) -> None:
        with trio.move_on_after(_CLOSE_TIMEOUT_S):
            await super()._initiate_server_close()


class IdleTimer:
    """Stands in for hypercorn's idle task: one task for the life of a connection, its deadline moved by each request.

    hypercorn starts and cancels a task for every request, which takes longer than parsing it.
    """

    def __init__(self, idle_s: float, terminated: Callable[[], Awaitable[None]]) -> None:
        self._idle_s = idle_s
        self._terminated = terminated
        self._scope: trio.CancelScope | None = None
        self._is_idle = False
        self._has_ended = False

    async def restart(self, task_group: TaskGroup, action: Callable[[], Awaitable[None]]) -> None:
        """The connection is idle from now on: do `action` when that lasts, or when the server ends."""
        self._is_idle = True
        if self._scope is None:
            self._scope = trio.CancelScope()
            task_group.spawn(self._watch, action)
        self._scope.deadline = trio.current_time() + self._idle_s

    async def stop(self) -> None:
        """The connection is not idle any more."""
        self._is_idle = False
        if self._scope is not None:
            self._scope.deadline = math.inf

    def end(self) -> None:
        """The connection is over: there is nothing to watch."""
        self._has_ended = True
        if self._scope is not None:
            self._scope.cancel()

    async def _watch(self, action: Callable[[], Awaitable[None]]) -> None:
        assert self._scope is not None
        with self._scope:
            await self._terminated()
        # At the end of the server a connection that is not idle is closed by its protocol, after its request.
        if self._is_idle and not self._has_ended:
            await action()


class Http1Protocol(H11Protocol):
    """HTTP/1.1 and nothing else; its own refusals are JSON, and headers are written together with what follows them."""

    connection: h11.Connection
    _held = b""

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
                method=request.method.decode("ascii").upper(),
                raw_path=request.target,
                state=self.connection_state,
            )
        )
        self.keep_alive_requests += 1

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
