"""h11, without what it lets pass: bodies whose length is told twice, and chunks' lines without bound.

Where a request has both `Transfer-Encoding` and `Content-Length`, h11 takes the first and goes on: a proxy in front
that takes the other would see other requests in the same bytes (RFC 9112, section 6.3: such a request ought to be
handled as an error, and the connection closed). And h11 checks its bound only while a line is incomplete, so that what
it lets pass depends on how the bytes were cut. Heads come here whole (`received`); what stands between the data of
chunks, their sizes with extensions and the trailers, is counted here.
"""

from http import HTTPStatus

import h11


class StrictConnection(h11.Connection):
    """A server's side of HTTP/1.1 whose bodies have at most `framing_bytes_max` bytes at once that are no data."""

    __slots__ = ("_framing_bytes", "_framing_bytes_max")

    def __init__(self, framing_bytes_max: int) -> None:
        super().__init__(h11.SERVER, max_incomplete_event_size=framing_bytes_max)
        self._framing_bytes_max = framing_bytes_max
        self._framing_bytes = 0

    def next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        """As h11's; raises RemoteProtocolError for those requests, too."""
        buffer = self._receive_buffer
        before = len(buffer)
        try:
            event = super().next_event()
        except h11.RemoteProtocolError:
            self._count(before - len(buffer))
            raise
        if isinstance(event, h11.Request):
            self._framing_bytes = 0
            _check_lengths(event)
        elif isinstance(event, h11.Data):
            self._count(before - len(buffer) - len(event.data))
            self._framing_bytes = 0
        elif event is h11.NEED_DATA:
            self._count(before - len(buffer), len(buffer))
        else:
            self._count(before - len(buffer))
            self._framing_bytes = 0
        return event

    def _count(self, count_bytes: int, waiting_bytes: int = 0) -> None:
        """Count bytes that are no data; those that wait for more of their line will be counted again."""
        self._framing_bytes += count_bytes
        if self._framing_bytes + waiting_bytes > self._framing_bytes_max:
            raise h11.RemoteProtocolError(
                "The lines between chunks are too large.", error_status_hint=HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
            )


def _check_lengths(request: h11.Request) -> None:
    names = {name for name, _ in request.headers}
    if b"transfer-encoding" in names and b"content-length" in names:
        raise h11.RemoteProtocolError("The body has two lengths.", error_status_hint=HTTPStatus.BAD_REQUEST)


def announces_body(request: h11.Request) -> bool:
    """Whether a body follows the head, as the head says."""
    return any(
        name == b"transfer-encoding" or (name == b"content-length" and int(value)) for name, value in request.headers
    )
