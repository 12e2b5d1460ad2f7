"""The cookie of a browser's session: what it is called, and where a request has it."""

from collections.abc import Iterable
from typing import Final

NAME: Final = "central_command"
SECURE_NAME: Final = f"__Host-{NAME}"
"""Over TLS: no page of a neighbouring host, and none without TLS, can set it (RFC 6265bis, section 4.1.3.2)."""


def name_of_cookie(*, is_secure: bool) -> str:
    """What it is called on a connection of the browser's over TLS, or without."""
    return SECURE_NAME if is_secure else NAME


def cookie_in(headers: Iterable[tuple[bytes, bytes]], *, is_secure: bool) -> str | None:
    """The cookie's value in a request's head; None where there is none, "" for several."""
    name = name_of_cookie(is_secure=is_secure).encode()
    pairs = (pair.partition(b"=") for header, text in headers if header == b"cookie" for pair in text.split(b";"))
    values = [value.strip() for found, _, value in pairs if found.strip() == name]
    return None if not values else values[0].decode("latin-1") if len(values) == 1 else ""
