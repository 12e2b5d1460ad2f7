"""The frame that the server puts around a line's members: written, and read back from the line's end alone.

`{` members `,"received":{"n":…,"at":"…","batch":…}` `,"crc32":"…"}` newline. The tail has a fixed grammar that only the
server writes, so a line's number, time and checksum are read without decoding the megabytes before it.
"""

import re
import zlib
from typing import Annotated, Final

import msgspec

from persistence.files.file_system import Buffer
from persistence.format import json_text, times

FRAME_START: Final = b',"received":{"n":'
FRAME: Final = re.compile(
    rb',"received":\{"n":([1-9][0-9]{0,18}),"at":"([0-9T:.-]{26}Z)","batch":([1-9][0-9]{0,18})'
    rb'(?:,"gap":([1-9][0-9]{0,18}))?(?:,"letter":([1-9][0-9]{0,18}))?'
    rb'(?:,"client_envelope_id":("(?:[^"\\]|\\.)*+"))?\}'
)
CHECKSUM: Final = re.compile(rb',"crc32":"([0-9a-f]{8})"\}')
CHECKSUM_BYTES: Final = len(b',"crc32":"9f3a01bc"}')

FRAME_BYTES_MAX: Final = 160
"""More than a frame adds to a line's members, for counting what waits."""


Number = Annotated[int, msgspec.Meta(ge=1)]


class Received(msgspec.Struct, frozen=True):
    """The member `received`, decoded."""

    n: Number
    at: str
    batch: Number
    gap: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)] = 0
    letter: Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)] | None = None
    client_envelope_id: msgspec.Raw = msgspec.Raw()


class _FramedLine(msgspec.Struct, frozen=True):
    received: Received


_FRAMED: Final = msgspec.json.Decoder(_FramedLine)


class Frame(msgspec.Struct, frozen=True, kw_only=True):
    """What the server wrote around a line. `at` is seconds since the epoch, UTC, exact to the microsecond.

    `client_envelope_id` is the JSON text of the client's own id, as it was sent.
    """

    n: int
    at: float
    batch: int
    gap: int = 0
    letter: int | None = None
    client_envelope_id: bytes | None = None


def frame(members: bytes, received: bytes, *, n: int, at: bytes, batch: int) -> tuple[Buffer, Buffer, Buffer, Buffer]:
    """Return the buffers of a line: its members, framed. `received` is more members of `received`, each after a comma.

    `at` is the time as text (`times.to_text`).
    """
    noted = b',"received":{"n":%d,"at":"%s","batch":%d%s}' % (n, at, batch, received)
    checksum = zlib.crc32(noted, zlib.crc32(members, zlib.crc32(b"{")))
    return b"{", members, noted, b',"crc32":"%08x"}\n' % checksum


def tail_of(received: bytes, *, n: int, at: bytes, batch: int, checksum: int) -> bytes:
    """Return what follows a line's members, whose checksum, with the brace before them, is `checksum`."""
    noted = b',"received":{"n":%d,"at":"%s","batch":%d%s}' % (n, at, batch, received)
    return b'%s,"crc32":"%08x"}\n' % (noted, zlib.crc32(noted, checksum))


def parse_frame(line: bytes) -> Frame | None:
    """Read the frame at the end of `line` (with or without its newline); None when it is torn or damaged.

    The client's own id may be any JSON value, and a client may hide the look of a frame in an object there. It does not
    pass for the frame: that ends directly before the checksum, and an object or array would have to end in between.
    """
    end = len(line) - line.endswith(b"\n")
    crc_start = end - CHECKSUM_BYTES
    checksum = CHECKSUM.fullmatch(line, max(crc_start, 0), end)
    if checksum is None or not line.startswith(b"{"):
        return None
    if zlib.crc32(memoryview(line)[:crc_start]) != int(checksum[1], 16):
        return None
    start = line.rfind(FRAME_START, 0, crc_start)
    match = FRAME.fullmatch(line, start, crc_start) if start >= 0 else None
    try:
        if match is None:
            return _decoded_frame(line)
        return Frame(
            n=int(match[1]),
            at=times.from_text(match[2].decode()),
            batch=int(match[3]),
            gap=int(match[4] or 0),
            letter=None if match[5] is None else int(match[5]),
            client_envelope_id=match[6],
        )
    except (ValueError, msgspec.DecodeError):
        return None


def _decoded_frame(line: bytes) -> Frame:
    """Read the frame of a line whose client's own id is not a text, by decoding all of it."""
    received = json_text.decode(_FRAMED, line).received
    own_id = bytes(received.client_envelope_id)
    return Frame(
        n=received.n,
        at=times.from_text(received.at),
        batch=received.batch,
        gap=received.gap,
        letter=received.letter,
        client_envelope_id=own_id or None,
    )
