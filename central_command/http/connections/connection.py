"""One connection: hypercorn's `TCPServer`, bounded in time and unable to harm the others."""

import logging
import math
from contextlib import suppress
from functools import partial

import trio
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol import ProtocolWrapper
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.trio.tcp_server import MAX_RECV, TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import AppWrapper, ConnectionState

from central_command.http.connections.http1 import Http1Protocol
from central_command.http.connections.plain_stream import PlainStream
from central_command.http.connections.server_config import ServerConfig
from central_command.http.connections.timer import ConnectionTimer
from central_command.http.requests.exchange import Edge

_CLOSE_TIMEOUT_S = 1.0  # for the last words of TLS; the connection is given up either way

Stream = PlainStream | trio.SSLStream[trio.SocketStream]

logger = logging.getLogger("central_command.http")


class Connection(TCPServer):
    """One connection, bounded in time and unable to harm the others."""

    config: ServerConfig
    stream: Stream  # type: ignore[assignment] # hypercorn declares only one of the two that it takes

    def __init__(
        self, app: AppWrapper, config: ServerConfig, context: WorkerContext, stream: Stream, edge: Edge
    ) -> None:
        self._protocol: ProtocolWrapper | None = None
        self._client_ended = False
        self._is_closing = False
        self._reading = trio.CancelScope()
        self._is_writing = False
        self._writers = trio.lowlevel.ParkingLot()
        super().__init__(app, config, context, ConnectionState({}), stream)  # type: ignore[arg-type] # as above
        self._edge = edge
        self._timer = ConnectionTimer(
            idle_s=config.keep_alive_timeout,
            read_s=config.read_timeout or math.inf,
            write_s=config.write_timeout_s,
            silent=self._reading.cancel,
            stuck=partial(trio.aclose_forcefully, stream),
            terminated=context.terminated.wait,
        )
        self.idle_task = self._timer  # type: ignore[assignment] # the two methods of it that are used

    @property
    def protocol(self) -> ProtocolWrapper:
        """What speaks HTTP on this connection."""
        assert self._protocol is not None
        return self._protocol

    @protocol.setter
    def protocol(self, wrapper: ProtocolWrapper) -> None:  # hypercorn's `run` has no other place to choose it
        if isinstance(wrapper.protocol, H11Protocol):
            heads = self.config.answer_heads
            wrapper.protocol = Http1Protocol(wrapper, self._edge, heads, self._timer, self)
        self._protocol = wrapper

    async def run(self) -> None:
        """Serve the connection to its end; raises nothing but cancellation."""
        try:
            await super().run()
        except* Exception as problem:
            logger.exception("A connection failed and was closed.", exc_info=problem)
        finally:
            await trio.aclose_forcefully(self.stream)
            self._protocol = None  # it refers to this connection: the cycle would wait for the collector

    async def protocol_send(self, event: Event) -> None:
        """Write what the protocol has to say, within `write_timeout_s`."""
        if isinstance(event, Updated) and self._client_ended:
            return  # no timer for what is over
        if isinstance(event, Closed):
            await self._end_sending()
            return
        if not isinstance(event, RawData):
            await super().protocol_send(event)
            return
        await self.write(event.data)

    async def write(self, data: bytes) -> None:
        """Write bytes in their turn, within `write_timeout_s`; a connection that takes none any more is closed."""
        if self._is_writing:  # a lock, without what trio's takes when it is free: as long as comparing a head
            await self._writers.park()
        self._is_writing = True
        try:
            self._timer.writing_since = self._timer.now()
            await self.stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            await trio.aclose_forcefully(self.stream)
            await self.protocol.handle(Closed())
        finally:
            self._timer.writing_since = None
            if self._writers:
                self._writers.unpark()  # the turn is handed over
            else:
                self._is_writing = False

    async def _read_data(self) -> None:
        """Hand on what comes until the client ends the connection, is silent for too long, or is given up."""
        data: bytes | None = None
        protocol = self.protocol.protocol
        with self._reading:
            while (data := await self.receive(MAX_RECV)) is not None:
                if isinstance(protocol, Http1Protocol):
                    await protocol.take_in(data)  # which is not exchanged for another, as others may be
                else:
                    await self.protocol.handle(RawData(data=data))
                if not data:
                    break
        self._client_ended = True
        self._timer.end()
        await self.protocol.handle(Closed())
        if self._is_closing and data != b"":
            await self._linger()

    async def _end_sending(self) -> None:
        """Say that no more will be sent, and stop reading: nothing that still comes will be answered."""
        self._is_closing = True
        if isinstance(self.stream, trio.abc.HalfCloseableStream):
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await self.stream.send_eof()
        await self.protocol.handle(Closed())
        # A request that came while the connection was being closed would be waited on for ever.
        self._reading.cancel()

    async def _linger(self) -> None:
        """Drop what still comes until the client has ended its side, within bounds of time and bytes.

        Closing while there is something unread resets the connection, and a reset may take the answer from the client
        before it has read it (RFC 9112, section 9.6).
        """
        settings = self._edge.settings
        stream: trio.abc.ReceiveStream = self.stream
        with trio.move_on_after(settings.linger_s), suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            if isinstance(self.stream, trio.SSLStream):
                stream = await self._end_tls(self.stream)
            left_bytes = settings.linger_bytes_max
            while left_bytes > 0 and (data := await stream.receive_some(MAX_RECV)):
                left_bytes -= len(data)
        await trio.aclose_forcefully(stream)

    @staticmethod
    async def _end_tls(stream: trio.SSLStream[trio.SocketStream]) -> trio.SocketStream:
        """Say that no more will be sent; what the client still sends is not decrypted."""
        transport = stream.transport_stream
        with suppress(trio.BrokenResourceError):
            await stream.unwrap()
        await transport.send_eof()
        return transport

    def receive_now(self, bytes_max: int) -> bytes | None:
        """What is there already; None when that is nothing, the end or a failure, or cannot be known (TLS)."""
        return self.stream.receive_now(bytes_max) if isinstance(self.stream, PlainStream) else None

    async def receive(self, bytes_max: int) -> bytes | None:
        """The next bytes, empty at the client's end; None when the connection is broken."""
        try:
            self._timer.reading_since = self._timer.now()
            return bytes(await self.stream.receive_some(bytes_max))
        except (trio.ClosedResourceError, trio.BrokenResourceError):
            return None
        finally:
            self._timer.reading_since = None

    async def _idle_timeout(self) -> None:
        with trio.CancelScope(shield=True):
            await self._initiate_server_close()

    async def _initiate_server_close(self) -> None:
        with trio.move_on_after(_CLOSE_TIMEOUT_S):
            await super()._initiate_server_close()
