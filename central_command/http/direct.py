"""The endpoints that are asked all the time, answered without the framework in between.

Quart's routing, request and response objects and its tasks cost several times what checking and storing a small
envelope does. So `POST` on these paths goes from the exchange straight to the function that also stands behind Quart's
route; the limits, bounds, answers and log lines are those of every other request, because they are the same objects.
Everything else about these paths (other methods, preflights) stays Quart's.
"""

from collections.abc import Awaitable, Callable
from http import HTTPStatus

import trio
from hypercorn.typing import HTTPScope

from central_command.http.addresses import Network, client_key, parse_networks
from central_command.http.limits import AddressBudget
from central_command.http.replies import HttpProblem, Reply
from central_command.http.settings import HttpSettings

DirectEndpoint = Callable[[bytes], Awaitable[Reply]]
"""From a whole body to its answer."""

UNSUPPORTED_ENCODING = HttpProblem(
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    "unsupported_encoding",
    "The body must be sent without a content encoding.",
    (("Accept-Encoding", "identity"),),
)


def body_too_large(settings: HttpSettings) -> HttpProblem:
    """The 413 for a body over its bound."""
    sentence = f"The body is larger than {settings.body_bytes_max} bytes."
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


class AddressLimits:
    """How many requests an address may send: one budget for embeddings, one for everything else."""

    def __init__(self, settings: HttpSettings, *, embed_paths: frozenset[str]) -> None:
        self._trusted: tuple[Network, ...] = parse_networks(settings.trusted_proxies)
        self._embed_paths = embed_paths
        self._general = AddressBudget(
            per_minute=settings.requests_per_minute,
            per_hour=settings.requests_per_hour,
            addresses_max=settings.addresses_max,
            clock=trio.current_time,
        )
        self._embed = AddressBudget(
            per_minute=settings.embed_requests_per_minute,
            per_hour=settings.embed_requests_per_hour,
            addresses_max=settings.addresses_max,
            clock=trio.current_time,
        )

    def take(self, scope: HTTPScope, path: str) -> HttpProblem | None:
        """Count one request, or return the 429 for one too many."""
        peer = scope.get("client")
        key = client_key(peer[0] if peer else None, header_values(scope, b"x-forwarded-for"), self._trusted)
        retry_after_s = (self._embed if path in self._embed_paths else self._general).take(key)
        if retry_after_s is None:
            return None
        sentence = "Too many requests from this address; come back later."
        return HttpProblem(HTTPStatus.TOO_MANY_REQUESTS, "rate_limited", sentence, retry_after_s=retry_after_s)
