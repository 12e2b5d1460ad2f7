"""Values one behind the other in a file that only this program and its own processes read: frames.

Four bytes with the length of what follows (and whether it is JSON), then the value as MessagePack, or as JSON where
MessagePack has no form for it: a lone surrogate, an integer of more than 64 bits.
"""

import json
import struct
from collections.abc import Callable
from typing import Final, Generic, TypeVar

import msgspec

T = TypeVar("T")

BLOCK_BYTES: Final = 262_144
"""What is written at once, and read at once."""
_HEAD: Final = struct.Struct(">I")
_IS_JSON: Final = 1 << 31
_encode: Final = msgspec.msgpack.Encoder().encode


def frame_of(value: object) -> bytes:
    """A value as a frame."""
    try:
        body, kind = _encode(value), 0
    except (UnicodeEncodeError, OverflowError):
        body, kind = json.dumps(msgspec.to_builtins(value)).encode(), _IS_JSON
    return _HEAD.pack(len(body) | kind) + body


class Frames(Generic[T]):
    """Reads frames of one type, one behind the other, from a file that may grow behind them.

    `read` is given a byte's place and how many bytes are wanted, and gives them, or as many as there are; it is asked
    for a block at a time.
    """

    def __init__(self, read: Callable[[int, int], bytes], kind: type[T], *, at: int = 0) -> None:
        """`at` is the byte at which the first frame begins."""
        self._read = read
        self._kind = kind
        self._decode = msgspec.msgpack.Decoder(kind).decode
        self._block = memoryview(b"")
        self._block_at = at
        self.at = at
        """The byte at which the next frame begins; it may be set to where another one does."""

    def __repr__(self) -> str:
        return f"<Frames at {self.at}>"

    def next(self) -> T:
        """The next value. Raises EOFError where its frame is not there, or not whole; what `read` raises."""
        (head,) = _HEAD.unpack(self._bytes(self.at, _HEAD.size))
        size = head & ~_IS_JSON
        body = self._bytes(self.at + _HEAD.size, size)
        self.at += _HEAD.size + size
        if head & _IS_JSON:
            return msgspec.convert(json.loads(bytes(body)), self._kind)
        return self._decode(body)

    def _bytes(self, at: int, size: int) -> memoryview:
        start = at - self._block_at
        if not 0 <= start <= len(self._block) - size:
            self._block, self._block_at, start = memoryview(self._read(at, max(size, BLOCK_BYTES))), at, 0
            if len(self._block) < size:
                raise EOFError
        return self._block[start : start + size]
