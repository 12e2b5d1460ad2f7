"""h11, without what it lets pass: heads over their bound, and bodies whose length is told twice.

h11 checks its bound only while a head is incomplete, so one that arrives at once may be as large as one read. And where
a request has both `Transfer-Encoding` and `Content-Length`, h11 takes the first and goes on: a proxy in front that
takes the other would see other requests in the same bytes (RFC 9112, section 6.3: such a request ought to be handled
as an error, and the connection closed).
"""

from http import HTTPStatus

import h11

_SEPARATORS_BYTES = 4  # ": " and the end of the line; in the first line, two spaces and the version come to more


class StrictConnection(h11.Connection):
    """A server's side of HTTP/1.1 whose heads have at most `head_bytes_max` bytes."""

    __slots__ = ("_head_bytes_max",)

    def __init__(self, head_bytes_max: int) -> None:
        super().__init__(h11.SERVER, max_incomplete_event_size=head_bytes_max)
        self._head_bytes_max = head_bytes_max

    def next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        """As h11's; raises RemoteProtocolError for those requests, too."""
        event = super().next_event()
        if isinstance(event, h11.Request):
            self._check(event)
        return event

    def _check(self, request: h11.Request) -> None:
        names = set()
        head_bytes = len(request.method) + len(request.target) + _SEPARATORS_BYTES
        for name, value in request.headers:
            names.add(name)
            head_bytes += len(name) + len(value) + _SEPARATORS_BYTES
        if head_bytes > self._head_bytes_max:
            raise h11.RemoteProtocolError(
                "The head is too large.", error_status_hint=HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
            )
        if b"transfer-encoding" in names and b"content-length" in names:
            raise h11.RemoteProtocolError("The body has two lengths.", error_status_hint=HTTPStatus.BAD_REQUEST)
