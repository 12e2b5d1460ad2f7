"""A reverse proxy that hands bytes on as they come, as nginx with `proxy_request_buffering off` and haproxy do.

It keeps one connection to the server for each of its clients, and writes the client's address into the head of every
request: nothing else of a proxy matters here.
"""

import socket
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self

_HEAD_END = b"\r\n\r\n"


class MinimalProxy:
    """Listens on a port of its own for as long as it is entered."""

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def _accept(self) -> None:
        while True:
            try:
                client, (address, _) = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client, address), daemon=True).start()

    def _serve(self, client: socket.socket, address: str) -> None:
        with client:
            try:
                server = socket.create_connection(("127.0.0.1", self._server_port))
            except OSError:
                return  # The server has ended before all who waited here had their turn: their connections end too.
            with server:
                threading.Thread(target=_copy, args=(server, client), daemon=True).start()
                with suppress(OSError):
                    self._hand_on(client, server, f"\r\nX-Forwarded-For: {address}".encode())
                _end(server)

    @staticmethod
    def _hand_on(client: socket.socket, server: socket.socket, forwarded: bytes) -> None:
        """Hand requests on, each head with the address in it, each body as it comes."""
        received = b""
        while True:
            while _HEAD_END not in received:
                if not (part := client.recv(65_536)):
                    return
                received += part
            head, _, received = received.partition(_HEAD_END)
            missing = _length(head)
            server.sendall(head + forwarded + _HEAD_END)
            while missing:
                if not received and not (received := client.recv(65_536)):
                    return
                server.sendall(received[:missing])
                sent = min(missing, len(received))
                missing, received = missing - sent, received[sent:]


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while part := source.recv(65_536):
            target.sendall(part)
    _end(target)


def _end(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
