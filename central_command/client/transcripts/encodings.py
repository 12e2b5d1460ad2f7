"""Text of other encodings as UTF-8: what Windows' shells write when a program's output is redirected into a file.

Windows PowerShell's `>` writes UTF-16 with a byte order mark, other programs put one before UTF-8. A unit that is no
character becomes U+FFFD, and costs nothing else. UTF-16 without a mark is known by its first character, which is `{`
or `[` in every session file.
"""

import codecs
from collections.abc import Iterable, Iterator

_MARKS = (
    (codecs.BOM_UTF8, "utf-8", 3),
    (codecs.BOM_UTF32_LE, "utf-32-le", 4),
    (codecs.BOM_UTF32_BE, "utf-32-be", 4),
    (codecs.BOM_UTF16_LE, "utf-16-le", 2),
    (codecs.BOM_UTF16_BE, "utf-16-be", 2),
    (b"{\0", "utf-16-le", 0),
    (b"[\0", "utf-16-le", 0),
    (b"\0{", "utf-16-be", 0),
    (b"\0[", "utf-16-be", 0),
)
"""The longer mark first: UTF-32's begins with UTF-16's."""
MARK_BYTES_MAX = 4


def encoding_of(start: bytes) -> tuple[str, int] | None:
    """The encoding that a text begins in, and how many bytes its mark has; None for UTF-8 without one."""
    return next(((name, size) for mark, name, size in _MARKS if start.startswith(mark)), None)


def as_utf8(pieces: Iterable[bytes], encoding: str, mark_bytes: int) -> Iterator[bytes]:
    """The text in `pieces` without its mark, as UTF-8. Bytes of UTF-8 stay as they are, also those that are none."""
    decoder = None if encoding == "utf-8" else codecs.getincrementaldecoder(encoding)("replace")
    for piece in pieces:
        text, mark_bytes = piece[mark_bytes:], max(0, mark_bytes - len(piece))
        yield text if decoder is None else decoder.decode(text).encode()
    if decoder is not None:
        yield decoder.decode(b"", final=True).encode()
