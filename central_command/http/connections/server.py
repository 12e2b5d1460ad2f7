"""The server under the application: sockets, TLS, connections and their bounds.

hypercorn's protocol and connection classes do the work, but not its `serve`: that has no bound on connections and lets
an exception in one of them end them all. What differs from hypercorn's own `TCPServer`:

- A failing connection is logged and closed, alone.
- A connection that the client ended is over at once; hypercorn keeps its socket until the idle timer has run out.
- HTTP/1.1 stays HTTP/1.1: upgrades to h2c and WebSocket are ignored, as RFC 9110, section 7.8 allows, and HTTP/2 with
  prior knowledge is refused. With `http2` on, HTTP/2 is negotiated by TLS (ALPN) only.
- Writing has a time-out and can be cancelled. hypercorn shields it without one, so that a client that sends requests
  but reads no answers could hold up the shutdown for good.
- A connection that the server ends is read for a little longer, so that no reset takes its last answer away.
- What a client sees does not depend on how its bytes were cut or how fast they came (`http1`).
- What the parser itself refuses (400, 431, 501) is JSON with the CORS header as well.
"""

import errno
from collections.abc import Awaitable, Callable
from functools import partial

import trio
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.utils import repr_socket_addr, wrap_app
from quart import Quart

from central_command.http.connections.connection import Connection
from central_command.http.connections.plain_stream import PlainStream
from central_command.http.connections.server_config import ServerConfig
from central_command.http.requests.exchange import Edge
from central_command.http.settings import CannotListenError

Listener = trio.SocketListener | trio.SSLListener[trio.SocketStream]


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
    edge = app.asgi_app
    assert isinstance(edge, Edge)
    open_connections: set[Connection] = set()

    async def handle(accepted: trio.SocketStream | trio.SSLStream[trio.SocketStream]) -> None:
        stream = PlainStream.taken_from(accepted) if isinstance(accepted, trio.SocketStream) else accepted
        address = _stranger(stream, edge)
        if len(open_connections) >= config.connections_max or not (address is None or edge.admission.connect(address)):
            await trio.aclose_forcefully(stream)
            return
        connection = Connection(wrapped, config, context, stream, edge)
        open_connections.add(connection)
        try:
            await connection.run()
        finally:
            open_connections.discard(connection)
            if address is not None:
                edge.admission.disconnect(address)

    async with trio.open_nursery() as connections:
        async with trio.open_nursery() as accepting:
            accepting.start_soon(partial(trio.serve_listeners, handle, listeners, handler_nursery=connections))
            accepting.start_soon(edge.admission.return_memory)
            task_status.started([_url(listener) for listener in listeners])
            await shutdown_trigger()
            accepting.cancel_scope.cancel()
        await context.terminated.set()
        connections.cancel_scope.deadline = trio.current_time() + config.graceful_timeout


def _stranger(stream: PlainStream | trio.SSLStream[trio.SocketStream], edge: Edge) -> str | None:
    """Whose connection it is; None for a proxy's, which are many clients', and where nobody can be told any more."""
    connected = (stream.transport_stream if isinstance(stream, trio.SSLStream) else stream).socket
    try:
        return edge.addresses.of_stranger(connected.getpeername()[0])
    except OSError:
        return None  # it has gone already


async def _listen(config: ServerConfig) -> list[Listener]:
    try:
        listeners = await trio.open_tcp_listeners(config.listen_port, host=config.listen_host, backlog=config.backlog)
    except OSError as problem:
        place = f"{config.listen_host}, port {config.listen_port}"
        sentence = f"Cannot listen on {place}: {problem.strerror or problem}"
        if problem.errno == errno.EADDRINUSE:
            sentence += "; end what uses it, or name another port with --port or http.port"
        raise CannotListenError(f"{sentence}.") from problem
    if config.tls is None:
        return list(listeners)
    return [trio.SSLListener(listener, config.tls, https_compatible=True) for listener in listeners]


def _url(listener: Listener) -> str:
    plain = listener.transport_listener if isinstance(listener, trio.SSLListener) else listener
    assert isinstance(plain, trio.SocketListener)
    scheme = "https" if isinstance(listener, trio.SSLListener) else "http"
    return f"{scheme}://{repr_socket_addr(plain.socket.family, plain.socket.getsockname())}"
