"""What a dead letter holds of the envelope that was refused: all of it, in the shorter of two ways, or what proves it.

An envelope as a JSON string in a JSON line has each of its quotes escaped, which made letters a quarter to a half
longer than what was sent. What agents send is text, which the fastest deflate makes three to ten times shorter. So it
is kept as base64 of that where this is shorter, and as a string where it is not: a few hundred bytes of hexadecimal
digits. A letter that there is no room for keeps the length and the checksum alone.
"""

import base64
import binascii
import hashlib
import zlib
from typing import Final

import msgspec

DEFLATE_LEVEL: Final = 1
"""The fastest: a letter is compressed before its envelope is answered."""

QUICK_BYTES_MAX: Final = 16_384
"""Bodies up to which this takes less than a millisecond; a larger one is worked on in a thread."""

INFLATED_BYTES_MAX: Final = 268_435_456
"""More than any setting lets an envelope have; what would be longer is no letter of a server's."""


class BodyMembers(msgspec.Struct, frozen=True):
    """Those members of a letter that hold its envelope: `body` or `body_deflate`; or, without it, the other two."""

    body: str | None = None
    body_deflate: str | None = None
    body_bytes: int | None = None
    body_sha256: str | None = None


class UnreadableBody(ValueError):  # noqa: N818 (a state of what was read)
    """A letter's members do not hold an envelope: one sentence says what is wrong."""


def whole(body: bytes) -> bytes:
    """Return the member that holds all of a body, the shorter of the two; some 20 ms for a million bytes."""
    deflated = base64.b64encode(zlib.compress(body, DEFLATE_LEVEL))
    as_deflated = b'"body_deflate":"%s"' % deflated
    if len(as_deflated) < len(body):  # a string has no fewer bytes
        return as_deflated
    as_text = b'"body":%s' % msgspec.json.encode(body.decode())
    return as_deflated if len(as_deflated) < len(as_text) else as_text


def absent(body: bytes) -> bytes:
    """Return the members of a letter without its body: how long that was, and its SHA-256."""
    return b'"body_bytes":%d,"body_sha256":"%s"' % (len(body), hashlib.sha256(body).hexdigest().encode())


def read(members: BodyMembers) -> bytes | None:
    """Return the envelope that a letter holds, byte for byte; None when it was kept without.

    Raises UnreadableBody.
    """
    if members.body is not None:
        return members.body.encode()
    if members.body_deflate is not None:
        return _inflated(members.body_deflate)
    if members.body_bytes is not None and members.body_sha256 is not None:
        return None
    raise UnreadableBody("it holds neither its body nor what that was")


def _inflated(text: str) -> bytes:
    try:
        stream = zlib.decompressobj()
        body = stream.decompress(base64.b64decode(text, validate=True), INFLATED_BYTES_MAX)
    except (binascii.Error, ValueError, zlib.error) as error:
        raise UnreadableBody(f"its body_deflate is not base64 of a zlib stream: {error}") from error
    if not stream.eof or stream.unused_data:
        raise UnreadableBody("its body_deflate is not one whole zlib stream")
    return body
