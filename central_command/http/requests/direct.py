"""The endpoints that are asked all the time, answered without the framework in between.

Quart's routing, request and response objects and its tasks cost several times what checking and storing a small
envelope does. So `POST` on these paths goes from the exchange straight to the endpoint's function; the limits, bounds,
answers and log lines are those of every other request, because they are the same objects.
Everything else about these paths (other methods, preflights) stays Quart's.
"""

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Protocol

from hypercorn.typing import HTTPScope

from central_command.http.requests.admission import BodyPermit
from central_command.http.requests.limits import FREE, Charge
from central_command.http.requests.replies import HttpProblem, Reply
from central_command.http.settings import HttpSettings


class ReceivedBody:
    """A whole body, whose it is, and what it holds: memory, until nobody has the permit any more, and a charge."""

    __slots__ = ("address", "charge", "permit", "text")

    def __init__(self, text: bytes, address: str, permit: BodyPermit | None = None, charge: Charge = FREE) -> None:
        self.text = text
        self.address = address
        self.permit = permit
        self.charge = charge

    def __repr__(self) -> str:
        return f"<ReceivedBody {len(self.text)} bytes>"


DirectEndpoint = Callable[[ReceivedBody], Awaitable[Reply]]
"""From a whole body to its answer."""


class WritePiece(Protocol):
    """Writes a piece of an answer with status 200, as NDJSON; the last one without `more`."""

    def __call__(self, piece: bytes, *, more: bool) -> Awaitable[None]:
        """Write it: takes as long as the client takes to accept it."""
        ...


StreamEndpoint = Callable[[WritePiece, ReceivedBody], Awaitable[Reply | None]]
"""From a whole body to its answer: written in pieces, or returned as one."""

UNSUPPORTED_ENCODING = HttpProblem(
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    "unsupported_encoding",
    "The body must be sent without a content encoding.",
    (("Accept-Encoding", "identity"),),
)


def body_too_large(settings: HttpSettings, *, hard: bool = False) -> HttpProblem:
    """The 413 for a body over its bound; `hard` is the bound of envelopes from open sessions."""
    bytes_max = settings.body_bytes_hard_max if hard else settings.body_bytes_max
    sentence = f"The body is larger than {bytes_max} bytes."
    return HttpProblem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "body_too_large", sentence)


def body_too_slow(settings: HttpSettings) -> HttpProblem:
    """The 408 for a body that does not arrive."""
    sentence = f"The body did not arrive within {settings.body_timeout_s:g} s."
    return HttpProblem(HTTPStatus.REQUEST_TIMEOUT, "body_timeout", sentence)


def header_values(scope: HTTPScope, name: bytes) -> list[str]:
    """The values of all lines of a header; `name` is in lower case, as the server gives them."""
    return [value.decode("latin-1") for found, value in scope["headers"] if found == name]


def is_encoded(scope: HTTPScope) -> bool:
    """Whether `Content-Encoding` names an encoding other than identity."""
    encodings = ",".join(header_values(scope, b"content-encoding")).split(",")
    return any(encoding.strip().lower() not in {"", "identity"} for encoding in encodings)


def declared_length(scope: HTTPScope) -> int:
    """The bytes that `Content-Length` announces; 0 when it does not, or is no number (only HTTP/2 lets that pass)."""
    values = header_values(scope, b"content-length")
    return int(values[0]) if values and values[0].isascii() and values[0].isdigit() else 0
